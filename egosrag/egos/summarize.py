"""Summarize, static (report 7.2.4): old turns become scenes when the prompt's token budget is spent.

Scenes are written in epochs and never changed, so the beginning of the prompt stays the same (and cached) between two
epochs. Every scene holds the ids of the turns that it replaces; the record keeps the turns. What the turns name
(people, numbers, dates, quoted words), promises, and what the user says about themselves must be in the scenes: where
the model lost much of it, the turns are summarized again in halves, and a sentence that is still missing is kept word
for word. Turns whose scenes an edit removed are summarized anew first.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig

from egosrag.egos.reviser import Reviser
from egosrag.egos.step import Count, Step
from egosrag.egos.view import ConversationView
from egosrag.errors import ScriptExhausted
from egosrag.models.continuation import written_lines
from egosrag.models.traits import traits_of
from egosrag.prompts import load, render
from egosrag.schema import Scene, Turn
from egosrag.text.language import one_line
from egosrag.text.named_items import chinese_names, invented_items, missing_items, normalized, unkept_items
from egosrag.text.repetition import is_degenerate
from egosrag.text.sentences import sentence_spans
from egosrag.text.words import words

CHUNK_TOKENS = 400  # of turns that are summarized at a time: of more a small model keeps only the beginning
KEEP_TURNS = 4  # the last turns that are not summarized, where they fit
TARGET_SHARE = 0.75  # of the budget that a prompt should take after an epoch
# From this many characters on, a scene that contains the text of a turn repeats it, and not by coincidence.
_REPEATED_CHARACTERS = 6
_log = logging.getLogger(__name__)
_BULLET = re.compile(r"^\s*(?:[-*•·]|\d{1,3}[.)、．](?!\d))\s*")
_PROMISE = re.compile(r"(?i)\bpromis|\bI(?:['’]ll| will)\b|\bword of honou?r\b|答应|保证|一定|说话算|发誓")
_ABOUT_SELF = re.compile(r"\b(?:I|[Mm]y|[Mm]ine|[Ww]e|[Oo]ur|[Hh]e|[Ss]he)\b[^?]*$|[我咱俺他她][^？?吗呢]*$")
# After a speaker: "Me is called Ann", "我：叫小明". A small model also gives them the name that they call the other.
_TITLE = r"(?:(?:Mr|Mrs|Ms|Miss|Dr)\.? )?"
_CALLED = re.compile(
    rf"[:：]?\s*(?:(?:is|am|I am|I['’]m)(?: called| named)?|called|named)\s+{_TITLE}(?P<en>[A-Z]\w+)"
    r"|[:：]?\s*(?:叫|姓|名叫)(?P<zh>[\u4e00-\u9fff]{1,3})"
)
_INTRODUCES = rf"(?:\b(?:I['’]m|I am|[Nn]ame(?: is|['’]s)|[Cc]all me|[Tt]his is) {_TITLE}|[叫姓是].{{0,4}})"
_FILLER_WORDS = """
about actually and are but can for from get going had has have her here him his its just know like not now our really
some that the them then there they think this very was well were what when which who will with would you your
"""
_FILLERS = frozenset(_FILLER_WORDS.split())
_NOTHING = frozenset({"none", "none.", "无", "无。", "nothing", "nothing."})


class Summarize(Step[ConversationView, tuple[Scene, ...]]):
    """Writes the scenes that make a conversation fit its budget again; none when it fits as it is.

    Args:
        model: the chat model that summarizes.
        count: number of tokens of messages, by the model's tokenizer.
        window: tokens that a prompt may have.
        fits: whether the role's prompt for a conversation takes at most this share of its budget.
        keep_turns: the last turns that stay as they are, where they fit.
        target: the share of the budget that a prompt should take afterwards.
        quote: whether turns are written between quotation marks.
        reviser: rejects lines of the model's summary.
        notify: receives, in one line, what could not be kept in the prompt; the log by default.
    """

    def __init__(
        self,
        model: Any,
        count: Count,
        window: int,
        fits: Callable[[ConversationView, float], bool],
        *,
        keep_turns: int = KEEP_TURNS,
        target: float = TARGET_SHARE,
        quote: bool = True,
        reviser: Reviser | None = None,
        notify: Callable[[str], None] = _log.warning,
    ) -> None:
        self.name = "Summarize"
        self.model = model
        self.count = count
        self.window = window
        self.fits = fits
        self.keep_turns = keep_turns
        self.target = target
        self.quote = quote
        self.reviser = reviser
        self.notify = notify

    def run(self, value: ConversationView, config: RunnableConfig | None = None) -> tuple[Scene, ...]:
        """The scenes to add to ``value``. When the model fails, there are none and the conversation stays as it is."""
        try:
            return self._new_scenes(value, config)
        except ScriptExhausted:
            raise
        except Exception as error:  # of any library that runs the model; the conversation continues without scenes
            self.notify(f"the earlier turns could not be summarized and stay as they are: {error}")
            return ()

    def _new_scenes(self, view: ConversationView, config: RunnableConfig | None) -> tuple[Scene, ...]:
        before = len(view.scenes)
        for gap in view.unsummarized_gaps:
            view = view.with_scenes(self._epoch(view, gap, config))
        for keep in (self.keep_turns, 2, 1):
            turns = view.visible_turns
            full = not self.fits(view, 1.0)
            if len(turns) <= keep or (not full and (keep < self.keep_turns or self.fits(view, self.target))):
                continue
            old = turns[: len(turns) - keep]
            epoch = self._epoch(view, old, config)
            shorter = self._size(_lines(epoch)) < self._size(self._transcript(old, view))
            # Scenes that save nothing would only change the cached beginning of the prompt.
            if shorter or full:
                view = view.with_scenes(epoch)
        return self._merge_old_scenes(view, config).scenes[before:]

    def _epoch(self, view: ConversationView, turns: Sequence[Turn], config: RunnableConfig | None) -> tuple[Scene, ...]:
        """The scenes of one epoch, in place of ``turns``."""
        epoch = _next_epoch(view)
        scenes: list[Scene] = []
        for chunk in self._chunks(turns, view):
            ids = tuple(turn.id for turn in chunk)
            lines = self.scene_lines(chunk, view, config)
            scenes += [Scene(text=line, turn_ids=ids, epoch=epoch) for line in dict.fromkeys(lines)]
        return tuple(scenes)

    def scene_lines(
        self, turns: Sequence[Turn], view: ConversationView, config: RunnableConfig | None = None, *, halve: bool = True
    ) -> list[str]:
        """Lines of a summary of ``turns`` that keep everything the turns name.

        Args:
            turns: the turns to summarize, at most a quarter of the window.
            view: the conversation that they are from.
            config: callbacks, tags and metadata.
            halve: whether to summarize the turns in halves where the model loses some of what they name.
        """
        texts = [turn.text for turn in turns]
        speakers = " ".join(turn.speaker for turn in turns)
        known = " ".join([*texts, speakers, *(turn.speaker for turn in view.turns)])
        lines = [
            line
            for line in self._summary(self._transcript(turns, view), view.language, config)
            if not invented_items(line, known)
            and not is_misattributed(line, [(turn.speaker, turn.text) for turn in turns])
            and (self.reviser.keeps_scene(line, texts) if self.reviser else _is_note(line, turns))
        ]
        originals = self._originals(turns, view)
        complete = _with_lost(lines, originals, speakers)
        # Word for word is no summary: where more than half of it would be, the model gets shorter parts.
        most = 0 if self.reviser else len(originals) // 2
        if halve and len(turns) > 1 and (not lines or len(complete) - len(lines) > most):
            half = max(1, len(turns) // 4 * 2)  # whole exchanges where there are enough
            parts = (turns[:half], turns[half:])
            return [line for part in parts for line in self.scene_lines(part, view, config, halve=False)]
        return complete

    def _originals(self, turns: Sequence[Turn], view: ConversationView) -> list[_Original]:
        """The sentences of the turns, each with what scenes must keep of it.

        The lines of a model whose drafts are revised are those that it was trained on: whole turns, and fewer checks.
        """
        if self.reviser is not None:
            lines = [render.quoted(turn.speaker, turn.text, view.language) for turn in turns]
            return [_Original(turn.text, line, _keeps_marked_items) for turn, line in zip(turns, lines, strict=True)]
        return [
            _Original(text, render.quoted(turn.speaker, text, view.language), keeps)
            for turn in turns
            for keeps in [_keeps_own_words if turn.speaker == view.user_name else _keeps_items]
            for start, end in sentence_spans(turn.text)
            if (text := turn.text[start:end].strip())
        ]

    def _summary(self, conversation: str, language: str, config: RunnableConfig | None) -> list[str]:
        """The lines that the model writes, without bullets, repetitions and what it copies from the example."""
        prompt = load("summarize", language, traits_of(self.model).prompts).messages(conversation=conversation)
        quiet: RunnableConfig = {**(config or {}), "tags": [*((config or {}).get("tags") or []), "nostream"]}
        repeats = None if self.reviser else 3
        written = written_lines(self.model, prompt, config=quiet, repeats=repeats)
        lines = (one_line(_BULLET.sub("", line)) for line in written)
        kept = (line for line in dict.fromkeys(lines) if line and line.casefold() not in _NOTHING)
        example = " ".join(str(message.text) for message in prompt[1:-1])
        return [line for line in kept if not is_degenerate(line) and not _copies(line, example, conversation)]

    def _chunks(self, turns: Sequence[Turn], view: ConversationView) -> list[list[Turn]]:
        """The turns in runs of at most a quarter of the window, or CHUNK_TOKENS; longer turns are split."""
        budget = min(max(self.window // 4, 64), CHUNK_TOKENS)
        chunks: list[list[Turn]] = [[]]
        for turn in (part for whole in turns for part in self._halves(whole, view, budget)):
            if chunks[-1] and self._size(self._transcript([*chunks[-1], turn], view)) > budget:
                chunks.append([])
            chunks[-1].append(turn)
        return [chunk for chunk in chunks if chunk]

    def _halves(self, turn: Turn, view: ConversationView, budget: int) -> list[Turn]:
        """A turn longer than ``budget``, halved between sentences until its parts fit; all parts have its id."""
        if self._size(self._transcript([turn], view)) <= budget or len(turn.text) < 40:
            return [turn]
        middle = len(turn.text) // 2
        ends = [m.end() for m in re.finditer(r"[.!?;,。！？；，]\s*|\s", turn.text)] or [middle]
        at = min(ends, key=lambda end: abs(end - middle))
        at = at if 0 < at < len(turn.text) else middle
        halves = (turn.text[:at].strip(), turn.text[at:].strip())
        parts = [turn.model_copy(update={"text": half}) for half in halves if half]
        return [piece for part in parts for piece in self._halves(part, view, budget)]

    def _merge_old_scenes(self, view: ConversationView, config: RunnableConfig | None) -> ConversationView:
        """Older scenes summarized once more, into an epoch that replaces all of their turns."""
        merged: dict[str, list[str]] = {}  # by what was summarized: where merging saved nothing, it comes again
        while not self.fits(view, 1.0) and len(view.visible_scenes) > 1:
            old = view.visible_scenes[: max(2, len(view.visible_scenes) // 2)]
            epoch = _next_epoch(view)
            new: list[Scene] = []
            for run in self._runs(old, view):
                text = _lines(run)
                if text not in merged:
                    merged[text] = self._merged(run, view.language, config)
                ids = tuple(dict.fromkeys(turn_id for scene in run for turn_id in scene.turn_ids))
                new += [Scene(text=line, turn_ids=ids, epoch=epoch) for line in merged[text]]
            if self._size(_lines(new)) >= self._size(_lines(old)):
                ids = tuple(dict.fromkeys(turn_id for scene in old for turn_id in scene.turn_ids))
                new = [Scene(text=old[-1].text, turn_ids=ids, epoch=epoch)]
                self.notify(
                    f"the memory is full: its {len(old) - 1} oldest scenes are no longer in the prompt; "
                    "the record keeps every turn"
                )
            view = view.with_scenes(tuple(new))
        return view

    def _runs(self, scenes: Sequence[Scene], view: ConversationView) -> list[list[Scene]]:
        """The scenes in runs of the size of a chunk; a scene that was cut belongs to the run that holds its end."""
        lines = [Turn(speaker="", text=scene.text, id=str(n)) for n, scene in enumerate(scenes)]
        last = {turn.id: n for n, chunk in enumerate(self._chunks(lines, view)) for turn in chunk}
        runs: dict[int, list[Scene]] = {}
        for number, scene in enumerate(scenes):
            runs.setdefault(last[str(number)], []).append(scene)
        return list(runs.values())

    def _merged(self, scenes: Sequence[Scene], language: str, config: RunnableConfig | None) -> list[str]:
        """Fewer lines that name all that ``scenes`` name."""
        text = _lines(scenes)
        lines = [line for line in self._summary(text, language, config) if not invented_items(line, text)]
        kept = _with_lost(lines, [_Original(scene.text, scene.text, _keeps_marked_items) for scene in scenes])
        return list(dict.fromkeys(kept))

    def _transcript(self, turns: Sequence[Turn], view: ConversationView) -> str:
        return render.transcript(turns, view.language, quote=self.quote)

    def _size(self, text: str) -> int:
        return self.count([HumanMessage(text)])


def is_misattributed(line: str, turns: Sequence[tuple[str, str]]) -> bool:
    """Whether a summary's line opens with one speaker and repeats, word for word, what another said.

    Args:
        line: a line of a summary.
        turns: (speaker, text) of the turns that it summarizes.
    """
    words = normalized(line)
    for opener in {normalized(speaker) for speaker, _ in turns}:
        rest = words.removeprefix(opener)  # a turn may begin with what is a name too: "Meet me", "我的"
        speakers = {
            normalized(speaker)
            for speaker, text in turns
            if len(normalized(text)) >= _REPEATED_CHARACTERS and normalized(text) in rest
        }
        if rest != words and speakers and opener not in speakers:
            return True
    return False


def _is_note(line: str, turns: Sequence[Turn]) -> bool:
    """Whether a line is worth a scene: no question, and no speaker with a name that nobody has, or that another has."""
    if line.rstrip('"”’').endswith(("?", "？")):
        return False
    said = " ".join(f"{turn.speaker} {turn.text}" for turn in turns)
    if any(name not in said for name in chinese_names(line)):
        return False
    for speaker in {turn.speaker for turn in turns}:
        called = _CALLED.match(line.removeprefix(speaker)) if line.startswith(speaker) else None
        if called:
            own = " ".join(turn.text for turn in turns if turn.speaker == speaker)
            return bool(re.search(_INTRODUCES + re.escape(called.group("en") or called.group("zh")), own))
    return True


def _copies(line: str, example: str, summarized: str) -> bool:
    """Whether a line states what the prompt's example says, not what is summarized: small models copy it.

    Half of its content words or more are not in ``summarized``, and most of these are in ``example``.
    """
    own = _content_words(line)
    foreign = own - _content_words(summarized)
    return bool(foreign) and 2 * len(foreign) >= len(own) and 2 * len(foreign & _content_words(example)) > len(foreign)


class _Original(NamedTuple):
    """A part of what is summarized: its text, its line of a scene, and whether lines keep it (given known names)."""

    text: str
    line: str
    is_kept: Callable[[str, Sequence[str], str], bool]


def _with_lost(lines: Sequence[str], originals: Sequence[_Original], known: str = "") -> list[str]:
    """``lines`` of a summary, followed by the originals, word for word, that they do not keep."""
    complete = list(lines)
    for text, line, is_kept in originals:
        if not is_kept(text, complete, known):
            complete.append(line)
    return complete or [original.line for original in originals]


def _keeps_marked_items(text: str, lines: Sequence[str], known: str) -> bool:
    """Whether the lines have the names, numbers and quoted words of ``text``."""
    return not missing_items([text], " ".join([*lines, known]))


def _keeps_items(text: str, lines: Sequence[str], known: str) -> bool:
    """Whether the lines have the names and numbers of ``text``, however they are written, and a promise in it."""
    if unkept_items(text, " ".join([*lines, known])):
        return False
    return not _PROMISE.search(text) or _paraphrases(text, lines)


def _keeps_own_words(text: str, lines: Sequence[str], known: str) -> bool:
    """The same for a sentence of the user, of which a statement about themselves is kept too."""
    return _keeps_items(text, lines, known) and (not _ABOUT_SELF.search(text) or _paraphrases(text, lines))


def _paraphrases(text: str, lines: Sequence[str]) -> bool:
    """Whether one of the lines has at least a third of the content words of ``text``."""
    said = _content_words(text)
    return not said or any(3 * len(said & _content_words(line)) >= len(said) for line in lines)


def _content_words(text: str) -> set[str]:
    return {word for word in words(text) if len(word) > (2 if word.isascii() else 1) and word not in _FILLERS}


def _lines(scenes: Sequence[Scene]) -> str:
    return "\n".join(scene.text for scene in scenes if scene.text)


def _next_epoch(view: ConversationView) -> int:
    return max((scene.epoch for scene in view.scenes), default=-1) + 1
