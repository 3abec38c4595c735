"""Half of a surrogate pair, wherever text comes in: replaced, or reported by file and line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage

from egosrag import Conversation, ManualEngine, ManualIndex, load_chat_model
from egosrag.errors import SessionError, SourceError
from egosrag.models.scripted import ScriptedChatModel
from egosrag.rag.documents.load import load_pages
from egosrag.sessions.store import open_store
from egosrag.text.encoding import is_text, without_surrogates
from evals.common.questions import read_questions
from evals.common.records import read_jsonl
from evals.memory import read_locomo
from finetune.data.rows import read_rows

HALF = "Ann\ud83d says"
CASE = Path(__file__).parents[3] / "shared" / "cases" / "datasets" / "lone.jsonl"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("😀 雨", "😀 雨"),
        ("\ud83d", "\ufffd"),
        ("\ude00", "\ufffd"),
        ("\ud83d\ude00", "😀"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("a\ud83d\ud83d\ude00b", "a\ufffd😀b"),
        ("雨\udcff", "雨\ufffd"),
    ],
)
def test_halves_are_replaced_and_pairs_are_joined(text: str, expected: str) -> None:
    assert without_surrogates(text) == expected
    assert is_text({"a": [expected]}) and is_text([text]) == (text == expected)


def test_a_page_of_a_document(tmp_path: Path) -> None:
    pages = [{"page": 1, "text": f"{HALF}: the oil is changed every year."}, {"page": 2, "text": "The end."}]
    path = tmp_path / "pages.jsonl"
    path.write_text("\n".join(json.dumps(page) for page in pages), encoding="utf-8")
    assert [page.text for page in load_pages([path])][0].startswith("Ann\ufffd says")
    index = ManualIndex.build([path], tmp_path / "index")
    answer = ManualEngine(index, load_chat_model("pocket")).ask("How often is \ud800 the oil changed?")
    assert "every year" in answer.answer and is_text(answer.model_dump())


def test_a_line_and_an_edit_of_a_conversation(tmp_path: Path) -> None:
    with open_store(tmp_path / "talk.sqlite") as store:
        talk = Conversation(ScriptedChatModel(responses=['Yes."']), "Tim", checkpointer=store)
        talk.say(HALF)
        talk.edit(talk.turns()[0].id, HALF)
        assert talk.turns()[0].text == "Ann\ufffd says"
        for ending in ("json", "jsonl", "md"):
            talk.export(tmp_path / f"out.{ending}")


def test_a_session_is_not_named_with_half_a_character(any_store: str) -> None:
    """Bytes of a command line that are not UTF-8 arrive as halves."""
    with open_store(any_store) as store:
        for name in ("s\udcff", "\ud83d", "a\0b"):
            with pytest.raises(SessionError, match="cannot be stored: choose another one"):
                Conversation(ScriptedChatModel(responses=[]), "Tim", checkpointer=store, session=name)


def test_a_file_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        with open(os.fsencode(tmp_path / folder) + b"/caf\xe9.md", "w") as file:
            file.write(f"# Oil\n\nThe oil of {folder} is changed every year.\n")
    index = ManualIndex.build([tmp_path / "a", tmp_path / "b"], tmp_path / "index")
    answer = ManualEngine(index, None).ask("How often is the oil of b changed?")
    assert answer.citations[0].source == "b/caf\\xe9.md"


def test_a_message_to_a_local_model() -> None:
    pocket = load_chat_model("pocket", max_new_tokens=3)
    assert pocket.invoke([HumanMessage(HALF)]).usage_metadata["output_tokens"] == 3
    assert pocket.get_num_tokens(HALF) == pocket.get_num_tokens("Ann\ufffd says")


@pytest.mark.parametrize("suffix", ["jsonl", "json"])
def test_a_training_row_is_reported_by_its_line_and_the_others_are_read(suffix: str, tmp_path: Path) -> None:
    rows = [
        {"instruction": "a", "output": "b"},
        {"instruction": "a", "output": HALF},
        {"instruction": HALF},
        {"c": "d"},
    ]
    lines = [json.dumps(row) for row in rows]
    path = tmp_path / f"rows.{suffix}"
    path.write_text("\n".join(lines) if suffix == "jsonl" else "[" + ",\n".join(lines) + "]", encoding="utf-8")
    found = list(read_rows(str(path)))
    assert [row.columns is not None for row in found] == [True, False, False, True]
    assert found[1].location == f"{path.name}:2" and "half of a character" in found[1].problem


@pytest.mark.skipif(not CASE.is_file(), reason="the case is not beside this checkout")
def test_the_training_row_of_the_case() -> None:
    assert any("half of a character" in row.problem for row in read_rows(str(CASE)))


def test_a_row_of_an_evaluation_is_reported_by_its_line(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"question": "a"}\n' + json.dumps({"question": HALF}) + "\n", encoding="utf-8")
    with pytest.raises(SourceError, match="line 2 has half of a character"):
        list(read_jsonl(rows))
    with pytest.raises(SourceError, match="line 2 has half of a character"):
        read_questions(rows)
    questions = tmp_path / "rows.json"
    questions.write_text(json.dumps([{"question": "a"}, {"question": HALF}]), encoding="utf-8")
    with pytest.raises(SourceError, match="row 2 has half of a character"):
        read_questions(questions)
    talk = tmp_path / "talk.json"
    talk.write_text(json.dumps({"qa": [], "speaker_a": HALF}), encoding="utf-8")
    with pytest.raises(SourceError, match="half of a character"):
        read_locomo(talk)
