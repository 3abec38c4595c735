"""Indexes of documents, and what answers questions from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egosrag.assemble.models import chat_model
from egosrag.console import Reporter
from egosrag.parallel import Backend, executor_for
from egosrag.postgres import redact_url
from egosrag.settings import Settings

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from egosrag.rag.answer.engine import ManualEngine
    from egosrag.rag.index.manual_index import ManualIndex


def build_index(
    settings: Settings, paths: Sequence[str | Path], out: str, progress: Reporter, engine: Backend = "here"
) -> ManualIndex:
    """Index documents into ``out``, a folder or ``postgresql://...``; what has not changed is not read again.

    A build that is killed goes on where it was: what it has read and embedded lies in the cache folder until its end.

    Raises:
        SourceError, ModelError, StoreError: see ``ManualIndex.build``.
    """
    from egosrag.rag.index.bulk import Bulk
    from egosrag.rag.index.manual_index import ManualIndex

    bulk = Bulk(executor_for(engine), settings.cache_dir / "shards")
    index = ManualIndex.build(paths, out, **indexing(settings), progress=progress, on_skip=progress.note, bulk=bulk)
    progress.note(f"{len(index.passages)} passages of {len(index.pages)} pages in {redact_url(out)}")
    return index


def indexing(settings: Settings) -> dict[str, Any]:
    """How documents are indexed, as ``ManualIndex.build`` takes it."""
    return {"embedder": settings.embedder, "window": settings.window, "overlap": settings.overlap}


def manual_index(settings: Settings, documents: Sequence[str | Path], progress: Reporter | None = None) -> ManualIndex:
    """The index of documents, from the cache folder; it is built there on the first call.

    Raises:
        SourceError, ModelError, StoreError: a document or the cache cannot be used.
    """
    from egosrag.rag.index.manual_index import ManualIndex

    tell = _Heard(progress or Reporter())
    found = ManualIndex.cached(documents, settings.cache_dir, **indexing(settings), progress=tell, on_skip=tell.note)
    if not tell.heard:
        tell.note(f"uses the index of an earlier call, in {settings.cache_dir}")
    return found


def manual(
    settings: Settings,
    documents: Sequence[str | Path] = (),
    index: str | Path | ManualIndex | None = None,
    progress: Reporter | None = None,
    model: BaseChatModel | None = None,
) -> ManualEngine:
    """What answers questions from documents, or from the folder of an index.

    Documents are indexed in the cache folder; the same documents with the same settings are indexed once.

    Args:
        settings: what was chosen.
        documents: files and folders to answer from.
        index: the folder of an index, or one that is loaded already, in their place.
        progress: is told how far the indexing is.
        model: the model where it is loaded already; else the settings' one is.

    Raises:
        SourceError, ModelError, StoreError: a document, the model or the index cannot be used.
    """
    from egosrag.rag.answer.engine import ManualEngine
    from egosrag.rag.index.manual_index import ManualIndex
    from egosrag.rag.retrieval.reranking import Reranker

    if index is None:
        found = manual_index(settings, documents, progress)
    else:
        found = index if isinstance(index, ManualIndex) else ManualIndex.load(index, settings.embedder)
    return ManualEngine(
        found,
        model or chat_model(settings),
        top_k=settings.top_k,
        condense=settings.condense,
        decompose=settings.decompose,
        rewrites=settings.rewrites,
        unsupported=settings.unsupported,
        answers=settings.answers,
        reranker=Reranker(settings.reranker) if settings.reranker else None,
    )


def is_current(index: ManualIndex, place: str) -> bool:
    """Whether an index that was opened at ``place``, a folder or ``postgresql://...``, is still the one there.

    Raises:
        StoreError: there is none any more, or the database does not answer.
    """
    from egosrag.rag.index import storage as store

    if store.in_database(place):
        from egosrag.rag.index.postgres import PostgresIndex

        return isinstance(index, PostgresIndex) and index.is_current
    return store.read_manifest(Path(place)).generation == index.manifest.generation


class _Heard(Reporter):
    """Passes on what it hears and remembers that there was something."""

    def __init__(self, to: Reporter) -> None:
        self.heard = False
        self.note = to.note  # type: ignore[method-assign]
        self._to = to

    def __call__(self, what: str, done: int, total: int) -> None:
        self.heard = True
        self._to(what, done, total)
