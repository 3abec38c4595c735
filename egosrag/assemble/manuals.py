"""Indexes of documents, and engines that answer questions from them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from egosrag.assemble.models import chat_model, stated_traits
from egosrag.console import Reporter
from egosrag.errors import StoreError
from egosrag.parallel import Backend, executor_for
from egosrag.postgres import redact_url
from egosrag.settings import Settings

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from egosrag.rag.answer.engine import ManualEngine
    from egosrag.rag.index.manual_index import ManualIndex
    from egosrag.rag.retrieval.reranking import Reranks

_log = logging.getLogger(__name__)


def build_index(
    settings: Settings, paths: Sequence[str | Path], out: str, progress: Reporter, engine: Backend = "here"
) -> ManualIndex:
    """Index documents into ``out``, a folder or ``postgresql://...``; unchanged documents are not read again.

    An interrupted build continues where it was: the results of its shards are kept in the cache folder until its end.

    Raises:
        SourceError, ModelError, StoreError: see ``ManualIndex.build``.
    """
    from egosrag.rag.index.bulk import ShardedBuild
    from egosrag.rag.index.manual_index import ManualIndex

    index = ManualIndex.build(
        paths,
        out,
        settings.embedder,
        progress,
        window=settings.window,
        overlap=settings.overlap,
        on_skip=progress.note,
        sharding=ShardedBuild(executor_for(engine), settings.cache_dir / "shards"),
    )
    progress.note(f"{len(index.passages)} passages of {len(index.pages)} pages in {redact_url(out)}")
    return index


def manual_index(settings: Settings, documents: Sequence[str | Path], progress: Reporter | None = None) -> ManualIndex:
    """The index of documents from the cache folder; it is built there on the first call.

    Raises:
        SourceError, ModelError, StoreError: a document or the cache cannot be used.
    """
    from egosrag.rag.index.manual_index import ManualIndex

    reporter = _RecordingReporter(progress or Reporter())
    index = ManualIndex.cached(
        documents,
        settings.cache_dir,
        settings.embedder,
        reporter,
        window=settings.window,
        overlap=settings.overlap,
        on_skip=reporter.note,
    )
    if not reporter.was_called:
        reporter.note(f"uses the index of an earlier call, in {settings.cache_dir}")
    return index


def manual(
    settings: Settings,
    documents: Sequence[str | Path] = (),
    index: str | Path | ManualIndex | None = None,
    progress: Reporter | None = None,
    model: BaseChatModel | None = None,
    *,
    follow_ups: bool = True,
) -> ManualEngine:
    """The engine that answers questions from documents, or from an existing index.

    Documents are indexed in the cache folder; the same documents with the same settings are indexed once.

    Args:
        settings: the settings.
        documents: files and folders to answer from.
        index: a loaded index, or the folder or address of one, instead of documents.
        progress: reports the progress of indexing.
        model: a loaded model; None: the model of the settings.
        follow_ups: whether questions may refer to earlier ones. Without them a model that only quotes is not loaded.

    Raises:
        SourceError, ModelError, StoreError: a document, the model or the index cannot be used.
    """
    from egosrag.rag.answer.engine import ManualEngine
    from egosrag.rag.index.manual_index import ManualIndex
    from egosrag.rag.retrieval.reranking import LikelihoodReranker, Reranker

    if index is None:
        index = manual_index(settings, documents, progress)
    elif not isinstance(index, ManualIndex):
        index = ManualIndex.load(index, settings.embedder)
    if model is None and (follow_ups or not _only_quotes(settings)):
        model = chat_model(settings)
    reranker: Reranks | None = None
    if settings.reranker == "model" and model:
        reranker = LikelihoodReranker(model)
    elif settings.reranker:
        reranker = Reranker(settings.reranker)
    return ManualEngine(
        index,
        model,
        top_k=settings.top_k,
        condense=settings.condense,
        decompose=settings.decompose,
        rewrites=settings.rewrites,
        unsupported=settings.unsupported,
        answers=settings.answers,
        reranker=reranker,
    )


def _only_quotes(settings: Settings) -> bool:
    """Whether the model of the settings is never called for a single question."""
    asks = settings.decompose or settings.rewrites or settings.reranker == "model" or settings.answers == "model"
    if asks or settings.adapter:
        return False
    return settings.answers == "quote" or stated_traits(settings).extractive_only


class CurrentManual:
    """The engine of a stored index for as long as a server runs: a rebuilt index is reopened at the next question.

    Questions that come in meanwhile are answered from the old one.

    Args:
        settings: the settings.
        index: the folder or the address of the index.
        model: a loaded model.

    Raises:
        ModelError, StoreError: the index cannot be used.
    """

    def __init__(self, settings: Settings, index: str, model: BaseChatModel) -> None:
        self._open: Callable[[], ManualEngine] = lambda: manual(settings, index=index, model=model)
        self._index = index
        self._engine = self._open()
        self._reopening = threading.Lock()

    @property
    def engine(self) -> ManualEngine:
        """The engine of the index as it is now."""
        if self._reopening.acquire(blocking=False):
            try:
                if not self._engine.index.is_current(self._index):
                    self._engine = self._open()
            except StoreError as error:  # a build that is not finished, or no database: the next question tries again
                _log.warning("%s", error)
            finally:
                self._reopening.release()
        return self._engine


class _RecordingReporter(Reporter):
    """Passes progress on, and records whether there was any."""

    def __init__(self, to: Reporter) -> None:
        self.was_called = False
        self.note = to.note  # type: ignore[method-assign]
        self._to = to

    def __call__(self, what: str, done: int, total: int) -> None:
        self.was_called = True
        self._to(what, done, total)
