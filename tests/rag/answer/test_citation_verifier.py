"""Citation verification: a sentence needs a quote with its content, its numbers and its polarity."""

from __future__ import annotations

from pathlib import Path

import pytest

from egosrag.rag.answer.citation_verifier import CitationVerifier, answer_sentences, join_sentences, same_polarity
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.retrieval.search import Retriever
from egosrag.text.sentences import sentence_spans
from tests.conftest import SAMPLES


def verifier(index: ManualIndex, *questions: str) -> CitationVerifier:
    return CitationVerifier(index, [hit.passage for q in questions for hit in Retriever(index).search(q)])


def test_passage_marks_are_read_before_and_after_the_stop() -> None:
    sentences = list(answer_sentences("好的[1]。可以。[2][3] Yes [1, 2]. No.【4】"))
    assert sentences == [("好的。", (1,)), ("可以。", (2, 3)), ("Yes.", (1, 2)), ("No.", (4,))]


def test_sentences_are_joined_with_spaces_only_in_latin_script() -> None:
    assert join_sentences(["好的。", "可以。", "Yes.", "No."]) == "好的。可以。Yes. No."
    assert join_sentences(["Do this:", "1. Open it.", "2. Close it."]) == "Do this:\n1. Open it.\n2. Close it."


def test_a_sentence_with_a_wrong_number_has_no_citation(manuals: dict[str, ManualIndex]) -> None:
    verified = verifier(manuals["zh"], "智能钥匙在多远的距离内有效？")
    right, wrong = verified.verify("智能钥匙在距离车辆25米以内有效。智能钥匙在距离车辆26米以内有效。")
    assert right.citation and right.citation.page == 2
    assert wrong.citation is None


def test_words_of_the_user_that_no_passage_contains_are_not_expected_of_a_quote(
    manuals: dict[str, ManualIndex],
) -> None:
    question = "I can't see through the windshield, it's all fogged up."
    hits = Retriever(manuals["en"]).search("Press the button with the curved window to clear the windscreen")
    passages = [hit.passage for hit in hits]
    sentence = "If the windshield is fogged up, press the button with the curved window."
    assert CitationVerifier(manuals["en"], passages).cite(sentence) is None
    citation = CitationVerifier(manuals["en"], passages, question).cite(sentence)
    assert citation and citation.page == 14
    assert CitationVerifier(manuals["en"], passages, question).cite("The windshield is fogged up.") is None


def test_a_table_row_is_quoted_for_a_sentence_with_words_of_its_header() -> None:
    index = ManualIndex.build([SAMPLES / "manual.en.md"])
    verified = verifier(index, "How much engine oil goes in?")
    citation = verified.cite("The amount of the fluid engine oil is 4.6 litres.")
    assert citation and citation.quote == "Fluid: Engine oil | Type: 0W-20 | Amount: 4.6 litres"
    assert verified.cite("The amount of the fluid engine oil is 5.6 litres.") is None


def test_a_yes_or_no_needs_no_quote_and_what_follows_it_does(manuals: dict[str, ManualIndex]) -> None:
    verified = verifier(manuals["en"], "How many airbags does the car have?")
    assert verified.cite("Yes, the car has seven airbags.")
    assert verified.cite("Yes, the car has eight airbags.") is None
    assert verified.cite("Yes.") is None


@pytest.mark.parametrize("sentence", ["儿童锁扣。", "如何阅读安全带。", "空调滤芯在哪里？"])
def test_a_sentence_that_only_resembles_the_page_has_no_citation(
    manuals: dict[str, ManualIndex], sentence: str
) -> None:
    verified = verifier(manuals["zh"], "空调滤芯在哪里？", "儿童锁怎么设置？", "安全带怎样清洁？")
    assert verified.cite("空调滤芯在手套箱后面。")
    assert verified.cite(sentence) is None


@pytest.mark.parametrize(
    ("text", "quote", "same"),
    [
        ("Put a child seat on the front seat.", "Never put a child seat on the front seat.", False),
        ("可以在前排座椅上安装儿童座椅。", "切勿在前排座椅上安装儿童座椅。", False),
        ("The system works below 3 °C.", "It does not work below 3 °C or when the battery is low.", False),
        ("The mirrors do not fold.", "Press the middle of the knob to fold both mirrors.", False),
        ("Never drive with an open tailgate.", "Exhaust gas can enter. Never drive with an open tailgate.", True),
        ("The systems help the driver.", "The systems help the driver and do not replace the driver.", True),
        ("最多开到50公里每小时。", "装上防滑链后，车速不要超过50公里每小时。", True),
        ("The weight is 33 kg.", "The weight must not be more than 33 kg.", True),
    ],
)
def test_a_sentence_may_not_reverse_the_polarity_of_its_quote(text: str, quote: str, same: bool) -> None:
    assert same_polarity(text, quote) is same


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_sentence_of_a_manual_has_its_own_polarity(manuals: dict[str, ManualIndex], language: str) -> None:
    for page in manuals[language].pages:
        for start, end in sentence_spans(page.text):
            assert same_polarity(page.text[start:end], page.text[start:end])


def test_the_answer_of_a_problem_is_about_the_problem(tmp_path: Path) -> None:
    file = tmp_path / "help.txt"
    file.write_text(
        "Problem: A critical low-battery error occurs, and the computer immediately turns off.\n"
        "Solution: The battery power is getting low. Plug in the adapter.\n",
        encoding="utf-8",
    )
    index = ManualIndex.build([file])
    verifier = CitationVerifier(index, index.passages)
    quote = "The battery power is getting low."
    assert "critical low-battery error" in verifier.in_context(index.passages[0].source, 1, quote)


PAGE = """# Functions

| Function | Description | Store 2.0 | Store 3.0 |
| --- | --- | --- | --- |
| Lifecycle rules | Delete objects by a rule | Supported | Supported |
| Locked objects | Protect objects from deletion | Not supported | Supported |

# Connectors

- Two USB-C connectors (one Thunderbolt 3 compatible)
- Three USB-A connectors

# Music

- This feature is not available when the watch is connected to a tablet.

1. Open the Health app, touch Devices, and touch Music.
2. Touch Play.
"""


@pytest.mark.parametrize(
    ("question", "sentence", "supported"),
    [
        ("Which versions have lifecycle rules?", "Store 2.0 and Store 3.0 support lifecycle rules.", True),
        ("Which versions have lifecycle rules?", "Store 2.5 and Store 3.5 support lifecycle rules.", False),
        ("How many USB-C connectors are there?", "There are two USB-C connectors, one Thunderbolt 3 compatible.", True),
        ("How many USB-C connectors are there?", "There are three USB-C connectors.", False),
        ("How many USB-A connectors are there?", "There are two USB-A connectors.", False),
        (
            "How can I control music if the watch is not connected to a tablet?",
            "If the watch is not connected to a tablet, open the Health app, touch Devices, and touch Music.",
            True,
        ),
        (
            "Is the feature available when the watch is not connected to a tablet?",
            "The feature is available when the watch is connected to a tablet.",
            False,
        ),
        (
            "How can I control music?",
            "If the watch is not connected to a tablet, this feature is not available.",
            False,
        ),
    ],
)
def test_numbers_of_headers_and_brackets_and_the_user_s_own_conditions(
    tmp_path: Path, question: str, sentence: str, supported: bool
) -> None:
    (tmp_path / "manual.md").write_text(PAGE, encoding="utf-8")
    index = ManualIndex.build([tmp_path / "manual.md"])
    passages = [hit.passage for hit in Retriever(index).search(question)]
    found = CitationVerifier(index, passages, question).verify(sentence)
    assert bool(found[0].citation) is supported
