"""The passages of a prompt: few first, whole procedures, and no text twice."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from egosrag.rag.documents.procedures import around
from egosrag.rag.documents.splitting import passage_at
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.retrieval.evidence import RetrievedEvidence
from egosrag.rag.retrieval.search import ScoredPassage
from egosrag.schema import Page


def readings(index: ManualIndex, evidence: RetrievedEvidence, *, few_first: bool) -> list[list[ScoredPassage]]:
    """The passages of the prompt; with ``few_first`` of two prompts, the second for where the first has no answer.

    The first word of an answer comes when its prompt is read, and small models answer better from few passages. What is
    joined to one of these is read with it, so that the second prompt begins as the first one did, which is in the KV
    cache.

    Args:
        index: the index that was searched.
        evidence: what was found.
        few_first: the best passages alone come first; for where they are likely to answer.

    Returns:
        One list of passages, or two.
    """
    whole = prompt_passages(index, evidence.to_read)
    first = [hit for hit in whole if any(map(partial(_contains, hit), evidence.to_read_first))] if few_first else whole
    return [whole] if first == whole else [first, whole]


def prompt_passages(index: ManualIndex, hits: Sequence[ScoredPassage]) -> list[ScoredPassage]:
    """The retrieved passages for a prompt, best first.

    A passage with a part of a list is extended to the whole list, and passages of a page that overlap or touch are
    joined, at the place of the better one.

    Args:
        index: the index that was searched.
        hits: the retrieved passages, best first.
    """
    joined: list[ScoredPassage] = []
    for hit in hits:
        page = index.page(hit.passage.source, hit.passage.page)
        start, end = around(page, hit.passage.start, hit.passage.end)
        first = len(joined)
        rest: list[ScoredPassage] = []
        score = hit.score
        for n, other in enumerate(joined):
            same = (other.passage.source, other.passage.page) == (page.source, page.page)
            if same and _touch(page, (start, end), (other.passage.start, other.passage.end)):
                start, end = min(start, other.passage.start), max(end, other.passage.end)
                score, first = max(score, other.score), min(first, n)
            else:
                rest.append(other)
        rest.insert(first, ScoredPassage(passage_at(page, start, end), score))
        joined = rest
    return joined


def _contains(whole: ScoredPassage, part: ScoredPassage) -> bool:
    a, b = whole.passage, part.passage
    return (a.source, a.page) == (b.source, b.page) and a.start <= b.start and b.end <= a.end


def _touch(page: Page, one: tuple[int, int], two: tuple[int, int]) -> bool:
    return not page.text[min(one[1], two[1]) : max(one[0], two[0])].strip()
