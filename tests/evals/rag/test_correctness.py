"""Right answers without a judge, and the paired difference of the answers with and without the document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from egosrag.errors import SourceError
from evals.common.questions import read_questions
from evals.rag.questions import Manual, limited
from evals.rag.report import difference
from evals.rag.scorer import score
from evals.rag.systems import WITH, WITHOUT


def row(reference: str, *, answerable: bool = True, question: str = "How much oil?") -> dict[str, Any]:
    return {"question": question, "reference": reference, "answerable": answerable, "pages": []}


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        ("It takes 4.2 litres of oil.", "4.2 litres", 1.0),
        ("It takes 4.5 litres of oil.", "4.2 litres", 0.0),
        ("不能。", "能", 0.0),
        ("可以，但要先熄火。", "可以", 1.0),
    ],
)
def test_an_answer_is_right_if_it_contains_the_reference(answer: str, reference: str, right: float) -> None:
    assert score(row(reference), {"answer": answer})["right"] == right


def test_a_refusal_is_not_right_and_an_unanswerable_question_has_no_right_answer() -> None:
    outputs = {"answer": "The manual does not say 4.2.", "refused": True, "citations": [], "verified_quotes": 0}
    assert score(row("4.2"), outputs)["right"] == 0.0
    assert "right" not in score(row("", answerable=False), outputs)


def test_the_difference_is_paired_by_question() -> None:
    def records(values: list[float | None]) -> list[dict[str, Any]]:
        return [{"measures": {} if value is None else {"right": value}} for value in values]

    found = difference({WITH: records([1, 1, None, 1]), WITHOUT: records([0, 1, 1, 0])}, "right")
    assert found and found["n"] == 3 and found["value"] == pytest.approx(2 / 3)
    assert found["ci95"][0] <= found["value"] <= found["ci95"][1]
    assert difference({WITH: records([None]), WITHOUT: records([1])}, "right") is None


def test_a_seeded_limit_is_a_sample_in_the_order_of_the_rows() -> None:
    rows = tuple({"id": str(n), "manual": "m", "kind": "k"} for n in range(40))
    manuals = [Manual("m", (Path("m.pdf"),), rows)]
    chosen = limited(manuals, 8, seed=1)
    assert limited(manuals, 8) == [str(n) for n in range(8)] != chosen == limited(manuals, 8, seed=1)
    assert chosen == sorted(chosen, key=int) and limited(manuals, None, seed=1) == [str(n) for n in range(40)]


@pytest.mark.parametrize("history", ["ab", ["ab", "cd"], [["a"]], [["a", 1]], {"a": "b"}])
def test_a_history_that_is_no_list_of_pairs_is_refused(tmp_path: Path, history: Any) -> None:
    (tmp_path / "q.jsonl").write_text(json.dumps({"question": "Q?", "history": history}), encoding="utf-8")
    with pytest.raises(SourceError, match="row 1 has a history that is not a list"):
        read_questions(tmp_path / "q.jsonl")
