"""A synthetic index of any size, without reading or embedding anything: random vectors, and words by Zipf's law.

Only the passages' text is missing. Its vectors are not similar to each other, which is the hardest case for an
approximate search.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egosrag.rag.index.bm25 import Bm25
from egosrag.rag.index.fields import LEXICAL
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.index.storage import IndexData, Manifest
from egosrag.rag.index.vectors import Embedder
from egosrag.schema import Page, Passage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

PASSAGES, SENTENCES = 3, 15  # per page
_WORDS = {"windows": 110, "pages": 250, "titles": 5, "sentences": 17}  # mean words of a text
_VOCABULARY = 5000


def random_question(rng: random.Random) -> str:
    """Ten words, with the frequencies of the passages."""
    return " ".join(f"w{rank}" for rank in rng.choices(range(_VOCABULARY), _zipf().tolist(), k=10))


def _zipf() -> Floats:
    import numpy as np

    weights = 1 / (np.arange(_VOCABULARY) + 2.7)
    shares: Floats = weights / weights.sum()
    return shares


def synthetic_index(passages: int, embedder: Embedder, width: int) -> ManualIndex:
    """An index with a number of passages.

    Args:
        passages: At least ``PASSAGES``.
        embedder: Embeds the questions.
        width: Dimension of its vectors.
    """
    import numpy as np

    rng = np.random.default_rng(0)
    pages = passages // PASSAGES
    text = "sentence. " * SENTENCES
    page_rows = [
        Page.model_construct(source="synthetic", page=n, text=text, section="", headings=()) for n in range(pages)
    ]
    parts = [
        Passage.model_construct(
            id=f"synthetic#{n}",
            source="synthetic",
            page=min(n // PASSAGES, pages - 1),
            start=0,
            end=0,
            text="",
            section="",
        )
        for n in range(passages)
    ]
    texts = {"windows": passages, "pages": pages, "titles": pages, "sentences": pages * SENTENCES}
    # English words are the same for both analyzers, so that both share one set of counts.
    postings = {name: _postings(rng, texts[name], _WORDS[name]) for name in texts}
    lexical = {name: _bm25(analyzer, *postings[name.split("-")[0]]) for name, analyzer in LEXICAL.items()}
    vectors = rng.standard_normal((passages, width), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    data = IndexData.in_memory(page_rows, parts, lexical, vectors)
    return ManualIndex(Manifest(embedder=embedder.card(width)), data, embedder)


def _postings(rng: np.random.Generator, texts: int, words: int) -> tuple[dict[str, Any], dict[str, int]]:
    """BM25 scores of every word in the texts that contain it, in the format of bm25s, and the vocabulary."""
    import numpy as np

    document_share = 1 - np.exp(-words * _zipf())
    rows, ends = [], [0]
    for share in document_share:
        gaps = rng.geometric(share, size=int(texts * share + 4 * (texts * share) ** 0.5 + 4))
        ids = np.cumsum(gaps) - 1
        rows.append(ids[ids < texts].astype(np.int32))
        ends.append(ends[-1] + len(rows[-1]))
    weights = np.repeat(np.log1p((1 - document_share) / document_share).astype(np.float32), np.diff(ends))
    weights *= rng.uniform(0.5, 1.5, len(weights)).astype(np.float32)
    scores = {"data": weights, "indices": np.concatenate(rows), "indptr": np.array(ends), "num_docs": texts}
    return scores, {f"w{rank}": rank for rank in range(_VOCABULARY)}


def _bm25(analyzer: str, scores: dict[str, Any], words: dict[str, int]) -> Bm25:
    import bm25s

    engine = bm25s.BM25(k1=1.5, b=0.75)
    engine.scores, engine.vocab_dict, engine.nonoccurrence_array = scores, words, None
    return Bm25(analyzer, engine)


def resident_memory() -> float:
    """Resident memory of this process, in GiB."""
    line = next(ln for ln in Path("/proc/self/status").read_text(encoding="utf-8").splitlines() if "VmRSS" in ln)
    return int(line.split()[1]) / 2**20
