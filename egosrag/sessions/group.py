"""Group chat: several roles in one scene, each with a card of its own, all in one record.

Who speaks next: the role that the last line names, by name, nickname or a part of the name; else the role that has not
spoken for longest. Each role is given the others' names and never speaks for them: the quote decoder ends the reply
where it tries to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from egosrag.egos.pipeline import TurnContext
from egosrag.egos.view import ConversationView
from egosrag.errors import RoleError, SessionError
from egosrag.schema import Reply, Role, Turn
from egosrag.sessions.conversation import Conversation, last_reply
from egosrag.sessions.records import Record, session_name

_HAN_NAME = re.compile(r"[\u4e00-\u9fff]{3,4}")
# Names that are also words count only with a capital: "Will" is a name, "will you" is not.
_ORDINARY_WORDS = frozenset({
    "april", "art", "august", "bill", "chase", "dawn", "drew", "faith", "frank", "grace", "guy", "hope", "joy", "june",
    "king", "mark", "may", "miles", "pat", "ray", "rich", "rose", "sue", "will",
})  # fmt: skip


class GroupChat(Conversation):
    """One session with several roles.

    Args:
        model: any chat model; it plays all of them.
        roles: the cards, two or more; their order decides who begins.
        **settings: as for ``Conversation``.

    Raises:
        RoleError: there are fewer than two roles, or two have the same name.
        SessionError: as for ``Conversation``.
    """

    def __init__(self, model: Any, roles: Sequence[Role], **settings: Any) -> None:
        names = [role.name for role in roles]
        if len(names) < 2 or len({name.casefold() for name in names}) < len(names):
            raise RoleError(
                f"a scene needs two roles or more, each with a name of its own, and got {', '.join(names) or 'none'}"
            )
        self.roles = tuple(roles)
        self._pattern, self._role_by_call = _calls(self.roles)
        super().__init__(model, roles[0], **settings)

    @property
    def name(self) -> str:
        """All of the names, sorted."""
        return session_name(self._speakers())

    def say(self, line: str, to: str | None = None) -> Reply:
        """As ``Conversation.say``; ``to`` names the role that replies, in place of the one whose turn it is."""
        return last_reply(self.stream(line, to))

    def stream(self, line: str, to: str | None = None) -> Iterator[str | Reply]:
        """As ``say``: the text in pieces, the reply last."""
        yield from self._stream_line(line, self._checked(to))

    def go_on(self, speaker: str | None = None) -> Reply:
        """Lets a role reply to the last turn, without a line of the user.

        Args:
            speaker: its name; the role whose turn it is when absent.

        Raises:
            SessionError: nobody has said anything yet, or there is no such role.
        """
        return last_reply(self.stream_on(speaker))

    def stream_on(self, speaker: str | None = None) -> Iterator[str | Reply]:
        """As ``go_on``: the text in pieces, the reply last."""
        with self.thread.exclusive():
            values = self.thread.values()
            record = Record.of(values)
            if not record.turns:
                raise SessionError("nothing was said yet: say a line first")
            update = self._pending(self._checked(speaker) or self._speaker_after(record.turns))
            context = TurnContext(self._view({**values, "speaker": update["speaker"]}, record))
            yield from self._run(update, context, self.thread.config)

    def _checked(self, speaker: str | None) -> str | None:
        if speaker is not None and speaker not in self._speakers():
            raise SessionError(f"{speaker!r} is not in this scene: choose {' or '.join(self._speakers())}")
        return speaker

    def _speakers(self) -> tuple[str, ...]:
        return tuple(role.name for role in self.roles)

    def _cards(self) -> tuple[Role, ...]:
        return self.roles

    def _speaker_after(self, turns: Sequence[Turn]) -> str:
        spoke: list[str] = []
        for turn in reversed(turns):  # from the last turn back to the user's line
            for name in self._named_in(turn.text):
                if name != turn.speaker and name not in spoke:
                    return name
            if turn.speaker not in self._speakers():
                break
            spoke.append(turn.speaker)
        last = {turn.speaker: number for number, turn in enumerate(turns)}
        return min(self._speakers(), key=lambda name: last.get(name, -1))

    def _named_in(self, text: str) -> list[str]:
        """The roles that a line names, in its order."""
        calls = (match.group() for match in self._pattern.finditer(text))
        return [
            self._role_by_call[call.casefold()]
            for call in calls
            if call[0].isupper() or call.casefold() not in _ORDINARY_WORDS
        ]

    def _view(self, values: Mapping[str, Any], record: Record) -> ConversationView:
        speaker = values.get("speaker")
        role = next((role for role in self.roles if role.name == speaker), self.roles[0])
        others = tuple(name for name in self._speakers() if name != role.name)
        return replace(super()._view(values, record), role=role, others=others)

    def _greeting_of(self, role: Role) -> Turn | None:
        return super()._greeting_of(next((role for role in self.roles if role.greeting), role))


def _calls(roles: Sequence[Role]) -> tuple[re.Pattern[str], dict[str, str]]:
    """A pattern of what the roles are called, and the role of each call; a call that two roles share names neither."""
    whole = {role.name.casefold(): role.name for role in roles}
    parts: dict[str, set[str]] = {}
    for role in roles:
        for call in _parts(role):
            parts.setdefault(call.casefold(), set()).add(role.name)
    who = {call: next(iter(names)) for call, names in parts.items() if len(names) == 1} | whole
    longest = sorted(who, key=lambda call: (-len(call), call))
    pattern = "|".join(
        rf"(?<![A-Za-z0-9]){re.escape(call)}(?![A-Za-z0-9])" if call.isascii() else re.escape(call) for call in longest
    )
    return re.compile(pattern, re.IGNORECASE), who


def _parts(role: Role) -> set[str]:
    """A role's nickname and aliases, the words of a Latin name, and the given name of a Chinese one."""
    extra = role.model_extra or {}
    given = [getattr(role, "nickname", None) or extra.get("nickname"), *_strings(extra.get("aliases"))]
    calls = {call.strip() for call in given if isinstance(call, str) and call.strip()}
    calls |= {word for word in re.findall(r"[^\W\d_]{2,}", role.name) if word.isascii() and word[0].isupper()}
    if _HAN_NAME.fullmatch(role.name):
        calls.add(role.name[-2:])
    return calls


def _strings(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
