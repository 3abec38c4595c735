"""KV caches of prompts on disk: a new process goes on with what an earlier one has read."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from egosrag.caller import Caller, calling
from egosrag.models import load_chat_model
from egosrag.models.runtime import gguf_loading
from egosrag.models.runtime.prompt_files import MIN_TOKENS, PromptFiles, SavedPrompts, clear
from tests.models.conftest import gguf_of

CLI = "import sys; from egosrag.cli.main import main; sys.exit(main())"
Chat = Callable[..., dict[str, Any]]


@pytest.fixture
def files(tmp_path: Path) -> PromptFiles:
    return PromptFiles(SavedPrompts(tmp_path / "prompts", 1), "a model")


def saved(files: PromptFiles, ids: list[int], *, size: int = 0) -> Path:
    """A file as llama.cpp saves it, kept."""
    path = files.slot(0)
    numbers = array("i", [-1, 1, len(ids), *ids])
    path.write_bytes(struct.pack("<4sII", b"qsgg", 4, len(numbers)) + numbers.tobytes() + bytes(size))
    files.keep(path)
    return path


def kept(files: PromptFiles) -> list[Path]:
    return sorted(files.folder.iterdir())


def test_the_longest_common_beginning_is_found(files: PromptFiles) -> None:
    saved(files, [*range(100), *range(500, 700)])
    saved(files, [*range(200), *range(700, 900)])
    assert len(kept(files)) == 2
    best = files.best_for([*range(150), 7])
    assert best is not None and best.read_bytes()[24:].startswith(array("i", range(200)).tobytes())
    assert files.best_for([*range(MIN_TOKENS - 1), 9_999]) is None, "too short to be worth it"
    assert PromptFiles(SavedPrompts(files.folder.parent, 1), "another model").best_for([*range(150)]) is None
    assert files.folder.parent.stat().st_mode & 0o077 == 0


def test_a_conversation_has_one_file(files: PromptFiles) -> None:
    saved(files, [*range(200)])
    saved(files, [*range(300)])
    saved(files, [*range(250)])
    assert len(kept(files)) == 1
    assert files.best_for([*range(400)]) is not None
    saved(files, [1, 2, 3])
    assert len(kept(files)) == 1, "a few tokens are not kept"


def test_the_least_recently_used_is_dropped(files: PromptFiles) -> None:
    for number in range(5):
        saved(files, [number, *range(1000, 1200)], size=300_000)
        for age, path in enumerate(reversed(kept(files))):
            os.utime(path, (age, age))
    assert len(kept(files)) == 3
    clear(files.folder.parent)
    assert not files.folder.exists()


def test_what_a_killed_process_was_saving_is_removed(files: PromptFiles) -> None:
    old, new = files.folder / "1-0.saving", files.folder / "2-0.saving"
    for path in (old, new):
        path.write_bytes(b"qsgg")
    os.utime(old, (1, 1))
    saved(files, [*range(400)])
    assert (old.exists(), new.exists()) == (False, True)


@pytest.mark.parametrize("content", [b"", b"qsgg", b"qsgg" + b"\xff" * 8, b"GGUF" + bytes(400)])
def test_other_files_are_passed_over(content: bytes, files: PromptFiles) -> None:
    (files.folder / "other.kv").write_bytes(content)
    assert files.best_for([*range(400)]) is None
    saved(files, [*range(400)])
    assert files.best_for([*range(400)]) is not None


@pytest.fixture
def chat(tiny_qwen: Path, tmp_path: Path) -> Chat:
    pytest.importorskip("xllamacpp", reason="llama.cpp is in the extra gguf")
    file = gguf_of(tiny_qwen)
    environment = {**os.environ, "EGOSRAG_CACHE_DIR": str(tmp_path / "cache"), "EGOSRAG_DATA_DIR": str(tmp_path)}

    def run(line: str, *options: str) -> dict[str, Any]:
        settings = ["--set", "temperature=0", "--set", "max_new_tokens=8", *options]
        command = [sys.executable, "-c", CLI, "chat", "--role", "edda", "--model", str(file), "--json", *settings]
        done = subprocess.run(command, input=line, capture_output=True, text=True, env=environment, timeout=120)
        assert done.returncode == 0, done.stderr
        reply: dict[str, Any] = json.loads(done.stdout)
        return reply

    return run


def test_a_new_process_does_not_read_a_prompt_again(chat: Chat, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "prompts"
    first = chat("Hello", "--session", "monday")
    assert first["usage"]["cached_tokens"] == 0 and len([*folder.glob("*/*.kv")]) == 1
    again = chat("Who are you?", "--session", "monday")
    assert again["usage"]["cached_tokens"] > 0.8 * first["usage"]["prompt_tokens"]
    other = chat("Hello", "--session", "tuesday")
    assert other["usage"]["cached_tokens"] > 0.9 * first["usage"]["prompt_tokens"], "the role's card is the same"
    assert other["text"] == first["text"] == chat("Hello", "--set", "prompt_cache_mb=0")["text"]


def test_a_damaged_file_costs_nothing_but_its_time(chat: Chat, tmp_path: Path) -> None:
    first = chat("Hello")
    (file,) = (tmp_path / "cache" / "prompts").glob("*/*.kv")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    again = chat("Hello")
    assert (again["text"], again["usage"]["cached_tokens"]) == (first["text"], 0)


def test_a_deleted_conversation_leaves_no_prompts(chat: Chat, tmp_path: Path) -> None:
    chat("Hello", "--session", "monday")
    assert (tmp_path / "cache" / "prompts").exists()
    environment = {**os.environ, "EGOSRAG_CACHE_DIR": str(tmp_path / "cache"), "EGOSRAG_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-c", CLI, "sessions", "delete", "monday"]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)
    assert not (tmp_path / "cache" / "prompts").exists()


def test_what_several_callers_share_is_not_saved(tiny_qwen: Path, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="llama.cpp is in the extra gguf")
    prompts = SavedPrompts(tmp_path / "prompts", 64)
    model = load_chat_model(str(gguf_of(tiny_qwen)), max_new_tokens=2, saved_prompts=prompts)
    long = [HumanMessage("Who are you? " * 40)]
    with calling(Caller(cache_key="a tenant")):
        model.invoke(long)
    gguf_loading.save_prompts()
    assert not [*prompts.folder.glob("*/*.kv")]
