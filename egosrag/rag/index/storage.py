"""The parts of a stored index and its manifest; what a store of indexes has to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field

from egosrag.errors import StoreError
from egosrag.rag.index.bm25 import Bm25
from egosrag.rag.index.fields import sentences_of
from egosrag.rag.index.vectors import DenseIndex, DenseSearch, EmbedderCard
from egosrag.schema import Page, Passage

if TYPE_CHECKING:
    from egosrag.rag.index.vectors import Vectors

VERSION = 3


class Manifest(BaseModel):
    """The documents and the settings that an index was built from."""

    model_config = ConfigDict(frozen=True)

    format: str = "egosrag-index"
    version: int = VERSION
    generation: str = Field(default="", pattern=r"^(?:data-[0-9a-f]{12}|\d{1,18})?$")  # also the name of a folder
    window: int = Field(default=300, ge=20)
    overlap: int = Field(default=100, ge=0)
    embedder: EmbedderCard | None = None
    files: dict[str, str] = {}  # source name -> SHA-256 of the file


class Layout(NamedTuple):
    """Which rows of an index belong together.

    Attributes:
        places: the source and the number of each page.
        page_of: for each passage the row of its page.
        first_sentence: for each page the row of its first sentence in the index of sentences; each page has one.
    """

    places: list[tuple[str, int]]
    page_of: list[int]
    first_sentence: list[int]


def layout_of(pages: Sequence[Page], passages: Sequence[Passage]) -> Layout:
    """The layout of pages and their passages."""
    rows = {(page.source, page.page): row for row, page in enumerate(pages)}
    first_sentence = [0]
    searched = {(p.source, p.page) for p in passages}
    for page in pages[:-1]:
        count = len(sentences_of(page)) if (page.source, page.page) in searched else 1
        first_sentence.append(first_sentence[-1] + count)
    return Layout(list(rows), [rows[p.source, p.page] for p in passages], first_sentence)


@dataclass
class IndexData:
    """The searchable parts of an index, in memory or read from a database row by row.

    Attributes:
        pages: all pages, in the order of the documents.
        passages: all passages, in the order of the pages.
        lexical: the lexical indexes by name (see ``fields.LEXICAL``).
        dense: dense search over the passages; None without an embedder.
        layout: which rows belong together.
        database: the address of the database that the rows are in; empty for an index in memory.
    """

    pages: Sequence[Page]
    passages: Sequence[Passage]
    lexical: Mapping[str, Bm25]
    dense: DenseSearch | None
    layout: Layout
    database: str = ""

    @classmethod
    def in_memory(
        cls, pages: list[Page], passages: list[Passage], lexical: Mapping[str, Bm25], vectors: Vectors | None = None
    ) -> IndexData:
        """The data of an index whose parts are all in memory; ``vectors`` is of shape (passages, dimension)."""
        dense = DenseIndex(vectors) if vectors is not None else None
        return cls(pages, passages, lexical, dense, layout_of(pages, passages))


class IndexStore(Protocol):
    """Keeps one index, of which a new generation replaces the last one as a whole."""

    @property
    def where(self) -> str:
        """The folder or the address, without its password."""

    def check_available(self) -> None:
        """Raise a StoreError if the store cannot be reached, before the work of a build."""

    def sweep(self) -> None:
        """Delete what killed builds left behind, and nothing of a build that may still be running."""

    def read_manifest(self) -> Manifest:
        """The manifest of the current generation.

        Raises:
            StoreError: there is no index, it is damaged, or of another version.
        """

    def read(self, manifest: Manifest) -> IndexData:
        """The generation of a manifest.

        Raises:
            StoreError: it is damaged or gone.
        """

    def write(self, manifest: Manifest, data: IndexData) -> Manifest:
        """Write a new generation and make it the current one; returns its manifest.

        Raises:
            StoreError: it cannot be written; the last generation stays.
        """


class NewerVersionError(StoreError):
    """The index was written by a newer version of the program and must not be overwritten."""


def check_not_newer(what: str, version: int) -> None:
    """Check that an index may be overwritten.

    Raises:
        NewerVersionError: a newer version of the program wrote it.
    """
    if version > VERSION:
        raise NewerVersionError(
            f"{what} has version {version}, this program knows {VERSION}: use the newer program, or build the index "
            "elsewhere; nothing was changed"
        )


def check_version(what: str, version: int) -> None:
    """Check that an index can be read.

    Raises:
        StoreError: another version of the program wrote it.
    """
    check_not_newer(what, version)
    if version != VERSION:
        raise StoreError(f"{what} has version {version}, this program reads {VERSION}: build it again")
