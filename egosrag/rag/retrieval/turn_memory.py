"""Dynamic memory (report 7.2.4): retrieval of the past turns of a conversation that are relevant to a line.

The score of a turn adds BM25 over its words and those of its neighbours, and, with an embedder, the cosine of the turn
with the question before it. Names of speakers say little about *what* was said and pull cosine towards every turn of
that speaker: they are removed from the query, and turns of a named speaker get a bonus instead.
``python -m evals.memory`` measures it: any@10 0.88 and all@10 0.76 on five LoCoMo conversations. The weights are on a
plateau: chosen on any four of the five conversations, they do as well on the fifth.
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

NEIGHBOURS = 3  # turns on either side whose words count for a turn too: an answer rarely repeats its question's words
DENSE_WEIGHT = 1.5  # of cosine against 1 for BM25, both in standard deviations over the memory
SPEAKER_BONUS = 2.0  # of the turns of a speaker that the line names, in the same unit: a boost, never a filter
_K1, _B = 1.5, 0.75  # of BM25
_QUESTION = re.compile(r"[^.!?。！？\n]+[?？]")
_NAME_PART = re.compile(r"[A-Z][A-Za-z]{2,}")


class Recalled(NamedTuple):
    """A retrieved turn, its score (higher is better; comparable only within one recall), and its date in words."""

    turn: Turn
    score: float
    when: str


class TurnMemory:
    """One session's index of its past turns: ``follow`` updates it, ``recall`` searches it.

    Args:
        embedder: for dense retrieval (see :func:`egosrag.rag.index.vectors.load_embedder`); None: by words alone.
    """

    def __init__(self, embedder: Embedder | None = None) -> None:
        self._embedder = embedder
        self._seen: tuple[Turn, ...] = ()  # all turns that it was called with, of which those with words are kept
        self._turns: tuple[Turn, ...] = ()
        self._dates: tuple[str, ...] = ()
        self._terms: dict[str, Counter[str]] = {}
        self._places: dict[str, dict[int, int]] = {}  # of a term: how often each turn has it, by the turn's index
        self._own_lengths: list[int] = []  # terms of each turn
        self._count: Callable[[str], int] = len
        self._costs: dict[tuple[str, str, str], int] = {}  # by speaker, text and date
        self._vectors: dict[str, Vectors] = {}
        self._matrix: Vectors = np.zeros((0, 0), dtype=np.float32)
        self._lengths: Floats = np.zeros(0)

    def __len__(self) -> int:
        return len(self._turns)

    def follow(
        self,
        turns: Sequence[Turn],
        when: Mapping[str, str] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Make exactly these turns the content of the memory: added, edited and deleted turns included.

        Only new and changed turns are analyzed and embedded, so this can be called with the whole record before every
        line.

        Args:
            turns: the record, in the order in which it was said.
            when: the date of a turn's meeting in words, by turn id; turns of different dates are not neighbours.
            progress: called with (done, total) while texts are embedded.
        """
        new = turns[len(self._seen) :] if tuple(turns[: len(self._seen)]) == self._seen else None
        before = self._turns if new is not None else ()
        remembered = (*before, *(turn for turn in (turns if new is None else new) if turn.text.strip()))
        self._seen = tuple(turns)
        dates = tuple((when or {}).get(turn.id, "") for turn in remembered)
        if remembered == self._turns and dates == self._dates:
            return
        same = len(self._turns)
        if remembered[:same] != self._turns:  # something was edited or deleted
            self._places, self._own_lengths, self._costs, same = {}, [], {}, 0
            texts = {*(turn.text for turn in remembered), *dates}
            self._terms = {text: terms for text, terms in self._terms.items() if text in texts}
        for number, turn in enumerate(remembered[same:], same):
            terms = self._counted(turn.text)
            self._own_lengths.append(terms.total())
            for term, count in terms.items():
                self._places.setdefault(term, {})[number] = count
        for date in set(dates):
            self._counted(date)
        self._turns, self._dates = remembered, dates
        own = np.array(self._own_lengths, dtype=np.float64)
        of_date = {date: self._terms[date].total() for date in set(dates)}
        self._lengths = self._with_neighbours(own) + np.array([of_date[date] for date in dates])
        if self._embedder is not None and remembered:
            embedded = self._embedded_texts()
            self._matrix = embed_missing(embedded, self._vectors, self._embedder, progress)
            self._vectors = dict(zip(embedded, self._matrix, strict=True))

    def _counted(self, text: str) -> Counter[str]:
        """The terms of a text, counted once."""
        if text not in self._terms:
            self._terms[text] = Counter(_terms(text))
        return self._terms[text]

    def recall(
        self,
        line: str,
        *,
        k: int = 10,
        budget: int | None = None,
        count: Callable[[str], int] = len,
        visible: Collection[str] = (),
    ) -> list[Recalled]:
        """The top-k turns for a line, in the order in which they were said.

        Turns that only repeat the line, or a turn of the same speaker that is recalled already, are skipped.

        Args:
            line: what the user says now.
            k: maximum number of turns.
            budget: maximum cost of their prompt lines together; a turn that is too long is skipped.
            count: the cost of a text, such as a model's token count; characters by default.
            visible: ids of turns that are in the prompt anyway: never recalled, but their words count for neighbours.
        """
        excluded, recalled, remaining = frozenset(visible), dict[int, float](), budget
        scores, repeated, texts = self._scores(line), _normalized(line), set[tuple[str, str]]()
        for i in np.argsort(-scores, kind="stable"):
            if len(recalled) >= k or np.isneginf(scores[i]):
                break
            turn = self._turns[i]
            text = _normalized(turn.text)
            if turn.id in excluded or text == repeated or (turn.speaker, text) in texts:
                continue
            if remaining is not None:
                cost = self._cost(turn, self._dates[i], count)
                if cost > remaining:
                    continue
                remaining -= cost
            recalled[int(i)] = float(scores[i])
            texts.add((turn.speaker, text))
        return [Recalled(self._turns[i], recalled[i], self._dates[i]) for i in sorted(recalled)]

    def _cost(self, turn: Turn, date: str, count: Callable[[str], int]) -> int:
        """The cost of the prompt's line of a turn, counted once: where the budget is spent, every turn is looked at."""
        if self._count is not count:
            self._count, self._costs = count, {}
        key = (turn.speaker, turn.text, date)
        if key not in self._costs:
            self._costs[key] = count(recalled_line(turn, language_of(turn.text), date) + "\n")
        return self._costs[key]

    def _scores(self, line: str) -> Floats:
        """The score of each turn, shape (turns,); minus infinity for turns that no search matches."""
        if not self._turns or not line.strip():
            return np.full(len(self._turns), -np.inf)
        named, query = self._without_names(line)
        lexical = self._bm25(_terms(without_question_words(query)))
        total, matched = _z_scores(lexical), lexical > 0
        if self._embedder is not None:
            cosine = self._matrix @ self._embedder.question(query)[0]
            total, matched = total + DENSE_WEIGHT * _z_scores(cosine), np.ones_like(matched)
        total = total + SPEAKER_BONUS * np.array([turn.speaker in named for turn in self._turns])
        return np.where(matched, total, -np.inf)

    def _bm25(self, terms: Sequence[str]) -> Floats:
        """BM25 of each turn with its neighbours and its date, shape (turns,).

        Windows are sums over the turns' own counts, for the terms of the line alone; so a new turn costs only its own
        words, while a library's static index would be rebuilt.
        """
        if not terms:
            return np.zeros(len(self._turns))
        number = len(self._turns)
        of_date = {date: [self._terms[date].get(t, 0) for t in terms] for date in set(self._dates)}
        own = np.zeros((len(terms), number))  # (terms, turns)
        for row, term in zip(own, terms, strict=True):
            if places := self._places.get(term):
                row[list(places)] = list(places.values())
        frequency = self._with_neighbours(own) + np.array([of_date[date] for date in self._dates]).T
        containing = (frequency > 0).sum(axis=1, keepdims=True)
        idf = np.log1p((number - containing + 0.5) / (containing + 0.5))
        length = _K1 * (1 - _B + _B * self._lengths / max(self._lengths.mean(), 1e-9))
        scores: Floats = (idf * frequency * (_K1 + 1) / (frequency + length)).sum(axis=0)
        return scores

    def _with_neighbours(self, counts: Floats) -> Floats:
        """Counts (..., turns) plus those of neighbours of the same date: a half of the next, a third, a quarter."""
        total: Floats = counts.copy()
        dates = np.array(self._dates, dtype=object)
        for step in range(1, min(NEIGHBOURS, len(dates) - 1) + 1):
            same_date = dates[step:] == dates[:-step]
            total[..., step:] += counts[..., :-step] * same_date / (1 + step)
            total[..., :-step] += counts[..., step:] * same_date / (1 + step)
        return total

    def _embedded_texts(self) -> list[str]:
        """The text that is embedded for each turn: the questions of the turn before, then ``speaker: text``."""
        texts = []
        for i, turn in enumerate(self._turns):
            before = self._turns[i - 1].text if i and self._dates[i - 1] == self._dates[i] else ""
            questions = " ".join(question.strip() for question in _QUESTION.findall(before))
            texts.append(f"{questions} {turn.speaker}: {turn.text}".strip())
        return texts

    def _without_names(self, line: str) -> tuple[set[str], str]:
        """The speakers that the line names, and the line without their names (the whole line if only names remain)."""
        named, query = set(), line
        for speaker in {turn.speaker for turn in self._turns}:
            pattern = _speaker_pattern(speaker)
            if pattern and re.search(pattern, line, re.IGNORECASE):
                named.add(speaker)
                query = re.sub(pattern, " ", query, flags=re.IGNORECASE)
        return named, " ".join(query.split()) if _terms(query) else line


def _normalized(text: str) -> str:
    return text.strip().casefold()


def _terms(text: str) -> list[str]:
    """Words, and CJK character pairs for words that jieba segments differently in two sentences."""
    return words(text) + [pair for pair in pairs(text) if not pair.isascii()]


def _speaker_pattern(speaker: str) -> str:
    """A pattern of the names of a speaker: the name, a part of a Latin one, the given name of a Chinese one.

    Empty for question words such as "Me" or “我”, which name nobody.
    """
    names = {speaker, *_NAME_PART.findall(speaker)}
    if len(speaker) > 2 and not speaker.isascii() and not re.search(r"\s", speaker):
        names.add(speaker[-2:])
    usable = (name for name in names if without_question_words(name).strip())
    return "|".join(
        rf"(?<![A-Za-z0-9]){re.escape(name)}(?:['’]s)?(?![A-Za-z0-9])" if name.isascii() else re.escape(name)
        for name in sorted(usable, key=lambda name: (-len(name), name))  # the longest first
    )


def _z_scores(scores: Floats) -> Floats:
    """Scores in standard deviations from their mean; zeros where all are equal."""
    spread = float(scores.std())
    standard: Floats = (scores - scores.mean()) / spread if spread > 1e-9 else np.zeros_like(scores)
    return standard
