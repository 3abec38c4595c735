"""The decision rules: refuse, quote or generate, by confidence, page questions, the model's traits and its refusal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from egosrag.rag.answer import decision
from egosrag.rag.answer.decision import Decision, decide, decide_without_draft, may_refuse


@dataclass
class Evidence:
    """As much of the retrieved evidence as the rules read."""

    standalone: str
    confidence: float

    @property
    def question_confidence(self) -> float:
        return self.confidence


def made(confidence: float, question: str = "How do I open the lid?") -> Any:
    return Evidence(question, confidence)


@pytest.mark.parametrize(
    ("confidence", "expected"),
    [
        (decision.REFUSE_BELOW - 0.01, Decision.REFUSE),
        (decision.REFUSE_BELOW, Decision.GENERATE),
        (1.0, Decision.GENERATE),
    ],
)
def test_a_model_writes_from_the_refusal_threshold_on(confidence: float, expected: Decision) -> None:
    assert decide(made(confidence), "Press the button.", extractive_only=False, has_vectors=False) is expected


def test_with_vectors_the_model_is_always_asked_and_without_a_quote_never() -> None:
    assert decide(made(0.0), "Press.", extractive_only=False, has_vectors=True) is Decision.GENERATE
    assert decide(made(1.0), None, extractive_only=False, has_vectors=True) is Decision.REFUSE


def test_a_model_may_refuse_only_where_the_evidence_is_weak() -> None:
    assert may_refuse(made(decision.ANSWER_FROM - 0.01))
    assert not may_refuse(made(decision.ANSWER_FROM))


@pytest.mark.parametrize(
    ("question", "confidence", "expected"),
    [
        ("What is on page 3?", 0.0, Decision.QUOTE),
        ("On which page is the lid?", decision.QUOTE_FROM, Decision.PAGE_NUMBER),
        ("On which page is the lid?", decision.QUOTE_FROM - 0.01, Decision.GENERATE),
    ],
)
def test_questions_about_pages_are_not_for_the_model(question: str, confidence: float, expected: Decision) -> None:
    assert decide(made(confidence, question), "The lid.", extractive_only=False, has_vectors=False) is expected


@pytest.mark.parametrize(
    ("confidence", "expected"),
    [(decision.QUOTE_FROM - 0.01, Decision.REFUSE), (decision.QUOTE_FROM, Decision.QUOTE)],
)
def test_an_extractive_model_quotes_or_refuses(confidence: float, expected: Decision) -> None:
    assert decide(made(confidence), "Press the button.", extractive_only=True, has_vectors=False) is expected


@pytest.mark.parametrize(
    ("confidence", "model_refused", "expected"),
    [
        (decision.QUOTE_DROPPED_FROM, False, Decision.QUOTE),
        (decision.QUOTE_DROPPED_FROM - 0.01, False, Decision.REFUSE),
        (decision.QUOTE_DROPPED_FROM, True, Decision.REFUSE),
        (1.0, True, Decision.REFUSE),
    ],
)
def test_without_a_draft_the_manual_is_quoted_and_a_refusal_of_the_model_stands(
    confidence: float, model_refused: bool, expected: Decision
) -> None:
    assert decide_without_draft(made(confidence), "Press the button.", model_refused=model_refused) is expected


def test_a_quote_without_the_value_that_is_asked_for_needs_the_most_confidence() -> None:
    question = "How often must the filter be changed?"
    for confidence, expected in (
        (decision.QUOTE_WITHOUT_VALUE_FROM - 0.01, Decision.REFUSE),
        (decision.QUOTE_WITHOUT_VALUE_FROM, Decision.QUOTE),
    ):
        evidence = made(confidence, question)
        assert decide_without_draft(evidence, "The filter keeps dust out.", model_refused=False) is expected
    evidence = made(decision.QUOTE_DROPPED_FROM, question)
    assert decide_without_draft(evidence, "Change it every 12 months.", model_refused=False) is Decision.QUOTE
