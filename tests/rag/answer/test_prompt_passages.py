"""The passages of a prompt contain whole lists, and no text twice."""

from __future__ import annotations

import json
from pathlib import Path

from egosrag.models.scripted import ScriptedChatModel
from egosrag.rag.answer.engine import ManualEngine
from egosrag.rag.answer.prompt_passages import prompt_passages, readings
from egosrag.rag.documents.procedures import around
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.retrieval.search import ScoredPassage
from tests.conftest import SAMPLES


def test_passages_that_overlap_are_joined_at_the_place_of_the_better_one(manuals: dict[str, ManualIndex]) -> None:
    for index in manuals.values():
        hits = [ScoredPassage(passage, 1 - n / 1000) for n, passage in enumerate(index.passages)]
        for first in range(0, len(hits) - 4, 3):
            chosen = hits[first : first + 5][::-1]
            joined = prompt_passages(index, chosen)
            spans = sorted((p.source, p.page, p.start, p.end) for p, _ in joined)
            assert all(a[:2] != b[:2] or a[3] < b[2] for a, b in zip(spans, spans[1:], strict=False))
            assert (joined[0].passage.source, joined[0].passage.page) == (
                chosen[0].passage.source,
                chosen[0].passage.page,
            )
            for hit in chosen:
                assert any(
                    p.page == hit.passage.page and p.start <= hit.passage.start and hit.passage.end <= p.end
                    for p, _ in joined
                )
            for passage, _ in joined:
                page = index.page(passage.source, passage.page)
                assert page.text[passage.start : passage.end] == passage.text
                assert around(page, passage.start, passage.end) == (passage.start, passage.end)


def test_the_model_reads_all_steps_of_a_procedure(tmp_path: Path) -> None:
    steps = "\n".join(f"{n}. Turn the screw number {n} of the pump by half a turn and wait." for n in range(1, 30))
    (tmp_path / "m.md").write_text(f"# Pump\n\nTo bleed the pump:\n\n{steps}\n\nThe end of it.\n", encoding="utf-8")
    index = ManualIndex.build([tmp_path / "m.md"])
    model = ScriptedChatModel(responses=["Turn the screw number 1 of the pump by half a turn and wait. [1]"])
    ManualEngine(index, model, answers="model").ask("How do I bleed the pump?")
    prompt = "\n".join(str(message.text) for message in model.calls[0].messages)
    assert [prompt.count(f"Turn the screw number {n} of") for n in range(1, 30)] == [1] * 29


def test_a_quoted_procedure_is_whole_and_says_where_it_continues(tmp_path: Path) -> None:
    first = "## Opening the hood\n\n1. Stop the engine.\n2. Pull the lever under the dashboard to open the hood.\n"
    second = "3. Lift the hood.\n\n## Closing the hood\n\n1. Lower the hood.\n2. Let it fall.\n"
    (tmp_path / "m.md").write_text(f"<!-- page 1 -->\n{first}\n<!-- page 2 -->\n{second}", encoding="utf-8")
    engine = ManualEngine(ManualIndex.build([tmp_path / "m.md"]), ScriptedChatModel(responses=[]), answers="quote")
    answer = engine.ask("How do I open the hood with the lever?")
    assert answer.answer.endswith(
        "1. Stop the engine.\n2. Pull the lever under the dashboard to open the hood.\nContinues on page 2."
    )
    assert answer.citations[0].page == 1
    assert engine.ask("How do I close and lower the hood?").answer.endswith("1. Lower the hood.\n2. Let it fall.")


def test_the_first_reading_is_the_beginning_of_the_second(manuals: dict[str, ManualIndex]) -> None:
    read_twice = 0
    for language, index in manuals.items():
        engine = ManualEngine(index, None)
        for row in json.loads((SAMPLES / f"manual.{language}.questions.json").read_text(encoding="utf-8")):
            evidence = engine.retrieve(row["question"], [(q, a) for q, a in row.get("history", [])])
            whole = prompt_passages(index, evidence.to_read)
            first, *second = readings(index, evidence, few_first=True)
            assert first == whole[: len(first)] and second == ([whole] if first != whole else [])
            assert readings(index, evidence, few_first=False) == [whole]
            for best in evidence.to_read_first:
                assert any(
                    p.page == best.passage.page and p.start <= best.passage.start and best.passage.end <= p.end
                    for p, _ in first
                )
            read_twice += bool(second)
    assert read_twice > 20
