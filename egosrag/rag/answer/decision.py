"""The decision about an answer: refuse, quote the manual, or let the model write. One set of rules for all models.

Before the model is called (:func:`decide`), the first rule that applies:

1. No excerpt of the manual fits: refuse.
2. The question names a page: quote it.
3. The question asks for a page number, and the confidence is ``QUOTE_FROM`` or more: answer with the page number.
4. The confidence is below ``REFUSE_BELOW``: refuse (not with dense vectors, which find what shares no words).
5. The model is extractive only (it reads passages worse than their best sentence): quote or refuse, as below.
6. The model writes. Its unsupported sentences are dropped, and the others must be about the question.

The prompt offers a refusal only below ``ANSWER_FROM`` (:func:`may_refuse`): small models refuse what the first passage
states as soon as they may. From there on, what they invent is refused as it has no citation.

A model's refusal stands. If nothing of its draft remains (:func:`decide_without_draft`), the manual is quoted from
``QUOTE_DROPPED_FROM`` on; for an extractive model, from ``QUOTE_FROM`` on; with a quote that lacks the type of answer
that the question asks for, from ``QUOTE_WITHOUT_VALUE_FROM`` on. Otherwise it is refused.

The thresholds are values of ``RetrievedEvidence.confidence``, the share of the question's content that one passage
covers: of eight features that were tried, it separates answerable from unanswerable questions best. Where the manual
of another product is asked (OHR-Bench: 360 questions, each also without the document that answers it), the area under
the curve is 0.98; on a manual's own subject less: 0.92 for follow-ups to the sample manuals, 0.78 for paraphrases.
docs/notes/retrieval.md has the shares by threshold of three sources.
"""

from __future__ import annotations

from enum import Enum

from egosrag.rag.answer.answer_types import lacks_answer_type
from egosrag.rag.retrieval.evidence import RetrievedEvidence
from egosrag.rag.retrieval.page_references import asks_for_page, named_pages

# Below this confidence the question is refused without calling the model. It is low on purpose: a question too many
# goes to the model, which can refuse too.
REFUSE_BELOW = 0.12
# From this confidence on the manual is quoted for an extractive model. On the sample manuals none of the direct
# questions, one follow-up, four paraphrases and 13 of the unanswerable questions are below it. Among the car manual's
# silver questions, those about what the right page leaves out have as much confidence as the others: refusing those is
# left to the model.
QUOTE_FROM = 0.23
# From this confidence on the prompt offers no refusal. Below it are 79 % of OHR-Bench's questions without the document
# (the half that nothing was fitted to), all 20 unanswerable ones to the sample manuals and 27 % of those
# to the car manual; of the answerable ones 2 %, 3 % of the direct ones to the sample manuals, 61 % of the paraphrases,
# and 11 %. Of Qwen2.5-Coder-1.5B's refusals none was of an answerable question.
ANSWER_FROM = 0.45
# From this confidence on the manual is quoted where nothing of the model's draft remains. Of the unanswerable questions
# 19 of 20 to the sample manuals are below it, and 34 of 45 to other product manuals (OHR-Bench, without the document
# that answers them); of the answerable ones none of 135 there, and 2 of the 64 direct ones to the sample manuals.
QUOTE_DROPPED_FROM = 0.40
# From this confidence on a quote without the type of answer is given ("how often" without a number). Of OHR-Bench's
# quotes without it, 20 % of those with the right document are below it and all of those without (its other half: 24 and
# 93 %); all five of unanswerable questions to the sample manuals, and 15 % of the car manual's 20.
QUOTE_WITHOUT_VALUE_FROM = 0.60


class Decision(Enum):
    """How a question is answered."""

    REFUSE = "refuse"
    QUOTE = "quote the manual"
    PAGE_NUMBER = "answer with the page's number"
    GENERATE = "let the model write"


def decide(evidence: RetrievedEvidence, quote: str | None, *, extractive_only: bool, has_vectors: bool) -> Decision:
    """How the question is answered, before the model is asked.

    Args:
        evidence: what retrieval found.
        quote: the excerpt of the manual that fits best; None where there is none.
        extractive_only: whether the model never writes answers.
        has_vectors: whether the index has dense vectors.
    """
    question = evidence.standalone
    if quote is None:
        return Decision.REFUSE
    if named_pages(question):
        return Decision.QUOTE
    if asks_for_page(question) and evidence.confidence >= QUOTE_FROM:
        return Decision.PAGE_NUMBER
    if evidence.confidence < REFUSE_BELOW and not has_vectors:
        return Decision.REFUSE
    return _quote_or_refuse(evidence, quote, QUOTE_FROM) if extractive_only else Decision.GENERATE


def may_refuse(evidence: RetrievedEvidence) -> bool:
    """Whether the prompt says how to refuse."""
    return evidence.question_confidence < ANSWER_FROM


def decide_without_draft(evidence: RetrievedEvidence, quote: str, *, model_refused: bool) -> Decision:
    """How the question is answered when nothing of the model's draft is left.

    Args:
        evidence: what retrieval found.
        quote: the excerpt of the manual that fits best.
        model_refused: whether the model said that there is no answer.
    """
    return Decision.REFUSE if model_refused else _quote_or_refuse(evidence, quote, QUOTE_DROPPED_FROM)


def _quote_or_refuse(evidence: RetrievedEvidence, quote: str, threshold: float) -> Decision:
    if lacks_answer_type(evidence.standalone, quote):
        threshold = max(threshold, QUOTE_WITHOUT_VALUE_FROM)
    return Decision.QUOTE if evidence.question_confidence >= threshold else Decision.REFUSE
