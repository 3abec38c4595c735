"""Questions for a page or a chapter: answered with where the section begins, never with a table of contents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from egosrag.models.scripted import ScriptedChatModel
from egosrag.rag.answer.engine import ManualEngine
from egosrag.rag.documents.cleaning import contents_entries
from egosrag.rag.documents.raw import Line
from egosrag.rag.index.fields import is_directory
from egosrag.rag.index.manual_index import ManualIndex

ASKED = {
    "en": (
        "Which page describes {}?",
        "On what page can I find {}?",
        "Which chapter covers {}?",
        "Where in the manual is {} explained?",
    ),
    "zh": ("{}在第几页？", "哪一页介绍了{}？", "{}在哪一章？", "关于{}的内容在手册的哪一页？"),
}


def page_of(index: ManualIndex, question: str) -> int | None:
    answer = ManualEngine(index, ScriptedChatModel(responses=[])).ask(question)
    return answer.citations[0].page if answer.citations else None


def manual(folder: Path, contents: str) -> ManualIndex:
    pages = [
        contents,
        "Introduction\nThis manual is about the boiler. It describes how to fill, light and service it.",
        "Lighting the burner\nOpen the gas tap first. Press the knob for ten seconds until the burner stays lit.",
        "The flame must be blue. A yellow flame needs a service of the burner by a technician.",
        "Filling the circuit\nConnect the hose to the tap and fill until the gauge shows one bar.",
    ]
    path = folder / "boiler.jsonl"
    rows = [json.dumps({"page": number, "text": text}) for number, text in enumerate(pages, 1)]
    path.write_text("\n".join(rows), encoding="utf-8")
    return ManualIndex.build([path])


@pytest.mark.parametrize(
    "contents",
    [
        "Contents\nIntroduction ..... 2\nLighting the burner ..... 3\nFilling the circuit ..... 5",
        "Contents\n2 Introduction\n3 Lighting the burner\n4 The flame\n5 Filling the circuit\n6 Faults\n7 Parts",
        "Table of contents\nIntroduction 2\nLighting the burner 3\nFilling the circuit 5\nFaults 6\nParts 7\nIndex 8",
    ],
)
@pytest.mark.parametrize("form", ASKED["en"])
def test_the_sections_page_is_given_and_not_that_of_the_contents(tmp_path: Path, contents: str, form: str) -> None:
    index = manual(tmp_path, contents)
    assert page_of(index, form.format("lighting the burner")) == 3
    assert page_of(index, form.format("filling the circuit")) == 5


THINGS = ["axle", "belt", "brake", "clutch", "dial", "engine", "fuse", "gear"]


@pytest.mark.parametrize(
    ("text", "directory"),
    [
        ("Index\n" + "\n".join(f"{thing} {n}, {n + 3}" for n, thing in enumerate(reversed(THINGS))), True),
        ("\n".join(f"{thing} {n}" for n, thing in enumerate(THINGS)), True),
        ("目录\n" + "\n".join(f"第{n}章 保养 {n}" for n in range(1, 8)), True),
        ("\n".join(f"Part: {n} | Number: {n}" for n in range(9)), False),
        ("\n".join(f"Set the dial of the {thing} to {n}" for n, thing in enumerate(THINGS)), False),
        ("The contents of the box are listed.\nScrews 8\nNuts 8", False),
    ],
)
def test_contents_and_indexes_are_recognised(text: str, directory: bool) -> None:
    assert is_directory(text) is directory


def test_the_entries_of_a_real_contents_page_lead_to_their_sections(car_manual: ManualIndex) -> None:
    entries = [e for page in car_manual.pages for e in contents_entries([Line(t) for t in page.text.split("\n")])]
    pages: dict[str, set[int]] = {}
    for title, number in entries:
        pages.setdefault(title, set()).add(number)
    asked = [(form.format(title), pages[title]) for title in list(pages)[::8] for form in ASKED["zh"]]
    right = [page_of(car_manual, question) in expected for question, expected in asked]
    assert sum(right) >= 0.95 * len(right)
