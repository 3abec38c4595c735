"""Ratings: one JSONL row each, never an incomplete one, and sent to LangSmith where a key is set."""

from __future__ import annotations

import json
import os
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest

from egosrag.errors import StoreError
from egosrag.host import feedback
from egosrag.host.visitors import new_token, visitor_of


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_a_rating_is_a_row_without_the_visitors_token(tmp_path: Path) -> None:
    token = new_token()
    visitor = visitor_of(token, tmp_path)
    assert feedback.rate(tmp_path, visitor, {"question": "机油？", "answer": "SAE\n30"}, 1.0, "gut") is None
    (row,) = rows(tmp_path / "feedback.jsonl")
    assert (row["question"], row["answer"], row["score"], row["comment"]) == ("机油？", "SAE\n30", 1.0, "gut")
    assert row["visitor"] == visitor.key
    assert token not in (tmp_path / "feedback.jsonl").read_text(encoding="utf-8")


def test_concurrent_rows_are_all_complete(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "feedback.jsonl"
    threads = [
        threading.Thread(target=lambda n=n: [feedback.append_row(file, {"n": n, "text": "x" * 9000}) for _ in range(5)])
        for n in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(row["n"] for row in rows(file)) == sorted(list(range(6)) * 5)


def test_a_row_after_an_incomplete_one_begins_on_a_new_line(tmp_path: Path) -> None:
    file = tmp_path / "feedback.jsonl"
    file.write_text('{"n": 1}\n{"n": 2, "te', encoding="utf-8")
    feedback.append_row(file, {"n": 3})
    first, incomplete, last = file.read_text(encoding="utf-8").splitlines()
    assert json.loads(first)["n"] == 1
    assert incomplete == '{"n": 2, "te'
    assert json.loads(last)["n"] == 3


def test_a_full_disk_leaves_the_earlier_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "feedback.jsonl"
    feedback.append_row(file, {"n": 1})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        feedback.append_row(file, {"n": 2})
    monkeypatch.undo()
    assert rows(file) == [{"n": 1}]


def test_langsmith_gets_the_rating_of_a_traced_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.evals.langsmith_fake import FakeLangSmith

    fake = FakeLangSmith()
    monkeypatch.setenv("LANGSMITH_ENDPOINT", fake.url)
    monkeypatch.setenv("LANGSMITH_API_KEY", "key")
    monkeypatch.setenv("LANGSMITH_PROJECT", "pages")
    project = {"id": str(uuid.UUID(int=5)), "name": "pages", "tenant_id": str(uuid.UUID(int=1))}
    fake.sessions[project["id"]] = project | {"start_time": "2026-01-01T00:00:00Z", "reference_dataset_id": None}
    visitor = visitor_of(new_token(), tmp_path)
    run_id = "6f0f7e5c-6a0d-4a3b-9c27-3b1f0a7f2d11"
    try:
        sent = feedback.rate(tmp_path, visitor, {}, 0.0, "wrong page", run_id)
        assert sent is not None
        sent.result(timeout=20)
    finally:
        fake.close()
    (score,) = fake.feedback
    assert (score["run_id"], score["key"], score["score"], score["comment"]) == (run_id, "thumb", 0.0, "wrong page")
    assert score["session_id"] == project["id"]
    assert rows(tmp_path / "feedback.jsonl")[0]["score"] == 0.0


def test_without_a_key_nothing_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LANGSMITH_API_KEY", raising=False)
    assert feedback.rate(tmp_path, visitor_of(new_token(), tmp_path), {}, 1.0, run="r") is None
