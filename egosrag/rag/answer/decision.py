"""The decision about an answer: refuse, quote the manual, or let the model write. One rule for all models.

Before the model is asked (:func:`decide`):

* no passage, or a confidence below ``REFUSE_BELOW``: refused;
* the question names a page: an excerpt of that page is quoted; it asks for a page number: the number is the answer;
* the model is extractive only (it reads passages worse than their best sentence): quoted or refused, as below;
* else the model writes. Its unsupported sentences are dropped, and what is left must be about the question.

After a draft of which nothing is left (:func:`decide_without_draft`), and for an extractive model:

* the manual is quoted from ``QUOTE_FROM`` on, against a refusal of the model only from ``QUOTE_OVER_REFUSAL_FROM`` on,
  and a quote without a value of the kind that is asked for only from ``QUOTE_WITHOUT_VALUE_FROM`` on; else refused.

The thresholds are shares of the question's content that the best passage covers (``RetrievedEvidence.confidence``), of
eight features that were tried the one that separates answered questions from unanswerable ones best. Measured on the
sample manuals with 20 unanswerable questions: area under the curve 0.99 against the 64 direct questions, 0.92 against
the 16 follow-ups, 0.78 against the 28 paraphrases.
"""

from __future__ import annotations

from enum import Enum

from egosrag.rag.answer.answer_types import lacks_answer_type
from egosrag.rag.retrieval.evidence import RetrievedEvidence
from egosrag.rag.retrieval.page_references import asks_for_page, named_pages

# Below: refused without asking the model, unless the index has dense vectors, which find what shares no words.
REFUSE_BELOW = 0.12
# From here on the manual is quoted where the model has no supported answer. Below are none of the direct questions, one
# follow-up, four paraphrases and 13 of the unanswerable ones; a question too many goes to the model, which refuses too.
# Among the car manual's silver questions, those about what the right page leaves out have as much evidence as the
# others: refusing those is left to the model.
QUOTE_FROM = 0.23
# From here on the manual is quoted although the model refused.
QUOTE_OVER_REFUSAL_FROM = 0.60
# From here on a quote answers that has no value of the kind asked for ("how often" without a number). Sample manuals:
# 17 of the 20 unanswerable questions are refused (13 without this rule), and no other question more; on generated
# leaflets: see pocket's model card.
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


def decide_without_draft(evidence: RetrievedEvidence, quote: str, *, model_refused: bool) -> Decision:
    """How the question is answered when nothing of the model's draft is left.

    Args:
        evidence: what retrieval found.
        quote: the excerpt of the manual that fits best.
        model_refused: whether the model said that there is no answer.
    """
    return _quote_or_refuse(evidence, quote, QUOTE_OVER_REFUSAL_FROM if model_refused else QUOTE_FROM)


def _quote_or_refuse(evidence: RetrievedEvidence, quote: str, threshold: float) -> Decision:
    if lacks_answer_type(evidence.standalone, quote):
        threshold = max(threshold, QUOTE_WITHOUT_VALUE_FROM)
    return Decision.QUOTE if evidence.question_confidence >= threshold else Decision.REFUSE
