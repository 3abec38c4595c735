"""``egosrag doctor``: what is installed, which models are here and fit, and which servers run on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from egosrag.cli import doctor
from egosrag.models.catalogue import Entry, entries, entry, models_dir
from tests.conftest import Run


def found(run: Run) -> dict[str, dict[str, Any]]:
    (rows,) = run("doctor", "--json").rows
    return {row["what"]: row for row in rows}


def put(entry: Entry) -> None:
    """A model's files, sparse."""
    for file in entry.files:
        path = models_dir() / entry.name / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as out:
            out.truncate(file.size)


def test_everything_that_the_core_needs_is_here(run: Run) -> None:
    assert run("doctor").code == 0
    rows = found(run)
    assert rows["model pocket"]["state"] == "ok"
    assert all(row["state"] != "missing" for row in rows.values())


def test_it_names_the_models_that_were_fetched(run: Run) -> None:
    assert (found(run)["models fetched"]["detail"], found(run)["models fetched"]["mend"]) == ("none", "egosrag models")
    put(entry("qwen2.5-0.5b"))
    assert found(run)["models fetched"]["detail"] == "qwen2.5-0.5b"


def test_a_selected_model_that_is_not_here_is_missing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EGOSRAG_MODEL", "qwen2.5-1.5b")
    assert run("doctor").code == 1
    row = found(run)["selected model"]
    assert (row["state"], row["mend"]) == ("missing", "egosrag models get qwen2.5-1.5b")
    put(entry("qwen2.5-1.5b"))
    assert found(run)["selected model"]["detail"] == "qwen2.5-1.5b"


@pytest.mark.parametrize(
    ("info", "capabilities", "lacking"),
    [
        ("CPU : SSE3 = 1 | AVX2 = 1 | REPACK = 1 | ", {"avx2": True, "avx512_f": True, "avx512_vnni": True}, "AVX512"),
        ("CPU : AVX2 = 1 | AVX512 = 1 | AVX512_VNNI = 1 | ", {"avx512_f": True, "avx512_vnni": True}, ""),
        ("CPU : AVX2 = 1 | AVX512 = 0 | ", {"avx2": True, "avx512_f": False}, ""),
    ],
)
def test_it_says_whether_llama_cpp_was_built_for_the_processor(
    run: Run, info: str, capabilities: dict[str, bool], lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    xllamacpp = pytest.importorskip("xllamacpp", reason="llama.cpp is in the extra gguf")
    monkeypatch.setattr(xllamacpp, "get_system_info", lambda: info)
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: capabilities)
    row = found(run)["llama.cpp"]
    assert row["state"] == ("note" if lacking else "ok") and lacking in row["detail"]
    assert ("--no-binary xllamacpp" in row["mend"]) == bool(lacking)


@pytest.mark.parametrize(
    ("gigabytes", "expected"),
    [(0.1, "only pocket"), (1.0, "qwen2.5-0.5b, qwen2.5-coder-0.5b, smollm2-135m"), (64.0, "all models of")],
)
def test_it_says_what_the_free_memory_has_space_for(
    gigabytes: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = SimpleNamespace(total=64_000_000_000, available=int(gigabytes * 1e9))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    assert f"{gigabytes:.1f} of 64.0 GB free, for {expected}" in doctor._memory().detail


def test_a_model_needs_more_memory_than_its_files() -> None:
    assert all(entry.memory > entry.size for entry in entries().values())


# --- servers ----------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[tuple[int, list[bytes]]]:
    """A server on loopback: its port, and the bodies of its answers to come."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/v1/models"
            body = bodies.pop(0)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield running.server_port, bodies
        running.shutdown()


def models(*names: object) -> bytes:
    return json.dumps({"object": "list", "data": [{"id": name} for name in names]}).encode()


def test_a_running_server_comes_with_the_line_that_uses_it(server: tuple[int, list[bytes]]) -> None:
    port, bodies = server
    bodies += [models("qwen2.5:1.5b", "gemma3"), models("/m/a b.gguf")]
    (ollama,) = doctor._servers({"Ollama": port})
    assert ollama.detail == f"http://127.0.0.1:{port}/v1: qwen2.5:1.5b, gemma3"
    base = f"OPENAI_BASE_URL=http://127.0.0.1:{port}/v1 egosrag chat --role edda --model"
    assert ollama.mend == f"{base} openai:qwen2.5:1.5b"
    (llama,) = doctor._servers({"llama-server": port})
    assert llama.mend == f"{base} 'openai:/m/a b.gguf' --set prefix_style=vllm"


def test_a_server_without_a_model_says_so(server: tuple[int, list[bytes]]) -> None:
    port, bodies = server
    bodies.append(models())
    (studio,) = doctor._servers({"LM Studio": port})
    assert (studio.detail, studio.mend) == (f"http://127.0.0.1:{port}/v1: no model", "load a model in LM Studio")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"data": null}', b'{"data": [{}]}', b"\xff"])
def test_another_program_at_that_port_is_left_out(server: tuple[int, list[bytes]], body: bytes) -> None:
    port, bodies = server
    bodies.append(body)
    (none,) = doctor._servers({"Ollama": port})
    assert none.detail == f"none on this machine: Ollama ({port})"


def test_a_name_cannot_move_the_cursor_or_end_the_command(server: tuple[int, list[bytes]]) -> None:
    port, bodies = server
    bodies.append(models("\x1b[2J", 7, "a'; rm -r x"))
    (ollama,) = doctor._servers({"Ollama": port})
    assert "\x1b" not in ollama.detail
    assert ollama.mend.endswith("""--model 'openai:a'"'"'; rm -r x'""")


def test_nobody_there_is_one_row(unused_port: int) -> None:
    assert [row.what for row in doctor._servers({"Ollama": unused_port, "LM Studio": unused_port})] == ["model servers"]


@pytest.fixture
def unused_port() -> int:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        return server.server_port
