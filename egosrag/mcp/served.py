"""The manuals and the roles that are served. They are loaded in the background, or by the first call that needs them.

A host waits for a server only for seconds: the protocol answers before a model is loaded or a document indexed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from egosrag import assemble
from egosrag.caller import Caller, Cancelled, calling, check_cancelled
from egosrag.console import Reporter
from egosrag.errors import EgosRagError, SourceError
from egosrag.mcp.schema import InvalidArguments
from egosrag.rag.documents.load import file_hash
from egosrag.settings import Settings

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from egosrag.rag.answer.engine import ManualEngine
    from egosrag.rag.index.storage import Manifest

_log = logging.getLogger(__name__)
T = TypeVar("T")


class Once(Generic[T]):
    """A value that is made by the first call that needs it; where that fails, the next call tries again.

    Args:
        make: makes the value.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._value: list[T] = []

    def get(self) -> T:
        """The value. Calls that come in while it is made wait for it."""
        with self._lock:
            check_cancelled()
            if not self._value:
                self._value.append(self._make())
            return self._value[0]


class CancellableReporter(Reporter):
    """Passes progress on to another reporter, and ends the work when its caller has left."""

    def __init__(self, to: Reporter) -> None:
        self.note = to.note  # type: ignore[method-assign]
        self._to = to

    def __call__(self, what: str, done: int, total: int) -> None:
        """Report progress; raises ``Cancelled`` where nobody waits for the work any more."""
        check_cancelled()
        self._to(what, done, total)


class Manual:
    """Documents, or an existing index, with the engine that answers from them.

    Args:
        settings: the settings.
        model: the chat model, loaded when it is needed.
        files: the documents by source name, whose pages can be shown as pictures.
        index: the folder or the address of an existing index; without one, the documents are indexed.
        progress: receives the progress of indexing.
    """

    def __init__(
        self,
        settings: Settings,
        model: Once[BaseChatModel],
        *,
        files: Mapping[str, Path] | None = None,
        index: str = "",
        progress: Reporter | None = None,
    ) -> None:
        self.files = files or {}
        reporter = CancellableReporter(progress or Reporter())

        def documents() -> Callable[[], ManualEngine]:
            engine = assemble.manual(settings, list(self.files.values()), None, reporter, model.get())
            return lambda: engine

        def stored() -> Callable[[], ManualEngine]:
            current = assemble.CurrentManual(settings, index, model.get())
            return lambda: current.engine

        self._engine = Once(stored if index else documents)

    @property
    def engine(self) -> ManualEngine:
        """The engine; the documents are indexed in the cache folder on the first call.

        Raises:
            SourceError, ModelError, StoreError: a document, the model or the index cannot be used.
        """
        return self._engine.get()()


def files_of_index(manifest: Manifest, files: Mapping[str, Path]) -> dict[str, Path]:
    """The documents of an index among some files, recognised by their contents, by source name in the index.

    Raises:
        SourceError: none of them is one.
    """
    by_hash = {file_hash(path): path for path in files.values()}
    found = {source: by_hash[digest] for source, digest in manifest.files.items() if digest in by_hash}
    if files and not found:
        raise SourceError(
            f"{', '.join(files)}: not a document of the index, or it has changed since: give the one that was indexed"
        )
    return found


@dataclass(frozen=True)
class Served:
    """What is served.

    Attributes:
        settings: the settings.
        model: the chat model.
        manuals: by name.
        roles: the files of the cards, by name.
        progress: receives notes about cards, and the progress of indexing.
    """

    settings: Settings
    model: Once[BaseChatModel]
    manuals: Mapping[str, Manual]
    roles: Mapping[str, Path]
    progress: Reporter

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Context manager in whose background the model and the manuals are loaded; its end stops that."""
        caller = Caller()

        def load() -> None:
            try:
                with calling(caller):
                    self.model.get()
                    for manual in self.manuals.values():
                        _ = manual.engine
            except Cancelled:
                pass
            except EgosRagError as error:  # the call that needs it reports it too
                _log.warning("%s", error)
            except Exception:
                _log.exception("loading failed")

        thread = threading.Thread(target=load, name="loading")
        thread.start()
        try:
            yield
        finally:
            caller.cancel()


def chosen(what: str, name: str, names: Sequence[str]) -> str:
    """The manual or role that a call means.

    Args:
        what: "manual" or "role".
        name: its name; may be empty where there is only one.
        names: the names that are served.

    Raises:
        InvalidArguments: there is none of that name, or none is named among several.
    """
    if not name and len(names) == 1:
        return names[0]
    if name not in names:
        problem = f"there is no {what} {name!r}" if name else f"the {what} is missing"
        raise InvalidArguments(f"{problem}: give one of {', '.join(names)}")
    return name
