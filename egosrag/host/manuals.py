"""Documents that visitors ask: their indexes in memory, what an answer is worth, and the page behind a sentence."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from egosrag import assemble
from egosrag.chatbot import Chatbot, ChatReply
from egosrag.console import Reporter
from egosrag.errors import EgosRagError, StoreError
from egosrag.host.uploads import Upload, uploads
from egosrag.host.visitors import Visitor
from egosrag.rag.answer.engine import STRONG
from egosrag.rag.documents.page_view import View, view
from egosrag.rag.documents.readers import READERS
from egosrag.schema import Answer, Citation
from egosrag.settings import Settings

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from egosrag.rag.index.manual_index import ManualIndex

ENDINGS = tuple(ending[1:] for ending in READERS)
SAMPLES = {"en": "manual.en.pdf", "zh": "manual.zh.pdf"}

Worth = Literal["told", "quoted", "weak", "refused"]


class Part(NamedTuple):
    """Sentences of an answer in a row that one citation tells; None: nothing tells them."""

    text: str
    citation: Citation | None


def documents(visitor: Visitor, language: str) -> dict[str, Upload]:
    """What a visitor can ask, by its name in an index: his own files, then the samples, his language's first.

    A file of a visitor is named by its content and so not by what he called it: two of one name stay two.
    """
    first = [SAMPLES[language], *(name for name in SAMPLES.values() if name != SAMPLES[language])]
    own = uploads(visitor, ENDINGS)
    return {given.path.name: given for given in (*own, *(Upload(assemble.sample(name), name) for name in first))}


class Indexes:
    """Indexes that all visitors share, since they depend on the documents alone; the last used ones stay in memory.

    Args:
        most: how many stay.
    """

    def __init__(self, most: int = 4) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._building: dict[tuple[Any, ...], threading.Lock] = {}
        self._kept: dict[tuple[Any, ...], ManualIndex] = {}

    def get(self, settings: Settings, given: Sequence[Upload], progress: Reporter | None = None) -> ManualIndex:
        """The index of the documents; whoever asks for one that is being built waits for it.

        Args:
            settings: how it is indexed.
            given: the documents.
            progress: is told how far it is.

        Raises:
            SourceError, ModelError, StoreError: a document cannot be indexed; it is called as the visitor calls it.
                The next call tries again.
        """
        key = (settings.embedder, settings.window, settings.overlap, *sorted(str(one.path) for one in given))
        with self._lock:
            building = self._building.setdefault(key, threading.Lock())
        with building:
            found = self._kept.get(key) or _built(settings, given, progress)
            with self._lock:
                self._kept.pop(key, None)
                self._kept[key] = found
                while len(self._kept) > self._most:
                    gone = next(iter(self._kept))
                    del self._kept[gone]
                    self._building.pop(gone, None)
        return found


def _built(settings: Settings, given: Sequence[Upload], progress: Reporter | None) -> ManualIndex:
    try:
        return assemble.manual_index(settings, [one.path for one in given], progress)
    except EgosRagError as error:
        text = str(error)
        for one in given:  # where a file is kept, and under which name, is nobody's business
            for path in (str(one.path.resolve()), str(one.path), one.path.name):
                text = text.replace(path, one.name)
        raise type(error)(text) from error


def worth(answer: Answer) -> Worth:
    """What an answer may be taken for; ``weak`` should be looked up on its page."""
    if answer.refused:
        return "refused"
    if answer.evidence < STRONG:
        return "weak"
    return "quoted" if answer.mode == "quoted" else "told"


def parts(answer: Answer) -> list[Part]:
    """The answer's text in parts, each with the citation that tells it; joined they are the text."""
    text, at = answer.answer, 0
    found: list[Part] = []
    for told in answer.sentences:
        start = text.find(told.text, at)
        if start < 0:
            continue
        begin, at = at, start + len(told.text)
        citation = None if told.citation is None else answer.citations[told.citation]
        if found and found[-1].citation == citation:
            found[-1] = Part(found[-1].text + text[begin:at], citation)
        else:
            found.append(Part(text[begin:at], citation))
    if text[at:].strip():
        found.append(Part(text[at:], None))
    return [Part(part.text.strip(), part.citation) for part in found if part.text.strip()]


def opened(index: ManualIndex, citation: Citation, given: Mapping[str, Upload], width: int = 1000) -> View:
    """The page that a citation is of, with its quote marked.

    Args:
        index: that the answer came from.
        citation: of the answer.
        given: the documents, as :func:`documents` names them.
        width: pixels of a PDF's page.

    Raises:
        SourceError: the document is not what it was.
        StoreError: the index has no such page.
    """
    upload = given.get(citation.source)
    try:
        page = index.page(citation.source, citation.page)
    except KeyError as error:
        raise StoreError(
            f"page {citation.page} is not in the documents that are chosen now: choose them again"
        ) from error
    return view(page, citation.quote, upload.path if upload else None, width=width)


def without_document(
    model: BaseChatModel, question: str, history: Sequence[tuple[str, str]]
) -> Iterator[str | ChatReply]:
    """What the same model says by itself (report 6.3.2), piece by piece; then the ``ChatReply``.

    Args:
        model: that answers with the document too.
        question: as it is asked there.
        history: earlier questions with the answers that it gave without the document.

    Raises:
        WindowError: the question does not fit the model.
        ModelError: the model cannot answer.
    """
    bot = Chatbot(model)
    bot.pairs = list(history)
    yield from bot.stream(question)
