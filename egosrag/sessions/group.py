"""Group chat: several roles, each with a card of its own, in one conversation.

The next speaker is the role that the last line mentions, by name, nickname or a part of the name; else the role that
has been silent for longest. The prompt gives each role the others' names, and the quote decoder ends a reply where it
begins to speak for one of them.
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
from egosrag.sessions.actions import last_reply
from egosrag.sessions.conversation import Conversation
from egosrag.sessions.records import Record, session_name

_CHINESE_NAME = re.compile(r"[\u4e00-\u9fff]{3,4}")
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
                f"a group chat needs two roles or more with different names, and got {', '.join(names) or 'none'}"
            )
        self.roles = tuple(roles)
        self._pattern, self._role_by_alias = _aliases(self.roles)
        super().__init__(model, roles[0], **settings)

    @property
    def name(self) -> str:
        """The names of all roles, sorted."""
        return session_name(self._speakers())

    def say(self, line: str, to: str | None = None) -> Reply:
        """As ``Conversation.say``; ``to`` is the name of the role that replies, instead of the one whose turn it is."""
        return last_reply(self.stream(line, to))

    def stream(self, line: str, to: str | None = None) -> Iterator[str | Reply]:
        """As ``say``, but streams the text, then the reply."""
        yield from self._stream_line(line, self._checked(to))

    def go_on(self, speaker: str | None = None) -> Reply:
        """Lets a role reply to the last turn, without a line of the user.

        Args:
            speaker: its name; the role whose turn it is when absent.

        Raises:
            SessionError: there is no turn yet, or no such role.
        """
        return last_reply(self.stream_on(speaker))

    def stream_on(self, speaker: str | None = None) -> Iterator[str | Reply]:
        """As ``go_on``, but streams the text, then the reply."""
        with self.thread.exclusive():
            values = self.thread.values()
            record = self.thread.record_of(values)
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

    @property
    def cards(self) -> tuple[Role, ...]:
        """The cards of all roles."""
        return self.roles

    def _own_cards(self) -> tuple[Role, ...]:
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
        """The roles that a line mentions, in order."""
        aliases = (match.group() for match in self._pattern.finditer(text))
        return [
            self._role_by_alias[alias.casefold()]
            for alias in aliases
            if alias[0].isupper() or alias.casefold() not in _ORDINARY_WORDS
        ]

    def _view(self, values: Mapping[str, Any], record: Record) -> ConversationView:
        speaker = values.get("speaker")
        role = next((role for role in self.roles if role.name == speaker), self.roles[0])
        others = tuple(name for name in self._speakers() if name != role.name)
        return replace(super()._view(values, record), role=self._as_of(role, self.until), others=others)


def _aliases(roles: Sequence[Role]) -> tuple[re.Pattern[str], dict[str, str]]:
    """A pattern of all names and aliases, and the role of each (casefolded); an alias of two roles is left out."""
    names = {role.name.casefold(): role.name for role in roles}
    shared: dict[str, set[str]] = {}
    for role in roles:
        for alias in _aliases_of(role):
            shared.setdefault(alias.casefold(), set()).add(role.name)
    role_by_alias = {alias: next(iter(owners)) for alias, owners in shared.items() if len(owners) == 1} | names
    longest_first = sorted(role_by_alias, key=lambda alias: (-len(alias), alias))
    pattern = "|".join(
        rf"(?<![A-Za-z0-9]){re.escape(alias)}(?![A-Za-z0-9])" if alias.isascii() else re.escape(alias)
        for alias in longest_first
    )
    return re.compile(pattern, re.IGNORECASE), role_by_alias


def _aliases_of(role: Role) -> set[str]:
    """A role's nickname and aliases, the words of a Latin name, and the given name of a Chinese one."""
    extra = role.model_extra or {}
    explicit = [getattr(role, "nickname", None) or extra.get("nickname"), *_as_list(extra.get("aliases"))]
    aliases = {alias.strip() for alias in explicit if isinstance(alias, str) and alias.strip()}
    aliases |= {word for word in re.findall(r"[^\W\d_]{2,}", role.name) if word.isascii() and word[0].isupper()}
    if _CHINESE_NAME.fullmatch(role.name):
        aliases.add(role.name[-2:])
    return aliases


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
