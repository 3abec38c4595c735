"""The dynamic memory of Summarize (report 7.2.4): past turns that are found again when a line needs them.

A turn is searched by its words, together with those of the turns around it (BM25), and by its meaning,
together with the question before it (cosine), where an embedder is given. The names of those who talk say
little about *what* was said, and they draw cosine towards every turn of that speaker: they are taken out of the
line, and the turns of whom it names gain instead. ``python -m evals.memory`` measures it: any@10 0.88 and all@10
0.76 on five LoCoMo conversations. The weights stand on a plateau: chosen on any four of the five, they did as well
on the fifth.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from egosrag.prompts.render import recalled_line
from egosrag.rag.index.vectors import Embedder, embed_missing
from egosrag.schema import Turn
from egosrag.text.language import language_of
from egosrag.text.words import pairs, without_question_words, words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from egosrag.rag.index.vectors import Vectors

    Floats = NDArray[np.floating[Any]]

Recall = Callable[[Sequence[Turn], str], list[Turn]]
"""What a pipeline asks of a memory: (turns that the prompt no longer shows, the line) -> the turns it needs."""

REACH = 3  # turns either side whose words count for a turn too: an answer rarely repeats its question's words
DENSE = 1.5  # weight of cosine against 1 for BM25, both in standard deviations over the memory
NAMED = 2.0  # what the turns of a speaker gain that the line names, in the same unit: a boost, never a filter
_K1, _B = 1.5, 0.75
_QUESTION = re.compile(r"[^.!?。！？\n]+[?？]")
_WORD = re.compile(r"[A-Z][A-Za-z]{2,}")


class Recalled(NamedTuple):
    """A turn that was found, how well it fits (higher is better, only within one recall), and its date."""

    turn: Turn
    score: float
    when: str


class TurnMemory:
    """One session's memory of its past turns; nothing is shared between two memories but the embedder.

    ``follow`` says what there is to remember, ``recall`` finds it; calling the memory does both, as ``Recall``.

    Args:
        embedder: gives the vectors (see :func:`egosrag.rag.index.vectors.load_embedder`); None searches by words alone.
    """

    def __init__(self, embedder: Embedder | None = None) -> None:
        self._embedder = embedder
        self._turns: tuple[Turn, ...] = ()
        self._when: tuple[str, ...] = ()
        self._terms: dict[str, Counter[str]] = {}
        self._vectors: dict[str, Vectors] = {}
        self._matrix: Vectors = np.zeros((0, 0), dtype=np.float32)
        self._lengths: Floats = np.zeros(0)

    def __len__(self) -> int:
        return len(self._turns)

    def __call__(self, past: Sequence[Turn], line: str) -> list[Turn]:
        """The turns among ``past`` that ``line`` needs, in the order in which they were said."""
        self.follow(past)
        return [found.turn for found in self.recall(line)]

    def follow(
        self,
        turns: Sequence[Turn],
        when: Mapping[str, str] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Remember exactly these turns: what is new is added, what was edited is replaced, what is gone forgotten.

        Only turns that are new or changed are read and embedded, so that this is called with the whole record
        before every line; a regenerated, edited or deleted turn needs nothing more.

        Args:
            turns: the record, in the order in which it was said.
            when: the date of a turn's meeting in words, by turn id; turns of two dates are no neighbours.
            progress: is told (done, total) of the texts that are embedded.
        """
        said = tuple(turn for turn in turns if turn.text.strip())
        dates = tuple((when or {}).get(turn.id, "") for turn in said)
        if said == self._turns and dates == self._when:
            return
        texts = {*(turn.text for turn in said), *dates}
        self._terms = {text: self._terms.get(text) or Counter(_terms(text)) for text in texts}
        self._turns, self._when = said, dates
        own = np.array([self._terms[turn.text].total() for turn in said], dtype=np.float64)
        self._lengths = self._joined(own) + np.array([self._terms[date].total() for date in dates])
        if self._embedder is not None and said:
            views = self._views()
            self._matrix = embed_missing(views, self._vectors, self._embedder, progress)
            self._vectors = dict(zip(views, self._matrix, strict=True))

    def recall(
        self,
        line: str,
        *,
        k: int = 10,
        budget: int | None = None,
        count: Callable[[str], int] = len,
        visible: Collection[str] = (),
    ) -> list[Recalled]:
        """The turns that fit the line best, in the order in which they were said.

        A turn that says only what the line says, or what the same speaker says in one that is given already, is
        passed over: it would take the place of one that tells something.

        Args:
            line: what the user says now.
            k: most turns to give.
            budget: most that their prompt lines may cost together; a turn that is too long gives way to the next.
            count: what a text costs, such as a model's token count; characters unless given.
            visible: ids of turns that the prompt shows anyway; they are never given, but help their neighbours.
        """
        shown, taken, left = frozenset(visible), dict[int, float](), budget
        scores, asked, said = self._scores(line), _plain(line), set[tuple[str, str]]()
        for i in np.argsort(-scores, kind="stable"):
            if len(taken) >= k or np.isneginf(scores[i]):
                break
            turn = self._turns[i]
            if turn.id in shown or _plain(turn.text) == asked or (turn.speaker, _plain(turn.text)) in said:
                continue
            if left is not None:
                cost = count(recalled_line(turn, language_of(turn.text), self._when[i]) + "\n")
                if cost > left:
                    continue
                left -= cost
            taken[int(i)] = float(scores[i])
            said.add((turn.speaker, _plain(turn.text)))
        return [Recalled(self._turns[i], taken[i], self._when[i]) for i in sorted(taken)]

    def _scores(self, line: str) -> Floats:
        """One score a turn; minus infinity where no search found it."""
        if not self._turns or not line.strip():
            return np.full(len(self._turns), -np.inf)
        named, about = self._without_names(line)
        by_words = self._bm25(_terms(without_question_words(about)))
        total, found = _standard(by_words), by_words > 0
        if self._embedder is not None:
            cosine = self._matrix @ self._embedder.question(about)[0]
            total, found = total + DENSE * _standard(cosine), np.ones_like(found)
        total = total + NAMED * np.array([turn.speaker in named for turn in self._turns])
        return np.where(found, total, -np.inf)

    def _bm25(self, terms: Sequence[str]) -> Floats:
        """BM25 of every turn with its neighbours and its date, shape (turns,).

        Windows are sums over the turns' own counts, taken for the terms of the line alone; so a new turn costs
        its own words and no index is built again, which a library's static index would be.
        """
        if not terms:
            return np.zeros(len(self._turns))
        counts = [self._terms[turn.text] for turn in self._turns]
        dated = {date: [self._terms[date].get(t, 0) for t in terms] for date in set(self._when)}
        own = np.array([[c.get(t, 0) for c in counts] for t in terms], dtype=np.float64)
        often = self._joined(own) + np.array([dated[date] for date in self._when]).T
        having = (often > 0).sum(axis=1, keepdims=True)
        rarity = np.log1p((len(counts) - having + 0.5) / (having + 0.5))
        length = _K1 * (1 - _B + _B * self._lengths / max(self._lengths.mean(), 1e-9))
        scores: Floats = (rarity * often * (_K1 + 1) / (often + length)).sum(axis=0)
        return scores

    def _joined(self, counts: Floats) -> Floats:
        """Counts (..., turns) with those of the neighbours of the same date: half of the next, a third, a quarter."""
        total: Floats = counts.copy()
        dates = np.array(self._when, dtype=object)
        for step in range(1, min(REACH, len(dates) - 1) + 1):
            together = dates[step:] == dates[:-step]
            total[..., step:] += counts[..., :-step] * together / (1 + step)
            total[..., :-step] += counts[..., step:] * together / (1 + step)
        return total

    def _views(self) -> list[str]:
        """What is embedded for each turn: the questions of the turn before it, and who says what."""
        views = []
        for i, turn in enumerate(self._turns):
            before = self._turns[i - 1].text if i and self._when[i - 1] == self._when[i] else ""
            asked = " ".join(question.strip() for question in _QUESTION.findall(before))
            views.append(f"{asked} {turn.speaker}: {turn.text}".strip())
        return views

    def _without_names(self, line: str) -> tuple[set[str], str]:
        """The speakers that the line names, and the line without their names (itself, if nothing else is left)."""
        named, about = set(), line
        for speaker in {turn.speaker for turn in self._turns}:
            pattern = _naming(speaker)
            if pattern and re.search(pattern, line, re.IGNORECASE):
                named.add(speaker)
                about = re.sub(pattern, " ", about, flags=re.IGNORECASE)
        return named, " ".join(about.split()) if _terms(about) else line


def _plain(text: str) -> str:
    return text.strip().casefold()


def _terms(text: str) -> list[str]:
    """Words, and pairs of CJK characters for those that jieba cuts differently in two sentences."""
    return words(text) + [pair for pair in pairs(text) if not pair.isascii()]


def _naming(speaker: str) -> str:
    """A pattern of what a speaker is called: the name, a part of a Latin one, the given name of a Chinese one.

    Empty where the name is a word that questions are made of, such as "Me" or “我”: it names nobody.
    """
    calls = {speaker, *_WORD.findall(speaker)}
    if len(speaker) > 2 and not speaker.isascii() and not re.search(r"\s", speaker):
        calls.add(speaker[-2:])
    longest = sorted(
        (call for call in calls if without_question_words(call).strip()), key=lambda call: (-len(call), call)
    )
    return "|".join(
        rf"(?<![A-Za-z0-9]){re.escape(call)}(?:['’]s)?(?![A-Za-z0-9])" if call.isascii() else re.escape(call)
        for call in longest
    )


def _standard(scores: Floats) -> Floats:
    """Scores in standard deviations from their mean; zeros where all are equal."""
    spread = float(scores.std())
    standard: Floats = (scores - scores.mean()) / spread if spread > 1e-9 else np.zeros_like(scores)
    return standard
