"""What users do with a conversation beside saying lines: continue a reply, draft their own line, retry, branch, rename.

A continued reply is generated beside the graph of a line: the stored reply stays as it is until its longer text is
written in its place, so that nothing is lost when the model fails or the process is killed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from egosrag.egos.pipeline import Pipeline
from egosrag.egos.view import ConversationView
from egosrag.errors import SessionError
from egosrag.schema import Pin, Reply, Role, Turn
from egosrag.sessions.catalog import archive_of, restore
from egosrag.sessions.manage import Found, branch_of, found_in, free_name, rename_session
from egosrag.sessions.records import Record
from egosrag.sessions.thread import SessionThread

if TYPE_CHECKING:
    from egosrag.sessions.memories import Memory


class Talk(Protocol):
    """What these methods need of a :class:`egosrag.sessions.conversation.Conversation`."""

    session: str
    thread: SessionThread
    pipeline: Pipeline

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def cards(self) -> tuple[Role, ...]: ...  # noqa: D102
    @property
    def view(self) -> ConversationView: ...  # noqa: D102
    @property
    def pins(self) -> tuple[Pin, ...]: ...  # noqa: D102
    def memories(self) -> list[Memory]: ...  # noqa: D102
    def remember(self, fact: str, turn_ids: Sequence[str] = ()) -> Memory: ...  # noqa: D102
    def _set_pins(self, pins: tuple[Pin, ...]) -> None: ...
    def _check_pins(self, view: ConversationView, pins: tuple[Pin, ...]) -> None: ...
    def _change_memory(self, memory_id: str, text: str) -> None: ...
    def _speakers(self) -> tuple[str, ...]: ...
    def _view(self, values: Mapping[str, Any], record: Record) -> ConversationView: ...
    def stream_again(self, turn_id: str | None = None) -> Iterator[str | Reply]: ...  # noqa: D102
    def stream_continue(self) -> Iterator[str | Reply]: ...  # noqa: D102
    def stream_impersonate(self) -> Iterator[str | Reply]: ...  # noqa: D102


def last_reply(pieces: Iterator[str | Reply]) -> Reply:
    """The reply at the end of a stream."""
    *_, reply = pieces
    assert isinstance(reply, Reply)
    return reply


class Actions:
    """The methods of a conversation for what its users do beside saying lines."""

    def continue_reply(self: Talk) -> Reply:
        """Continues the last reply: its longer text takes its place.

        Raises:
            SessionError: the last turn is no reply, or the role is still answering.
            ModelError: the model failed; what it had said by then is kept.
        """
        return last_reply(self.stream_continue())

    def stream_continue(self: Talk) -> Iterator[str | Reply]:
        """As ``continue_reply``, but streams the new text, then the whole reply."""
        with self.thread.exclusive():
            values = self.thread.values()
            record = self.thread.record_of(values)
            if not record.turns or record.turns[-1].speaker not in self._speakers():
                raise SessionError("there is no reply to continue: the last line is yours; say a line, or regenerate")
            last = record.turns[-1]
            before = record.model_copy(update={"turns": record.turns[:-1]})
            view = self._view({**values, "speaker": last.speaker}, before)
            composed = self.pipeline.organize.run(self.pipeline.memory.recall_for_line(view))
            text, finished = last.text, False
            try:
                with closing(self.pipeline.generate.pieces(replace(composed, said=last.text))) as pieces:
                    for piece in pieces:
                        if isinstance(piece, Reply):
                            finished = True
                            text = piece.text if piece.text.startswith(last.text) else text
                            yield piece.model_copy(update={"text": text})
                            break
                        text += piece
                        yield piece
            finally:
                if text.rstrip() != last.text or (finished and last.status != "complete"):
                    turn = last.model_copy(
                        update={"text": text.rstrip(), "status": "complete" if finished else "interrupted"}
                    )
                    changed = _with_turn(record, turn)
                    self.thread.write({**values, **changed.plain(), "pending": False})

    def impersonate(self: Talk) -> str:
        """A draft of the user's next line; nothing is stored.

        Raises:
            ModelError: the model failed.
        """
        return last_reply(self.stream_impersonate()).text

    def stream_impersonate(self: Talk) -> Iterator[str | Reply]:
        """As ``impersonate``, but streams the text, then the draft as a reply."""
        composed = self.pipeline.organize.compose_user_line(self.view)
        with closing(self.pipeline.generate.pieces(composed)) as pieces:
            yield from pieces

    def stream_retry(self: Talk, turn_id: str) -> Iterator[str | Reply]:
        """Streams another reply from a turn on: to a line of the user, or in place of a reply, then the reply.

        What was said after it is kept as a sibling of the reply.

        Raises:
            SessionError: there is no such turn, no reply follows it, or the role is still answering.
            ModelError: the model failed. The earlier reply is in its place again.
        """
        record = self.thread.record()
        at = record.index(turn_id)
        if record.turns[at].speaker in self._speakers() or at == len(record.turns) - 1:
            return self.stream_again(turn_id)
        following = record.turns[at + 1]
        if following.speaker not in self._speakers():
            raise SessionError("no reply follows this line: give a later line, or a reply")
        return self.stream_again(following.id)

    def branch(self: Talk, turn_id: str | None = None, session: str | None = None) -> str:
        """Stores the conversation up to a turn as another session, and returns its name; this one stays as it is.

        Args:
            turn_id: the last turn of the branch; the last one when absent.
            session: the new session's name; by default this one's with a number.

        Raises:
            SessionError: there is no such turn, or there is already a session of that name.
        """
        archive = archive_of(self.thread.store, self.session, self.cards)
        name = session or free_name(self.thread.store, self.session)
        restore(self.thread.store, branch_of(archive, turn_id), name)
        return name

    def rename(self: Talk, session: str) -> None:
        """Gives the session another name.

        Raises:
            SessionError: the name is empty or taken, nothing was said yet, or the role is still answering.
        """
        with self.thread.exclusive():
            rename_session(self.thread.store, self.session, session, locked=True)
        self.session = session
        self.thread = SessionThread(session, self.thread.store, self.pipeline)

    def pin(self: Talk, pinned: bool = True) -> None:
        """Puts the session in front of the others in lists, or no longer.

        Raises:
            SessionError: nothing was said yet, or the role is still answering.
        """
        if not self.thread.values().get("turns"):
            raise SessionError("nothing was said yet: say a line first")
        with self.thread.exclusive():
            self.thread.put({"pinned": pinned})

    def search(self: Talk, words: str) -> list[Found]:
        """The turns that contain all of the words, in any case.

        Raises:
            SessionError: there are no words.
        """
        return list(found_in(self.thread.record(), self.session, words))


def _with_turn(record: Record, turn: Turn) -> Record:
    """The record with a longer last turn; scenes of it are written anew."""
    turns = record.edited(turn.id, turn.text).turns
    return record.edited(turn.id, turn.text).model_copy(update={"turns": (*turns[:-1], turn)})
