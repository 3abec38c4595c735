"""Several roles in one scene: each has a card of its own, all of them one record.

Who speaks next: whom the last line names, by name, nickname or a part of the name; then, among the roles, whoever
has not spoken for longest. A role is told the others' names and never speaks for them: the decoder stops where it
tries to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from egosrag.egos.step import Talk
from egosrag.errors import RoleError, SessionError
from egosrag.schema import Reply, Role, Turn
from egosrag.sessions.conversation import Conversation
from egosrag.sessions.state import State, session_name

_HAN_NAME = re.compile(r"[\u4e00-\u9fff]{3,4}")
# Names that are words too count only as they are written: "Will" is called, "will you" calls nobody.
_WORDS = frozenset({
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
        self._pattern, self._who = _calls(self.roles)
        super().__init__(model, roles[0], **settings)

    @property
    def name(self) -> str:
        """All of the names, in one order."""
        return session_name(self._speakers())

    def say(self, line: str, to: str | None = None) -> Reply:
        """As ``Conversation.say``; ``to`` names who replies, in place of the one whose turn it is."""
        *_, reply = self.stream(line, to)
        assert isinstance(reply, Reply)
        return reply

    def stream(self, line: str, to: str | None = None) -> Iterator[str | Reply]:
        """As ``say``: the text in pieces, the reply last."""
        yield from self._answered(lambda: (self._heard(line, self._known(to)), self._config))

    def go_on(self, speaker: str | None = None) -> Reply:
        """Lets a role speak to what was said last, without a line of the user.

        Args:
            speaker: its name; whose turn it is when it is absent.

        Raises:
            SessionError: nobody has said anything yet, or there is no such role.
        """
        *_, reply = self.stream_on(speaker)
        assert isinstance(reply, Reply)
        return reply

    def stream_on(self, speaker: str | None = None) -> Iterator[str | Reply]:
        """As ``go_on``: the text in pieces, the reply last."""

        def asked() -> tuple[State, Any]:
            record = self.record
            if not record.turns:
                raise SessionError("nothing was said yet: say a line first")
            return self._asking({}, self._known(speaker) or self._speaker_after(record.turns)), self._config

        yield from self._answered(asked)

    def next_speaker(self, line: str | None = None) -> str:
        """Who speaks next, after ``line`` of the user where one is given."""
        said = (*self.record.turns, Turn(speaker="", text=line)) if line else self.record.turns
        return self._speaker_after(said)

    def _known(self, speaker: str | None) -> str | None:
        if speaker is not None and speaker not in self._speakers():
            raise SessionError(f"{speaker!r} is not in this scene: choose {' or '.join(self._speakers())}")
        return speaker

    def _speakers(self) -> tuple[str, ...]:
        return tuple(role.name for role in self.roles)

    def _cards(self) -> tuple[Role, ...]:
        return self.roles

    def _speaker_after(self, turns: Sequence[Turn]) -> str:
        spoke: list[str] = []
        for turn in reversed(turns):  # from the last line back to the user's
            for name in self._named(turn.text):
                if name != turn.speaker and name not in spoke:
                    return name
            if turn.speaker not in self._speakers():
                break
            spoke.append(turn.speaker)
        last = {turn.speaker: place for place, turn in enumerate(turns)}
        return min(self._speakers(), key=lambda name: last.get(name, -1))

    def _named(self, text: str) -> list[str]:
        """The roles that a line names, in its order."""
        found = (match.group() for match in self._pattern.finditer(text))
        return [self._who[c.casefold()] for c in found if c[0].isupper() or c.casefold() not in _WORDS]

    def _talk(self, values: Mapping[str, Any]) -> Talk:
        speaker = values.get("speaker")
        role = next((role for role in self.roles if role.name == speaker), self.roles[0])
        others = tuple(name for name in self._speakers() if name != role.name)
        return replace(super()._talk(values), role=role, others=others)

    @property
    def greeting(self) -> Turn | None:
        """What the first role that has a greeting says before the first line."""
        first = next((role for role in self.roles if role.greeting), None)
        return Turn(speaker=first.name, text=self._greeted(first)) if first else None


def _calls(roles: Sequence[Role]) -> tuple[re.Pattern[str], dict[str, str]]:
    """What the roles are called, as a pattern, and who is meant; a call that two roles share means neither."""
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
    """A role's nickname, the words of a Latin name, and the given name of a Chinese one."""
    extra = role.model_extra or {}
    told = [getattr(role, "nickname", None) or extra.get("nickname"), *_strings(extra.get("aliases"))]
    calls = {call.strip() for call in told if isinstance(call, str) and call.strip()}
    calls |= {word for word in re.findall(r"[^\W\d_]{2,}", role.name) if word.isascii() and word[0].isupper()}
    if _HAN_NAME.fullmatch(role.name):
        calls.add(role.name[-2:])
    return calls


def _strings(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
