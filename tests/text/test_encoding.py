"""Half of a surrogate pair, wherever text comes in: replaced, or reported by file and line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage

from egosrag import Conversation, ManualEngine, ManualIndex, load_chat_model
from egosrag.errors import SessionError, SourceError, TrainingError
from egosrag.models.scripted import ScriptedChatModel
from egosrag.rag.documents.load import load_pages
from egosrag.sessions.store import open_store
from egosrag.text.encoding import decode_bytes, is_text, without_surrogates
from evals.common.questions import read_questions
from evals.common.records import numbered_rows, read_jsonl
from evals.memory import read_locomo
from evals.ppl.tasks import load_task
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


def test_a_name_that_is_given_in_place_of_a_card() -> None:
    assert Conversation(ScriptedChatModel(responses=['Yes."']), "Tim\ud83d").role.name == "Tim\ufffd"


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


RAW = b"Ann\xed\xa0\xbd says"  # half of a pair as bytes, which are not UTF-8


def test_halves_and_pairs_as_bytes(tmp_path: Path) -> None:
    """As programs write them that store UTF-16 units one by one; they were taken for Japanese or Korean."""
    path = tmp_path / "parts.csv"
    path.write_bytes(b"part,name\n7," + RAW + b"\n8,Tom \xed\xa0\xbd\xed\xb8\x80\n")
    text = load_pages([path])[0].text
    assert "Ann\ufffd says" in text and "Tom \U0001f600" in text
    assert decode_bytes("下雨，关窗。".encode("gb18030") * 20, "x") == "下雨，关窗。" * 20


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv"])
def test_a_training_row_of_other_bytes_is_reported_by_its_line_and_the_others_are_read(
    suffix: str, tmp_path: Path
) -> None:
    rows = [b'{"instruction": "a", "output": "b"}', b'{"instruction": "a", "output": "' + RAW + b'"}'] * 2
    path = tmp_path / f"rows.{suffix}"
    lines = {"jsonl": b"\n".join(rows), "json": b"[" + b",\n".join(rows) + b"]"}
    path.write_bytes(lines.get(suffix, b"instruction,output\na,b\na," + RAW + b"\nc,d\ne," + RAW + b"\n"))
    found = list(read_rows(str(path)))
    assert [row.columns is not None for row in found] == [True, False, True, False]
    assert found[1].location == f"{path.name}:{3 if suffix == 'csv' else 2}" and "not UTF-8" in found[1].problem


def test_a_file_in_another_encoding_is_one_error(tmp_path: Path) -> None:
    for name, text in (("rows.csv", "指令,输出\n你好,好\n"), ("rows.txt", "你好")):
        (tmp_path / name).write_bytes(text.encode("gbk"))
        with pytest.raises(TrainingError, match=r"is not UTF-8 \(line 1\): convert it"):
            list(read_rows(str(tmp_path / name)))


def test_bytes_of_an_evaluation_are_reported_by_their_line(tmp_path: Path) -> None:
    rows, notes = tmp_path / "rows.jsonl", list[str]()
    rows.write_bytes(b'{"question": "a"}\n{"question": "' + RAW + b'"}\n{"question": "b"}\n')
    with pytest.raises(SourceError, match="line 2 has half of a character .* or bytes that are not UTF-8"):
        list(read_jsonl(rows))
    assert [row["question"] for _, row in numbered_rows(rows, notes.append)] == ["a", "b"]
    assert "line 2 is left out" in notes[0]
    for part in ("dev", "test"):
        (tmp_path / part).mkdir()
        (tmp_path / part / f"law_{part}.csv").write_bytes(b"Q,a,b,c,d,A\n" * 5 + RAW + b",a,b,c,d,A\n")
    with pytest.raises(SourceError, match=r"law_(dev|test).csv: line 6 has bytes that are not UTF-8"):
        load_task("mmlu", str(tmp_path))


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
