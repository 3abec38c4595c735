"""Role cards out of texts, and conversations with their store, memory and sources."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egosrag.assemble.manuals import build_index, indexing
from egosrag.assemble.models import chat_model, extract_model
from egosrag.console import Reporter
from egosrag.errors import RoleError, SettingsError
from egosrag.settings import Settings

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from egosrag.rag.index.manual_index import ManualIndex
    from egosrag.rag.retrieval.turn_memory import TurnMemory
    from egosrag.schema import Evidence, Role, Turn
    from egosrag.sessions.conversation import Conversation


def extract_role(
    settings: Settings, paths: Sequence[str | Path], name: str, out: str | Path, progress: Reporter
) -> Role:
    """Extract the card of ``name`` from texts and write it to ``out``, whole or not at all.

    With the strategy "dynamic" the card is the name alone, and the texts are indexed into the folder beside ``out``
    that :func:`conversation` looks for.

    Raises:
        SourceError, ModelError, RoleError, StoreError: a text, the model or ``out`` cannot be used.
    """
    from egosrag.egos.extract.static import Extract
    from egosrag.roles.files import save_role

    _writable(Path(out))
    sources = _texts(paths)
    if settings.strategy == "none":
        raise SettingsError("the strategy none extracts nothing: name the texts to egosrag chat with --source")
    if settings.strategy == "dynamic":
        from egosrag.egos.extract.dynamic import bare

        role = bare(sources, name)
        build_index(settings, paths, str(_index_of(out)), progress)
    else:
        # What each piece gave is kept in the cache until the card is done: the same call goes on where it stopped.
        key = sha256(str(Path(out).resolve()).encode()).hexdigest()[:24]
        kept = settings.cache_dir / "extract" / f"{key}.jsonl"
        kept.parent.mkdir(parents=True, exist_ok=True)
        role = Extract(extract_model(settings), progress=progress, progress_file=kept).invoke((sources, name))
    save_role(role, out)
    return role


@contextmanager
def conversation(
    settings: Settings,
    role: str | Path | None = None,
    session: str | None = None,
    model: BaseChatModel | None = None,
    *,
    sources: Sequence[str | Path] = (),
    name: str | None = None,
    others: Sequence[str | Path] = (),
    persona: str | None = None,
    lore: Sequence[str | Path] = (),
    greeting: int = 0,
    earlier: Sequence[Turn] = (),
    progress: Reporter | None = None,
) -> Iterator[Conversation]:
    """The session of that name with a role, while its store is open; a new one without a name.

    Args:
        settings: what was chosen.
        role: the file of the card.
        session: the name of the session.
        model: the model where it is loaded already; else the settings' one is.
        sources: texts about the role, for the settings' strategy; the card may then be left out.
        name: the role's name in the sources, where there is no card.
        others: the files of further cards, for a scene of several roles, without sources.
        persona: who talks with the role, see :func:`egosrag.roles.files.load_persona`.
        lore: files of lorebooks, beside the card's own; in a scene of several roles the first one knows them.
        greeting: which greeting of the card begins: 0 the first, from 1 on the alternate ones.
        earlier: turns that were said elsewhere before, for a new session with one role.
        progress: is told how far Extract or the index is.

    Raises:
        RoleError, SourceError, ModelError, StoreError, SessionError, SettingsError: the card, a text, the model, the
            index or the store cannot be used, or they contradict each other.
    """
    from egosrag.roles.files import load_persona, load_role, with_greeting
    from egosrag.roles.lorebook import load_lorebook, with_lorebook
    from egosrag.sessions.archive import Archive
    from egosrag.sessions.catalog import restore
    from egosrag.sessions.conversation import Conversation
    from egosrag.sessions.group import GroupChat
    from egosrag.sessions.store import open_store

    session = session if session is not None else uuid.uuid4().hex[:8]
    model = model or chat_model(settings)
    card, parts = _played(settings, role, sources, name, model, progress or Reporter())
    if others and parts:
        raise SettingsError("a scene of several roles is played from their cards alone: leave the sources out")
    card = with_greeting(card, greeting)
    for file in lore:
        card = with_lorebook(card, load_lorebook(file))
    if progress:
        parts["notice"] = progress.note  # else what leaves the prompt goes to the log
    memory = turn_memory(settings) if settings.memory in ("dynamic", "both") else None
    with open_store(settings.session_store) as store:
        if earlier:
            restore(store, Archive(roles=(card,), turns=tuple(earlier)), session)
        yield (GroupChat if others else Conversation)(
            model,
            [card, *map(load_role, others)] if others else card,  # type: ignore[arg-type]
            checkpointer=store,
            session=session,
            persona=load_persona(persona) if persona is not None else None,
            history=settings.history,
            quote=settings.quote,
            keep_turns=settings.keep_turns,
            window=settings.prompt_tokens,
            memory=settings.memory,
            recall=memory,
            **parts,
        )


def _played(
    settings: Settings,
    file: str | Path | None,
    paths: Sequence[str | Path],
    name: str | None,
    model: BaseChatModel,
    progress: Reporter,
) -> tuple[Role, dict[str, Any]]:
    """Who is played, and what ``Conversation`` needs beside the card: a search, or texts and what reads them."""
    from egosrag.egos.extract.dynamic import bare
    from egosrag.egos.extract.static import Extract
    from egosrag.rag.index.manual_index import ManualIndex
    from egosrag.roles.files import load_role

    if (file is None) == (name is None):
        raise RoleError("who is it? give a role card, or the name that the sources use, one of the two")
    card = load_role(file) if file is not None else None
    index = None
    if not paths:
        if card is None or file is None:
            raise RoleError(f"nothing is known of {name}: give texts about the role as sources, or a role card")
        if settings.strategy == "dynamic" or (settings.strategy is None and _index_of(file).is_dir()):
            index = ManualIndex.load(_index_of(file), settings.embedder)
            return card, {"search": source_search(index, settings.top_k)}
        return card, {}
    strategy = settings.strategy or ("dynamic" if card else "static")
    if card and strategy == "static":
        raise SettingsError(f"{file} is a card already: leave the sources out, or search them (strategy dynamic)")
    texts = _texts(paths)
    role = card or bare(texts, str(name))
    if strategy == "dynamic":
        index = ManualIndex.cached(paths, settings.cache_dir, **indexing(settings), progress=progress)
        return role, {"search": source_search(index, settings.top_k)}
    if strategy == "none":
        return role, {"sources": texts}
    return role, {"sources": texts, "extract": Extract(extract_model(settings, model), progress=progress)}


def turn_memory(settings: Settings) -> TurnMemory:
    """A dynamic memory for one session: by words, and by meaning where an embedder is chosen.

    Raises:
        ModelError: the embedder cannot be loaded.
    """
    from egosrag.rag.index.vectors import load_embedder
    from egosrag.rag.retrieval.turn_memory import TurnMemory

    return TurnMemory(load_embedder(settings.embedder))


def source_search(index: ManualIndex, top_k: int = 5) -> Callable[[str], list[Evidence]]:
    """A search over a role's sources, for Extract in its dynamic form: a line -> places, the best first.

    A place counts characters in the source's whole text, as ``read_text`` gives it.
    """
    from egosrag.rag.retrieval.search import Retriever
    from egosrag.schema import Evidence

    before: dict[tuple[str, int], int] = {}
    length: dict[str, int] = {}
    for page in index.pages:
        before[page.source, page.page] = length.get(page.source, 0)
        length[page.source] = before[page.source, page.page] + len(page.text) + len("\n\n")
    retriever = Retriever(index, per_page=None)

    def search(line: str) -> list[Evidence]:
        found = (passage for passage, _ in retriever.search(line, top_k))
        return [
            Evidence(source=p.source, start=at + p.start, end=at + p.end, quote=p.text)
            for p in found
            for at in (before[p.source, p.page],)
        ]

    return search


def _texts(paths: Sequence[str | Path]) -> list[tuple[str, str]]:
    from egosrag.rag.documents.load import find_files, read_text

    return [(source, read_text(path)) for source, path in find_files(paths).items()]


def _index_of(role: str | Path) -> Path:
    """The folder of the index that was extracted with a card: named by the card's file, never by its text."""
    return Path(role).with_suffix(".index")


def _writable(file: Path) -> None:
    """Find out that ``file`` cannot be written before the hours of work that would be lost, not after."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RoleError(f"{file.parent} cannot be made ({error.strerror}): give --out another path") from error
    if file.is_dir() or not os.access(file.parent, os.W_OK):
        raise RoleError(f"{file} cannot be written: give --out the path of a file in a folder that you may write")
