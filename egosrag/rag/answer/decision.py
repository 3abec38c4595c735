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

If nothing of the model's draft remains (:func:`decide_without_draft`), the manual is quoted from ``QUOTE_DROPPED_FROM``
on; if the model refused, from ``QUOTE_OVER_REFUSAL_FROM`` on; for an extractive model, from ``QUOTE_FROM`` on; with a
quote that lacks the type of answer that the question asks for, from ``QUOTE_WITHOUT_VALUE_FROM`` on. Otherwise it is
refused.

The thresholds are values of ``RetrievedEvidence.confidence``, the share of the question's content that one passage
covers: of eight features that were tried, it separates answerable from unanswerable questions best. Measured on the
sample manuals with 20 unanswerable questions: area under the curve 0.99 against the 64 direct questions, 0.92 against
the 16 follow-ups, 0.78 against the 28 paraphrases.
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
# From this confidence on the prompt offers no refusal. Of the questions to the sample manuals none of the direct ones,
# one follow-up, seven of the 28 paraphrases and 13 of the unanswerable ones are below it.
ANSWER_FROM = 0.25
# From this confidence on the manual is quoted where nothing of the model's draft remains. Of the unanswerable questions
# 19 of 20 to the sample manuals are below it, and 34 of 45 to other product manuals (OHR-Bench, without the document
# that answers them); of the answerable ones none of 135 there, and 2 of the 64 direct ones to the sample manuals.
QUOTE_DROPPED_FROM = 0.40
# From this confidence on the manual is quoted although the model refused.
QUOTE_OVER_REFUSAL_FROM = 0.60
# From this confidence on a quote without the type of answer is given ("how often" without a number). Sample manuals:
# 17 of the 20 unanswerable questions are refused (13 without this rule), and no other question more. On generated
# leaflets: see pocket's model card (egosrag/data/pocket/README.md).
QUOTE_WITHOUT_VALUE_FROM = 0.90


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
    return _quote_or_refuse(evidence, quote, QUOTE_OVER_REFUSAL_FROM if model_refused else QUOTE_DROPPED_FROM)


def _quote_or_refuse(evidence: RetrievedEvidence, quote: str, threshold: float) -> Decision:
    if lacks_answer_type(evidence.standalone, quote):
        threshold = max(threshold, QUOTE_WITHOUT_VALUE_FROM)
    return Decision.QUOTE if evidence.question_confidence >= threshold else Decision.REFUSE
