"""Evidence for a question: the passages of all its queries, and a confidence that they answer it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, zip_longest

from egosrag.errors import SettingsError
from egosrag.rag.index.fields import searched_text
from egosrag.rag.retrieval.lexical_overlap import LexicalOverlap, MaxOverlap, MeanOverlap, Overlap
from egosrag.rag.retrieval.query_rewriting import QueryPlan, QueryRewriter
from egosrag.rag.retrieval.search import Retriever, ScoredPassage
from egosrag.schema import Usage

MAX_REWRITES = 3
# A question is reworded while its best passage covers less than this share of it.
REWRITE_BELOW = 0.5
# A model reads the passages that score at least this share of the best one for the query. Of four sets of questions
# (753) as many have the right page among them as among all five, but for one of OHR-Bench's 360, and the passages are
# 10, 14, 35 and 58 % shorter. At 0.6 the sample manual in Chinese loses one question of 46.
READ_FROM = 0.5
# Before those a model of this machine reads at most two that score at least this share of the best one, and no others
# where they answer: of 59 questions of OHR-Bench with strong evidence 43 are answered from them, from two fifths of the
# characters; of 55 with an answer 45 are right, and 42 with all passages at once. With weak evidence the first reading
# answered 1 of 10.
READ_FIRST_FROM = 0.9
READ_FIRST = 2


@dataclass(frozen=True)
class RetrievedEvidence:
    """What was searched for and found.

    Attributes:
        plan: the queries that the question was rewritten into.
        queries: the queries that were searched for, in order: standalone forms, sub-questions, rewordings.
        passages: the passages of all queries, best first, each once.
        to_read: those of them that a model reads: the ones near the best of their query.
        to_read_first: those of ``to_read`` that it reads first, and alone where they answer.
        overlaps: the lexical overlap with each query.
        question_overlap: the overlap with the standalone question, and for a follow-up also with it as it was asked.
        usage: the tokens that writing the queries took.
    """

    plan: QueryPlan
    queries: tuple[str, ...]
    passages: tuple[ScoredPassage, ...]
    to_read: tuple[ScoredPassage, ...]
    to_read_first: tuple[ScoredPassage, ...]
    overlaps: tuple[LexicalOverlap, ...]
    question_overlap: Overlap
    usage: Usage

    @property
    def question(self) -> str:
        """The user's question, as it was asked."""
        return self.plan.question

    @property
    def standalone(self) -> str:
        """The standalone question."""
        return self.plan.standalone[0]

    @cached_property
    def overlap(self) -> Overlap:
        """The overlap of a text with the query that it matches best."""
        return MaxOverlap(*self.overlaps)

    @cached_property
    def confidence(self) -> float:
        """The largest share of any query that one passage with its headings covers, 0 to 1."""
        return self._best_overlap(self.overlap)

    @cached_property
    def question_confidence(self) -> float:
        """The confidence for the standalone question alone: a sub-question or rewording is the model's own."""
        return self._best_overlap(MaxOverlap(*self.overlaps[: len(self.plan.standalone)]))

    def _best_overlap(self, overlap: Overlap) -> float:
        return max((overlap.of(searched_text(hit.passage)) for hit in self.passages), default=0.0)


class EvidenceRetriever:
    """Searches for all queries of a plan and joins what they find.

    Args:
        retriever: the search.
        rewriter: rewords the question while too little is found.
        top_k: maximum number of passages for a question, and for each sub-question.
        rewrites: maximum number of rewordings, 0 to ``MAX_REWRITES``.

    Raises:
        SettingsError: ``rewrites`` is out of range.
    """

    def __init__(self, retriever: Retriever, rewriter: QueryRewriter, top_k: int = 5, rewrites: int = 0) -> None:
        if not 0 <= rewrites <= MAX_REWRITES:
            raise SettingsError(f"rewrites is {rewrites}: give 0 to {MAX_REWRITES}")
        self._retriever = retriever
        self._rewriter = rewriter
        self._top_k = top_k
        self._rewrites = rewrites

    def retrieve(self, plan: QueryPlan) -> RetrievedEvidence:
        """The evidence for the question of a plan.

        Raises:
            ModelError: the model cannot answer, or the embedder of the index cannot be loaded.
            StoreError: the embedder is not the one of the index.
        """
        queries = (*plan.standalone, *plan.sub_questions)
        # A follow-up is also searched for as it was asked: it may have been taken for one, and be about something else.
        searched = [plan.with_last_answer, *queries, plan.question] if plan.with_last_answer else queries
        results = [self._retriever.search(query, self._top_k) for query in searched]
        limit = self._top_k * max(1, len(plan.sub_questions))
        passages = tuple(_interleaved(results))[:limit]
        to_read = tuple(_interleaved([_near_best(hits) for hits in results]))[:limit]
        first = tuple(_interleaved([_near_best(hits, READ_FIRST_FROM)[:READ_FIRST] for hits in results]))[:limit]
        overlaps = tuple(self._overlap(query) for query in queries)
        question_overlap: Overlap = overlaps[0]
        if plan.standalone[0] != plan.question:
            question_overlap = MeanOverlap(*overlaps[: len(plan.standalone)], self._overlap(plan.question))
        evidence = RetrievedEvidence(plan, queries, passages, to_read, first, overlaps, question_overlap, plan.usage)
        for _ in range(self._rewrites):
            if evidence.confidence >= REWRITE_BELOW:
                break
            titles = dict.fromkeys(hit.passage.section for hit in evidence.passages if hit.passage.section)
            query, usage = self._rewriter.reworded(evidence.standalone, evidence.queries, titles)
            evidence = replace(evidence, usage=evidence.usage + usage)
            if not query:
                break
            evidence = self._with_query(evidence, query)
        return evidence

    def _with_query(self, evidence: RetrievedEvidence, query: str) -> RetrievedEvidence:
        """The evidence joined with that of one more query, which goes first if it is covered better than all before."""
        hits = self._retriever.search(query, self._top_k)
        overlap = self._overlap(query)
        coverage = max((overlap.of(searched_text(hit.passage)) for hit in hits), default=0.0)
        first = coverage > evidence.confidence

        def joined(own: Sequence[ScoredPassage], before: Sequence[ScoredPassage]) -> tuple[ScoredPassage, ...]:
            return tuple(_interleaved((own, before) if first else (before, own)))[: self._top_k]

        return replace(
            evidence,
            queries=(*evidence.queries, query),
            passages=joined(hits, evidence.passages),
            to_read=joined(_near_best(hits), evidence.to_read),
            to_read_first=joined(_near_best(hits, READ_FIRST_FROM)[:READ_FIRST], evidence.to_read_first),
            overlaps=(*evidence.overlaps, overlap),
        )

    def _overlap(self, query: str) -> LexicalOverlap:
        return LexicalOverlap(self._retriever.index, query)


def _near_best(hits: Sequence[ScoredPassage], share: float = READ_FROM) -> list[ScoredPassage]:
    """Those of the passages for one query that score at least ``share`` of the best."""
    return [hit for hit in hits if hit.score >= share * hits[0].score]


def _interleaved(results: Sequence[Sequence[ScoredPassage]]) -> Iterator[ScoredPassage]:
    """The best passage of each result, then the second of each, and so on; each passage once."""
    seen = set()
    for hit in chain.from_iterable(zip_longest(*results)):
        if hit is not None and hit.passage.id not in seen:
            seen.add(hit.passage.id)
            yield hit
