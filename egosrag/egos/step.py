"""What the four steps share: their shape as Runnables, and what flows between them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, TypeVar

from langchain_core.callbacks import CallbackManagerForChainRun
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig

from egosrag.prompts.render import USER
from egosrag.schema import Evidence, Ledger, LoreEntry, Persona, Role, Scene, Turn
from egosrag.text.language import language_of

In = TypeVar("In")
Out = TypeVar("Out")
Count = Callable[[Sequence[BaseMessage]], int]  # tokens of a list of messages


def remembered(count: Callable[[Any], int], most: int = 64) -> Callable[[Any], int]:
    """``count``, which knows the last prompts it was asked for: one line asks for the same one several times.

    Args:
        count: tokens of a list of messages, or of a text.
        most: how many counts are kept.
    """
    known: dict[Any, int] = {}

    def counted(asked: Sequence[BaseMessage] | str) -> int:
        key = asked if isinstance(asked, str) else tuple((message.type, str(message.text)) for message in asked)
        size = known.pop(key, None)
        if size is None:
            size = count(asked)
        known[key] = size
        if len(known) > most:
            del known[next(iter(known))]
        return size

    return counted


class Step(Runnable[In, Out]):
    """A step of figure 5: give ``run``, get ``invoke``, ``batch``, ``stream``, ``ainvoke``, ``|`` and a trace."""

    @abstractmethod
    def run(self, value: In, config: RunnableConfig | None = None) -> Out:
        """Does the step's work, under ``config``'s callbacks."""

    def invoke(self, input: In, config: RunnableConfig | None = None, **kwargs: Any) -> Out:  # noqa: A002
        """Does the step's work as a traced run that has the step's name."""

        def traced(value: In, run_manager: CallbackManagerForChainRun, config: RunnableConfig) -> Out:
            return self.run(value, config)

        return self._call_with_config(traced, input, config)


class Found(Protocol):
    """A turn that the dynamic memory found, how well it fits, and its date in words."""

    @property
    def turn(self) -> Turn: ...  # noqa: D102
    @property
    def score(self) -> float: ...  # noqa: D102
    @property
    def when(self) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class Talk:
    """A conversation as the steps see it.

    Args:
        role: who is played.
        turns: the full record, oldest first.
        scenes: every scene that was ever written, oldest first.
        user: the name that the user's lines stand under; the language's own "Me" when it is empty.
        others: the other roles of the scene, whom the role does not speak for.
        left: the ids of turns that left the prompt without a scene.
        recalled: earlier turns that the dynamic memory found for the last line.
        facts: places in the role's sources that were found for the last line.
        raw: the role's sources as they are, where they stand in the card's place.
        persona: who talks with the role, where more is known than the name.
        lore: entries of the role's lorebook that were found for the last line.
    """

    role: Role
    turns: tuple[Turn, ...] = ()
    scenes: tuple[Scene, ...] = ()
    user: str = ""
    others: tuple[str, ...] = ()
    left: frozenset[str] = frozenset()
    recalled: tuple[Found, ...] = ()
    facts: tuple[Evidence, ...] = ()
    raw: str = ""
    persona: Persona | None = None
    lore: tuple[LoreEntry, ...] = ()

    @cached_property
    def language(self) -> str:
        """The card's language; the first line's when the card is no more than a name."""
        role = self.role
        told = [s.text for s in (*role.background, *role.personality, *role.speaking_style, *role.relations)]
        text = " ".join([*told, *(line.text for line in role.sample_dialogue), self.raw])
        return role.language or language_of(text or " ".join(turn.text for turn in self.turns[:1]) + role.name)

    @property
    def user_name(self) -> str:
        """The name that the user's lines stand under."""
        return self.user or USER[self.language]

    @cached_property
    def visible_scenes(self) -> tuple[Scene, ...]:
        """The scenes that the model reads: those that no later epoch stands for, in the order of their turns."""
        epochs: dict[str, int] = {}
        for scene in self.scenes:
            for turn_id in scene.turn_ids:
                epochs[turn_id] = max(scene.epoch, epochs.get(turn_id, 0))
        shown = [s for s in self.scenes if any(epochs[turn_id] == s.epoch for turn_id in s.turn_ids)]
        order = {turn.id: n for n, turn in enumerate(self.turns)}
        return tuple(sorted(shown, key=lambda scene: order.get(scene.turn_ids[0], 0)))

    @cached_property
    def visible_turns(self) -> tuple[Turn, ...]:
        """The turns that the model reads: those that are still in the prompt as they were said, and hold words."""
        told = {turn_id for scene in self.scenes for turn_id in scene.turn_ids} | self.left
        return tuple(turn for turn in self.turns if turn.id not in told and turn.text)

    @cached_property
    def holes(self) -> tuple[tuple[Turn, ...], ...]:
        """Runs of turns that stand between scenes: an edit or a deletion took away the scenes that told them."""
        told = {turn_id for scene in self.scenes for turn_id in scene.turn_ids}
        runs: list[list[Turn]] = [[]]
        for turn in self.turns:
            if turn.id in told:
                runs.append([])
            elif turn.text:
                runs[-1].append(turn)
        return tuple(tuple(run) for run in runs[:-1] if run)

    @property
    def out_of_sight(self) -> bool:
        """Whether there are turns that the model does not read as they were said."""
        return len(self.visible_turns) < sum(bool(turn.text) for turn in self.turns)

    def without(self, ids: Iterable[str]) -> Talk:
        """The same conversation with these turns out of the prompt."""
        return replace(self, left=self.left | frozenset(ids))

    def with_scenes(self, scenes: tuple[Scene, ...]) -> Talk:
        """The same conversation with ``scenes`` added."""
        return replace(self, scenes=self.scenes + scenes)


@dataclass(frozen=True)
class Composed:
    """A prompt that is ready for Generate: ``messages``, then the assistant's words so far, ``prefix``.

    ``ledger`` is what its parts cost, where somebody counted them; ``evidence`` the places in the role's sources that
    stand in it for this line; ``talk`` the conversation that it shows.
    """

    messages: tuple[BaseMessage, ...]
    prefix: str
    speaker: str
    speakers: tuple[str, ...]
    ledger: Ledger = Ledger()
    evidence: tuple[Evidence, ...] = ()
    talk: Talk | None = None
