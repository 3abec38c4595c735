"""Summarize, static (report 7.2.4): old turns become scenes when the real tokenizer says that the budget is spent.

Scenes are written in epochs and never changed, so the head of the prompt stays the same between two epochs. Every
scene has the ids of the turns that it stands for; the turns stay in the record. What the turns name (people,
numbers, dates, quoted words) must stand in the scenes: where the model lost some of it, the turns are condensed
once more in halves, and what is still missing is kept word for word. Turns between scenes, whose own scenes an edit
took away, are condensed anew first.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig

from egosrag.egos.step import Count, Step, Talk
from egosrag.errors import ScriptExhausted
from egosrag.models.continuation import continue_prefix
from egosrag.models.traits import traits_of
from egosrag.prompts import load, render
from egosrag.schema import Scene, Turn
from egosrag.text.language import one_line
from egosrag.text.retention import degenerate, invented, misattributed, missing, unsaid

_log = logging.getLogger(__name__)
_BULLET = re.compile(r"^\s*(?:[-*•·]|\d{1,3}[.)、．](?!\d))\s*")
_NOTHING = frozenset({"none", "none.", "无", "无。", "nothing", "nothing."})


class Summarize(Step[Talk, tuple[Scene, ...]]):
    """Writes the scenes that make a conversation fit again; none when it fits as it is.

    Args:
        model: the chat model that condenses.
        count: tokens of a list of messages, by the model's tokenizer.
        window: tokens that a prompt may have.
        fits: whether the role's prompt for a conversation needs no more than this share of the window.
        keep_turns: the last turns that stay as they are, where they fit.
        target: the share of the window that a prompt should need afterwards.
        quote: whether turns are written between quotation marks.
        notice: is told, in a line, what could not be kept in the prompt; the log by default.
    """

    def __init__(
        self,
        model: Any,
        count: Count,
        window: int,
        fits: Callable[[Talk, float], bool],
        *,
        keep_turns: int = 4,
        target: float = 0.75,
        quote: bool = True,
        notice: Callable[[str], None] = _log.warning,
    ) -> None:
        self.name = "Summarize"
        self.model = model
        self.count = count
        self.window = window
        self.fits = fits
        self.keep_turns = keep_turns
        self.target = target
        self.quote = quote
        self.notice = notice
        self._copies = traits_of(model).revises_drafts

    def run(self, value: Talk, config: RunnableConfig | None = None) -> tuple[Scene, ...]:
        """The scenes to add to ``value``. A model that fails adds none: the old state stays."""
        try:
            return self._epochs(value, config)
        except ScriptExhausted:
            raise
        except Exception as error:  # whatever the model's library raises: the chat goes on with what it has
            self.notice(f"the earlier turns could not be summarized and stay as they are: {error}")
            return ()

    def _epochs(self, talk: Talk, config: RunnableConfig | None) -> tuple[Scene, ...]:
        before = len(talk.scenes)
        for hole in talk.holes:
            talk = talk.with_scenes(self._condense(talk, hole, config))
        for keep in (self.keep_turns, 2, 1):
            turns = talk.visible_turns
            full = not self.fits(talk, 1.0)
            if len(turns) <= keep or (not full and (keep < self.keep_turns or self.fits(talk, self.target))):
                continue
            old = turns[: len(turns) - keep]
            epoch = self._condense(talk, old, config)
            shorter = self._size(_lines(epoch)) < self._size(self._transcript(old, talk))
            # Scenes that save nothing would only cost the prompt its stable head.
            if shorter or full:
                talk = talk.with_scenes(epoch)
        return self._condense_scenes(talk, config).scenes[before:]

    def _condense(self, talk: Talk, turns: Sequence[Turn], config: RunnableConfig | None) -> tuple[Scene, ...]:
        epoch = _next_epoch(talk)
        scenes: list[Scene] = []
        for piece in self._pieces(turns, talk):
            ids = tuple(turn.id for turn in piece)
            lines = self._checked(piece, talk, config)
            scenes += [Scene(text=line, turn_ids=ids, epoch=epoch) for line in dict.fromkeys(lines)]
        return tuple(scenes)

    def _checked(
        self, turns: Sequence[Turn], talk: Talk, config: RunnableConfig | None, again: bool = True
    ) -> list[str]:
        """Scene lines for ``turns`` that keep everything the turns name."""
        told = [turn.text for turn in turns]
        speakers = " ".join(turn.speaker for turn in turns)
        lines = [
            line
            for line in self._asked(self._transcript(turns, talk), talk.language, config)
            if not invented(line, " ".join([*told, speakers, *(turn.speaker for turn in talk.turns)]))
            and not misattributed(line, [(turn.speaker, turn.text) for turn in turns])
            and not (self._copies and unsaid(line, told))
        ]
        lost = missing(told, " ".join([*lines, speakers]))
        if lines and not lost:
            return lines
        if again and len(turns) > 1:
            half = max(1, len(turns) // 4 * 2)  # whole exchanges where there are enough
            parts = (turns[:half], turns[half:])
            return [line for part in parts for line in self._checked(part, talk, config, again=False)]
        verbatim = [(turn.text, render.quoted(turn.speaker, turn.text, talk.language)) for turn in turns]
        return _pinned(lines, verbatim, speakers)

    def _asked(self, conversation: str, language: str, config: RunnableConfig | None) -> list[str]:
        prompt = load("summarize", language).messages(conversation=conversation)
        quiet: RunnableConfig = {**(config or {}), "tags": [*((config or {}).get("tags") or []), "nostream"]}
        said = "".join(str(chunk.text) for chunk in continue_prefix(self.model, prompt, "", config=quiet))
        lines = (one_line(_BULLET.sub("", line)) for line in said.splitlines())
        kept = (line for line in dict.fromkeys(lines) if line and line.casefold() not in _NOTHING)
        return [line for line in kept if not degenerate(line)]

    def _pieces(self, turns: Sequence[Turn], talk: Talk) -> list[list[Turn]]:
        """The turns in runs of a quarter of the window, an even number of turns where that fits."""
        room = max(self.window // 4, 64)
        pieces: list[list[Turn]] = [[]]
        for turn in (part for whole in turns for part in self._cut(whole, talk, room)):
            if pieces[-1] and self._size(self._transcript([*pieces[-1], turn], talk)) > room:
                pieces.append([])
            pieces[-1].append(turn)
        return [piece for piece in pieces if piece]

    def _cut(self, turn: Turn, talk: Talk, room: int) -> list[Turn]:
        """A turn that is longer than a piece may be, cut between its sentences; all parts have its id."""
        if self._size(self._transcript([turn], talk)) <= room or len(turn.text) < 40:
            return [turn]
        middle = len(turn.text) // 2
        ends = [m.end() for m in re.finditer(r"[.!?;,。！？；，]\s*|\s", turn.text)] or [middle]
        at = min(ends, key=lambda end: abs(end - middle))
        at = at if 0 < at < len(turn.text) else middle
        halves = (turn.text[:at].strip(), turn.text[at:].strip())
        parts = [turn.model_copy(update={"text": half}) for half in halves if half]
        return [piece for part in parts for piece in self._cut(part, talk, room)]

    def _condense_scenes(self, talk: Talk, config: RunnableConfig | None) -> Talk:
        """Older scenes condensed once more, into an epoch that stands for all of their turns."""
        while not self.fits(talk, 1.0) and len(talk.visible_scenes) > 1:
            old = talk.visible_scenes[: max(2, len(talk.visible_scenes) // 2)]
            epoch = _next_epoch(talk)
            new = [scene for run in self._runs(old, talk) for scene in self._merged(run, epoch, talk.language, config)]
            if self._size(_lines(new)) >= self._size(_lines(old)):
                ids = tuple(dict.fromkeys(turn_id for scene in old for turn_id in scene.turn_ids))
                new = [Scene(text=old[-1].text, turn_ids=ids, epoch=epoch)]
                self.notice(
                    f"the memory is full: its {len(old) - 1} oldest scenes are no longer in the prompt; "
                    "the record keeps every turn"
                )
            talk = talk.with_scenes(tuple(new))
        return talk

    def _runs(self, scenes: Sequence[Scene], talk: Talk) -> list[list[Scene]]:
        """The scenes in the pieces that their lines make, each in the one that holds it whole or ends with it."""
        lines = [Turn(speaker="", text=scene.text, id=str(n)) for n, scene in enumerate(scenes)]
        last = {turn.id: n for n, piece in enumerate(self._pieces(lines, talk)) for turn in piece}
        runs: dict[int, list[Scene]] = {}
        for number, scene in enumerate(scenes):
            runs.setdefault(last[str(number)], []).append(scene)
        return list(runs.values())

    def _merged(self, scenes: Sequence[Scene], epoch: int, language: str, config: RunnableConfig | None) -> list[Scene]:
        """Fewer scenes that stand for the same turns and name all that ``scenes`` name."""
        told = _lines(scenes)
        lines = [line for line in self._asked(told, language, config) if not invented(line, told)]
        ids = tuple(dict.fromkeys(turn_id for scene in scenes for turn_id in scene.turn_ids))
        kept = _pinned(lines, [(scene.text, scene.text) for scene in scenes])
        return [Scene(text=line, turn_ids=ids, epoch=epoch) for line in dict.fromkeys(kept)]

    def _transcript(self, turns: Sequence[Turn], talk: Talk) -> str:
        return render.transcript(turns, talk.language, quote=self.quote)

    def _size(self, text: str) -> int:
        return self.count([HumanMessage(text)])


def _pinned(lines: list[str], verbatim: Sequence[tuple[str, str]], known: str = "") -> list[str]:
    """``lines``, and word for word what holds something that they have lost: (what it tells, how it is written)."""
    kept = list(lines)
    for told, written in verbatim:
        if missing([told], " ".join([*kept, known])):
            kept.append(written)
    return kept or [written for _, written in verbatim]


def _lines(scenes: Sequence[Scene]) -> str:
    return "\n".join(scene.text for scene in scenes)


def _next_epoch(talk: Talk) -> int:
    return max((scene.epoch for scene in talk.scenes), default=-1) + 1
