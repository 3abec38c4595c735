"""What a conversation remembers beside its visible turns, as lines that one can see, correct, pin, forget and carry.

A line is a scene that Summarize wrote, with the turns that it replaces, or a pin: a fact that stays in every prompt
whatever is summarized or evicted. "Remember this: ..." in a line of the user pins it too. Lines follow edits, swipes
and branches: a scene belongs to the branch whose turns it replaces, a pin to the conversation. They go along into
another conversation only as a file of theirs (:func:`write_memories`), when the user says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from langgraph.types import Overwrite

from egosrag.egos.state import State
from egosrag.egos.view import ConversationView
from egosrag.errors import SessionError
from egosrag.roles.data import write_atomically
from egosrag.schema import Pin, Role, Scene, Turn
from egosrag.sessions.records import Record
from egosrag.text.encoding import decode_bytes, without_surrogates
from egosrag.text.language import language_of, one_line

if TYPE_CHECKING:
    from egosrag.sessions.actions import Talk

_SENTENCE_END = tuple('.!?…。！？"”’」』)）')
_SAID = re.compile(
    r"(?:please\s+|and\s+)?remember(?:\s+(?:this|that))?(?:\s*[:,—-]\s*|\s+that\s+)(?P<en>.{3,})"
    r"|请?你?(?:一定)?要?(?:帮我)?记住(?:这[点个件]?事?)?[：:，,\s]+(?P<zh>.{2,})",
    re.IGNORECASE | re.DOTALL,
)


class Memory(NamedTuple):
    """One line of what a conversation remembers.

    Attributes:
        id: names it in this conversation.
        text: as it is in the prompt.
        pinned: whether it stays in every prompt; else it is a scene.
        turns: the turns that it comes from, where they are known and still there.
    """

    id: str
    text: str
    pinned: bool
    turns: tuple[Turn, ...]


def pin_said_in(line: str) -> str:
    """The fact that a line asks to remember, "Remember this: my boat is called Tern"; empty where it asks for none."""
    match = _SAID.fullmatch(line.strip())
    return (match["en"] or match["zh"]).strip() if match else ""


def pin_of(text: str, turn_ids: Sequence[str] = ()) -> Pin:
    """A pin of one sentence.

    Raises:
        SessionError: the text is empty.
    """
    text = one_line(without_surrogates(text))
    if not text:
        raise SessionError("there is nothing to remember: write a sentence")
    if not text.endswith(_SENTENCE_END):
        text += "。" if language_of(text) == "zh" else "."
    return Pin(id=sha256(text.encode()).hexdigest()[:8], text=text, turn_ids=tuple(turn_ids))


def memories_in(view: ConversationView) -> list[Memory]:
    """The pins of a conversation, then the scenes in its prompt, each with the turns that it comes from."""
    turns = {turn.id: turn for turn in view.turns}

    def of(ids: Sequence[str]) -> tuple[Turn, ...]:
        return tuple(turns[turn_id] for turn_id in ids if turn_id in turns)

    pins = [Memory(pin.id, pin.text, True, of(pin.turn_ids)) for pin in view.pins]
    return [*pins, *(Memory(_scene_id(s), s.text, False, of(s.turn_ids)) for s in view.visible_scenes if s.text)]


def memories_stored(values: Mapping[str, Any]) -> list[Memory]:
    """What the stored values of a session remember; see :func:`memories_in`."""
    record = Record.of(values)
    pins = tuple(Pin.model_validate(row) for row in values.get("pins") or ())
    return memories_in(ConversationView(Role(name=values["name"]), record.turns, record.scenes, pins=pins))


class Memories:
    """The methods of a conversation for what it remembers."""

    def memories(self: Talk) -> list[Memory]:
        """The pins, then the scenes in the prompt, each with the turns that it comes from."""
        return memories_in(self.view)

    def remember(self: Talk, fact: str, turn_ids: Sequence[str] = ()) -> Memory:
        """Pins a fact: it is in every prompt from now on. One that is pinned already is not pinned again.

        Args:
            fact: one sentence.
            turn_ids: the turns that it comes from.

        Raises:
            SessionError: the fact is empty, the pins would be too long for the prompt, or the role is still answering.
        """
        pin = pin_of(fact, turn_ids)
        with self.thread.exclusive():
            if all(known.id != pin.id for known in self.pins):
                self._set_pins((*self.pins, pin))
        return next(memory for memory in self.memories() if memory.id == pin.id)

    def pin_memory(self: Talk, memory_id: str) -> Memory:
        """Pins a scene, which from then on outlasts every summary.

        Raises:
            SessionError: there is no such line, the pins would be too long, or the role is still answering.
        """
        memory = _named(self.memories(), memory_id)
        return memory if memory.pinned else self.remember(memory.text, [turn.id for turn in memory.turns])

    def edit_memory(self: Talk, memory_id: str, text: str) -> None:
        """Replaces the text of a line, which keeps its turns.

        Raises:
            SessionError: there is no such line, the text is empty or too long for the prompt, or the role is still
                answering.
        """
        self._change_memory(memory_id, pin_of(text).text)

    def forget(self: Talk, memory_id: str) -> None:
        """Removes a line from every later prompt. The turns of a scene do not come back; the record keeps them.

        Raises:
            SessionError: there is no such line, or the role is still answering.
        """
        self._change_memory(memory_id, "")

    def _change_memory(self: Talk, memory_id: str, text: str) -> None:
        _named(self.memories(), memory_id)
        with self.thread.exclusive():
            update = changed(self.thread.values(), memory_id, text)
            if "pins" in update:
                self._check_pins(self.view, tuple(Pin.model_validate(row) for row in update["pins"]))
            self.thread.put(update)


def changed(values: Mapping[str, Any], memory_id: str, text: str) -> State:
    """What a session stores after one line of its memory was changed.

    Args:
        values: its stored values.
        memory_id: of the line.
        text: the new text; empty: the line is forgotten.
    """
    pins = [Pin.model_validate(row) for row in values.get("pins") or ()]
    if any(pin.id == memory_id for pin in pins):
        kept = (_with_text(pin, text) if pin.id == memory_id else pin for pin in pins)
        return {"pins": [pin.model_dump() for pin in kept if pin.text]}
    return scenes_changed(values, {memory_id: text})


def scenes_changed(values: Mapping[str, Any], texts: Mapping[str, str]) -> State:
    """What a session stores after the texts of scenes were changed, by their ids as memories; empty: forgotten."""
    scenes = (Scene.model_validate(row) for row in values.get("scenes") or ())
    rows = [s.model_copy(update={"text": texts.get(_scene_id(s), s.text)}).model_dump() for s in scenes]
    update: Any = {"scenes": Overwrite(rows)}
    return cast("State", update)


def _with_text(pin: Pin, text: str) -> Pin:
    """A pin with another text; what another program stored keeps the key that this program knows."""
    new = pin.id if pin.value is not None or not text else pin_of(text).id
    return pin.model_copy(update={"id": new, "text": text})


def _named(memories: Sequence[Memory], memory_id: str) -> Memory:
    found = next((memory for memory in memories if memory.id == memory_id), None)
    if found is None:
        raise SessionError(f"there is no memory {memory_id!r} in this conversation: take an id of its memories")
    return found


def _scene_id(scene: Scene) -> str:
    key = json.dumps([scene.epoch, scene.turn_ids, scene.text])
    return sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:8]


# --- files -----------------------------------------------------------------------------------------------------------


def write_memories(memories: Sequence[Memory], path: str | Path) -> None:
    """Writes lines as JSONL, one a line: ``text``, ``pinned``, and ``from``, the words of the turns it comes from.

    Raises:
        RoleError: the file cannot be written.
    """
    rows: list[dict[str, Any]] = [
        {"text": m.text, "pinned": m.pinned, "from": [f"{turn.speaker}: {turn.text}" for turn in m.turns]}
        for m in memories
    ]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_atomically(Path(path), text.encode("utf-8", "replace"), "file of memories")


def read_memories(path: str | Path, notify: Any = None) -> list[str]:
    """The texts of a JSONL file of memories, or of a text file with one a line; a line that is none is named.

    Args:
        path: the file.
        notify: receives, in one line, each line that is left out.

    Raises:
        SessionError: the file cannot be read, or has no line to remember.
    """
    try:
        lines = decode_bytes(Path(path).read_bytes(), path).splitlines()
    except OSError as error:
        raise SessionError(f"{path} cannot be read ({error.strerror}): give a file of memories, one a line") from error
    texts: list[str] = []
    for number, line in enumerate(lines, 1):
        text: Any = line.strip()
        if text.startswith("{"):
            try:
                row = json.loads(text)
                text = row.get("text")
            except ValueError:
                text = None
            if not isinstance(text, str):
                if notify:
                    notify(f"{path}: line {number} is left out: it is no JSON object with a text")
                continue
        if text.strip():
            texts.append(text.strip())
    if not texts:
        raise SessionError(f"{path} has nothing to remember: give a JSONL file with a text in each line")
    return texts
