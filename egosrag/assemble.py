"""Settings to objects: the only wiring, used by the command line, the pages and the evaluations."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egosrag.console import Reporter
from egosrag.errors import RoleError, SourceError, StoreError
from egosrag.settings import Settings

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from egosrag.egos.pipeline import Conversation
    from egosrag.rag.engine import ManualEngine
    from egosrag.rag.index import ManualIndex
    from egosrag.schema import Role

def chat_model(settings: Settings) -> BaseChatModel:
    """The chat model that the settings name.

    Raises:
        ModelError: it cannot be found or loaded.
    """
    from egosrag.models import load_chat_model

    return load_chat_model(
        settings.model,
        adapter=settings.adapter,
        template=settings.template,
        dtype=settings.dtype,
        device=settings.device,
        context_window=settings.context_window,
        temperature=settings.temperature,
        top_p=settings.top_p,
        max_new_tokens=settings.max_new_tokens,
        seed=settings.seed,
    )


def build_index(settings: Settings, paths: Sequence[str | Path], out: str, progress: Reporter) -> ManualIndex:
    """Index documents into the folder ``out``; what is there already and has not changed is not read again.

    Raises:
        SourceError, ModelError, StoreError: see ``ManualIndex.build``.
    """
    from egosrag.rag.index import ManualIndex

    if "://" in out:
        raise StoreError(f"an index is a folder, and {out} is an address: give --out a path")
    index = ManualIndex.build(paths, out, **_indexing(settings), progress=progress, on_skip=progress.note)
    progress.note(f"{len(index.passages)} passages of {len(index.pages)} pages in {out}")
    return index


def _indexing(settings: Settings) -> dict[str, Any]:
    return {"embedder": settings.embedder, "window": settings.window, "overlap": settings.overlap}


def manual(
    settings: Settings,
    documents: Sequence[str | Path] = (),
    index: str | Path | None = None,
    progress: Reporter | None = None,
    model: BaseChatModel | None = None,
) -> ManualEngine:
    """What answers questions from documents, or from the folder of an index.

    Documents are indexed in the cache folder; the same documents with the same settings are indexed once.

    Args:
        settings: what was chosen.
        documents: files and folders to answer from.
        index: the folder of an index, in their place.
        progress: is told how far the indexing is.
        model: the model where it is loaded already; else the settings' one is.

    Raises:
        SourceError, ModelError, StoreError: a document, the model or the index cannot be used.
    """
    from egosrag.rag.engine import ManualEngine
    from egosrag.rag.index import ManualIndex

    tell = _Heard(progress or Reporter())
    if index is not None:
        found = ManualIndex.load(index, settings.embedder)
    else:
        found = ManualIndex.cached(
            documents, settings.cache_dir, **_indexing(settings), progress=tell, on_skip=tell.note
        )
        if not tell.heard:
            tell.note(f"uses the index of an earlier call, in {settings.cache_dir}")
    return ManualEngine(found, model or chat_model(settings), top_k=settings.top_k)


class _Heard(Reporter):
    """Passes on what it hears and remembers that there was something."""

    def __init__(self, to: Reporter) -> None:
        self.heard = False
        self.note = to.note  # type: ignore[method-assign]
        self._to = to

    def __call__(self, what: str, done: int, total: int) -> None:
        self.heard = True
        self._to(what, done, total)


def sample(name: str) -> Path:
    """The path of a sample that comes with the package (egosrag/data/README.md lists them).

    Raises:
        SourceError: there is no sample of that name.
    """
    path = Path(str(files("egosrag"))) / "data" / "samples" / name
    if not path.is_file():
        raise SourceError(f"there is no sample {name}: see egosrag/data/README.md for those there are")
    return path


def extract_role(
    settings: Settings, paths: Sequence[str | Path], name: str, out: str | Path, progress: Reporter
) -> Role:
    """Extract the card of ``name`` from texts and write it to ``out``, whole or not at all.

    Raises:
        SourceError, ModelError, RoleError: a text, the model or ``out`` cannot be used.
    """
    from egosrag.egos.extract import Extract
    from egosrag.egos.roles import save_role
    from egosrag.rag.documents import find_files, read_text

    _writable(Path(out))
    sources = [(source, read_text(path)) for source, path in find_files(paths).items()]
    # What each piece gave is kept in the cache until the card is done: the same call goes on where it was stopped.
    kept = settings.cache_dir / "extract" / (sha256(str(Path(out).resolve()).encode()).hexdigest()[:24] + ".jsonl")
    kept.parent.mkdir(parents=True, exist_ok=True)
    role = Extract(chat_model(settings), progress=progress, progress_file=kept).invoke((sources, name))
    save_role(role, out)
    return role


def _writable(file: Path) -> None:
    """Find out that ``file`` cannot be written before the hours of work that would be lost, not after."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RoleError(f"{file.parent} cannot be made ({error.strerror}): give --out another path") from error
    if file.is_dir() or not os.access(file.parent, os.W_OK):
        raise RoleError(f"{file} cannot be written: give --out the path of a file in a folder that you may write")


@contextmanager
def conversation(
    settings: Settings, role: str | Path, session: str | None = None, model: BaseChatModel | None = None
) -> Iterator[Conversation]:
    """The session of that name with the role of that file, while its store is open; a new one without a name.

    Args:
        settings: what was chosen.
        role: the file of the card.
        session: the name of the session.
        model: the model where it is loaded already; else the settings' one is.

    Raises:
        RoleError, ModelError, SessionError: the card, the model or the store cannot be used.
    """
    from egosrag.egos.pipeline import Conversation
    from egosrag.egos.roles import load_role
    from egosrag.egos.store import open_store

    card = load_role(role)
    model = model or chat_model(settings)
    with open_store(settings.sessions) as store:
        yield Conversation(
            model,
            card,
            checkpointer=store,
            session=session if session is not None else uuid.uuid4().hex[:8],
            history=settings.history,
            quote=settings.quote,
            keep_turns=settings.keep_turns,
            window=settings.prompt_tokens,
        )
