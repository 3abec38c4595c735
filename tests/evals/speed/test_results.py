"""RESULTS.md can be measured again: its commands exist, and every section names its day and machine."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from evals.speed import chat, many, rag
from evals.speed.results import flatten
from tests.models.conftest import gguf_of

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "evals" / "speed" / "RESULTS.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"`(?:OMP_NUM_THREADS=\d+ )?python -m ([^`]+)`", PAGE)))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_exists_with_its_options(command: str) -> None:
    module, *words = command.split()
    assert find_spec(module), module
    source = Path(str(find_spec(module).origin)).read_text(encoding="utf-8")  # type: ignore[union-attr]
    for word in words:
        if word.startswith("--"):
            name = word[2:].split("=")[0].replace("-", "_")
            known = re.search(rf"\b{name}:|\"--{word[2:]}\"", source) or name in ("json", "keep")
            assert known, f"{module} has no {word}"


def test_every_section_names_its_day_and_machine() -> None:
    sections = PAGE.split("\n## ")[1:]
    assert len(sections) >= 5
    for section in sections:
        head = section.splitlines()[0]
        assert re.search(r"20\d\d-\d\d-\d\d", section), head
        assert re.search(r"python -m evals\.\w", section), head  # of a manual's question: evals.manual_peers
    assert "torch " in PAGE and "transformers " in PAGE


def test_nested_figures_have_the_names_of_all_levels() -> None:
    found = {"ours": {"a": 1}, "peers": {"P": {"a": 2}}, "ratio": 2.0}
    assert dict(flatten(found)) == {"ours a": 1, "peers P a": 2, "ratio": 2.0}


@pytest.mark.parametrize("single", [False, True])
def test_a_chat_is_compared_turn_by_turn(tiny_qwen: Path, single: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(chat.PEERS, "itself", lambda folder: chat.ours(folder)[0])
    found = chat.measure(str(tiny_qwen), turns=3, tokens=2, peers=["itself"], single=single, card_words=20)
    assert found["ours"]["same without the cache"] and found["peers"]["itself"]["same replies"] == 1.0
    assert found["ours"]["computed for each new token"] < (3 if single else 1.2) and found["ours"]["turns"] == 3
    assert set(found["ratio"]) == {"conversation", "first token"}


@pytest.mark.parametrize("peer", list(chat.GGUF_PEERS))
def test_a_gguf_file_is_compared_with_llama_cpps_own_server(tiny_qwen: Path, peer: str) -> None:
    pytest.importorskip("xllamacpp", reason="llama.cpp is in the extra gguf")
    found = chat.measure(str(gguf_of(tiny_qwen)), turns=3, tokens=2, peers=[peer], card_words=20)
    assert found["ours"]["turns"] == 3 and found["peers"][peer]["same replies"] == 1.0
    assert found["ours"]["computed for each new token"] < 1.2


def test_batched_replies_equal_the_replies_one_by_one(tiny_qwen: Path) -> None:
    found = many.measure(str(tiny_qwen), requests=3, tokens=3, prompt_words=4)
    assert found["ours"]["same replies"] == 1.0
    alone = found["peers"]["one after another"]["tokens_per_second"]
    assert found["ratio"] == pytest.approx(found["ours"]["tokens_per_second"] / alone)


def test_requests_to_a_gguf_file_run_at_once_in_its_slots(tiny_qwen: Path) -> None:
    pytest.importorskip("xllamacpp", reason="llama.cpp is in the extra gguf")
    found = many.measure(str(gguf_of(tiny_qwen)), requests=6, tokens=3, prompt_words=4)
    assert found["ours"]["same replies"] == 1.0 and found["ratio"] > 0


def test_prompt_lookup_changes_no_reply() -> None:
    found = rag.measure("pocket", 1, 8)
    assert {kind: side["same"] for kind, side in found["ours"].items()} == {"copying": 1.0, "talking": 1.0}
    assert set(found["ratio"]) == {"copying", "talking"}


def test_a_checkpoint_is_written_as_gguf(tiny_qwen: Path, tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf", reason="llama.cpp is in the extra gguf")
    from safetensors.numpy import load_file

    from evals.speed.llama_cpp import to_gguf

    reader = gguf.GGUFReader(to_gguf(tiny_qwen, tmp_path / "tiny.gguf", "F32"))
    stored = {tensor.name: tensor.data for tensor in reader.tensors}
    weights = load_file(tiny_qwen / "model.safetensors")
    assert len(stored) == len(weights)
    assert (stored["token_embd.weight"] == weights["model.embed_tokens.weight"]).all()
    assert (stored["blk.0.attn_q.bias"] == weights["model.layers.0.self_attn.q_proj.bias"]).all()
