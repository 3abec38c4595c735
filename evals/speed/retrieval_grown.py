"""An index as large as wished, without reading or embedding anything: random vectors, and words by Zipf's law.

Only its passages' text is missing. Its vectors have no likeness among them, which is the hardest case for a search
that does not compare with all of them.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egosrag.rag.index.bm25 import Bm25
from egosrag.rag.index.manual_index import LEXICAL, ManualIndex
from egosrag.rag.index.storage import Data, EmbedderCard, Manifest
from egosrag.rag.index.vectors import Embedder
from egosrag.schema import Page, Passage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

PASSAGES, SENTENCES = 3, 15  # of a page
_WORDS = {"windows": 110, "pages": 250, "titles": 5, "sentences": 17}  # of a text, on average
_VOCABULARY = 5000


def question(draw: random.Random) -> str:
    """Ten words, each as likely as it is in the passages."""
    return " ".join(f"w{rank}" for rank in draw.choices(range(_VOCABULARY), _zipf().tolist(), k=10))


def _zipf() -> Floats:
    import numpy as np

    weights = 1 / (np.arange(_VOCABULARY) + 2.7)
    shares: Floats = weights / weights.sum()
    return shares


def grown(passages: int, embedder: Embedder, width: int) -> ManualIndex:
    """An index of that many passages.

    Args:
        passages: at least ``PASSAGES``.
        embedder: of the questions.
        width: of its vectors.
    """
    import numpy as np

    draw = np.random.default_rng(0)
    pages = passages // PASSAGES
    text = "sentence. " * SENTENCES
    sheets = [Page.model_construct(source="grown", page=n, text=text, section="", headings=()) for n in range(pages)]
    parts = [
        Passage.model_construct(
            id=f"grown#{n}", source="grown", page=min(n // PASSAGES, pages - 1), start=0, end=0, text="", section=""
        )
        for n in range(passages)
    ]
    texts = {"windows": passages, "pages": pages, "titles": pages, "sentences": pages * SENTENCES}
    # English words are the same for both analyzers, so one set of counts stands for both.
    made = {name: _postings(draw, texts[name], _WORDS[name]) for name in texts}
    lexical = {name: _bm25(analyzer, *made[name.split("-")[0]]) for name, analyzer in LEXICAL.items()}
    vectors = draw.standard_normal((passages, width), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    data = Data.model_construct(pages=sheets, passages=parts, lexical=lexical, vectors=vectors)
    card = EmbedderCard(name=embedder.name, dimension=width, prompt=embedder.prompt)
    return ManualIndex(Manifest(embedder=card), data, embedder)


def _postings(draw: np.random.Generator, texts: int, words: int) -> tuple[dict[str, Any], dict[str, int]]:
    """BM25 scores of every word in the texts that have it, as bm25s keeps them, and the words."""
    import numpy as np

    having = 1 - np.exp(-words * _zipf())
    rows, ends = [], [0]
    for share in having:
        gaps = draw.geometric(share, size=int(texts * share + 4 * (texts * share) ** 0.5 + 4))
        found = np.cumsum(gaps) - 1
        rows.append(found[found < texts].astype(np.int32))
        ends.append(ends[-1] + len(rows[-1]))
    weights = np.repeat(np.log1p((1 - having) / having).astype(np.float32), np.diff(ends))
    weights *= draw.uniform(0.5, 1.5, len(weights)).astype(np.float32)
    scores = {"data": weights, "indices": np.concatenate(rows), "indptr": np.array(ends), "num_docs": texts}
    return scores, {f"w{rank}": rank for rank in range(_VOCABULARY)}


def _bm25(analyzer: str, scores: dict[str, Any], words: dict[str, int]) -> Bm25:
    import bm25s

    engine = bm25s.BM25(k1=1.5, b=0.75)
    engine.scores, engine.vocab_dict, engine.nonoccurrence_array = scores, words, None
    return Bm25(analyzer, engine)


def resident() -> float:
    """Memory of this process, in GiB."""
    line = next(ln for ln in Path("/proc/self/status").read_text(encoding="utf-8").splitlines() if "VmRSS" in ln)
    return int(line.split()[1]) / 2**20
