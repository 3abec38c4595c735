"""A quote supports the numbers of a sentence if it has the same ones, of the same things."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from egosrag.rag.answer.citation_verifier import CitationVerifier
from egosrag.rag.answer.number_check import numbers_supported
from egosrag.rag.index.manual_index import ManualIndex
from evals.common.citation_check import evaluate
from evals.numbers import cases

TYRES = "Fill the front tyres to 2.3 bar and the rear tyres to 2.8 bar."
ROW = "Load: Full load | Front: 2.5 bar | Rear: 2.8 bar"
WHEELS = "前轮胎压为2.3巴，后轮胎压为2.8巴。"
OIL = "Work: Change engine oil | Every: 10,000 km | Or after: 12 months"


@pytest.mark.parametrize(
    ("text", "source", "supported"),
    [
        ("它在25米内有效。", "距离车辆25 米以内", True),
        ("它在52米内有效。", "距离车辆25米以内", False),
        ("等30秒。", "等待30分钟。", False),
        ("It takes 4.6 litres.", "takes 4.6 litres", True),
        ("It takes 46 litres.", "takes 4.6 litres", False),
        ("It works within 25 meters.", "within 25 metres of the car", True),
        ("Every 60000 km.", "every 60,000 km", True),
        ("1. 打开盖子。", "打开盖子。", True),
        ("没有数字。", "有5个数字。", True),
        ("It takes 30.", "It takes 30 minutes.", True),
        ("It takes 30 minutes.", "It takes 30.", True),
        ("The battery is a CR2023.", "Use a battery of the type CR2032.", False),
        ("Drive at 120 km/h or more.", "Do not exceed 120 km/h.", False),
        ("Drive at most at 120 km/h.", "Do not exceed 120 km/h.", True),
        ("The toe is 0.11°.", "Toe: 0.11°±0.05°", False),
        ("It weighs 1500 kg.", "Weight: 1.500 kg", True),
        ("The front tyres need 2.3 bar.", TYRES, True),
        ("The rear tyres need 2.8 bar.", TYRES, True),
        ("The front tyres need 2.8 bar.", TYRES, False),
        ("The rear tyre pressure is 2.3 bar.", TYRES, False),
        ("The tyre pressure is 2.3 bar in front and 2.8 bar at the rear.", TYRES, True),
        ("The tyre pressure is 2.8 bar in front and 2.3 bar at the rear.", TYRES, False),
        ("Fill the rear tyres to 2.8 bar and the front tyres to 2.3 bar.", TYRES, True),
        ("With a full load the front tyres need 2.5 bar.", ROW, True),
        ("With a full load the front tyres need 2.8 bar.", ROW, False),
        ("The pressure is 2.5 bar in front and 2.8 bar at the rear.", ROW, True),
        ("后轮应充气到2.8巴。", WHEELS, True),
        ("后轮应充气到2.3巴。", WHEELS, False),
        ("前后轮胎压分别为2.3巴和2.8巴。", WHEELS, True),
        ("Change the engine oil every 10,000 km or after 12 months.", OIL, True),
        ("Change the engine oil every 10 000 km.", OIL, True),
        ("Change the engine oil after one year.", OIL, False),
    ],
)
def test_a_source_supports_a_text_with_the_same_numbers(text: str, source: str, supported: bool) -> None:
    assert numbers_supported(text, source) is supported


def test_the_shared_cases(shared_cases: Path, tmp_path: Path) -> None:
    for n, line in enumerate((shared_cases / "numbers" / "wrong.jsonl").read_text(encoding="utf-8").splitlines()):
        case = json.loads(line)
        (tmp_path / f"{n}.txt").write_text(case["page"], encoding="utf-8")
        index = ManualIndex.build([tmp_path / f"{n}.txt"])
        cited = CitationVerifier(index, index.passages, case["question"]).cite(case["sentence"])
        assert (cited is not None) is case["supported"], case["sentence"]


def test_mutated_sentences_of_the_sample_manuals_are_caught(manuals: dict[str, ManualIndex]) -> None:
    for index in manuals.values():
        result = evaluate(index, cases)
        assert result["caught"] >= 0.95
        assert result["lost"] <= 0.02
