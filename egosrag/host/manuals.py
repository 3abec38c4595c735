"""Documents that visitors ask questions about: cached indexes, answers in parts with citations, and the cited pages."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from egosrag import assemble
from egosrag.chatbot import Chatbot, ChatReply
from egosrag.console import Reporter
from egosrag.errors import SourceError, StoreError
from egosrag.host.uploads import Upload, display_names_in_errors, list_uploads
from egosrag.host.visitors import Visitor
from egosrag.rag.answer.decision import QUOTE_FROM
from egosrag.rag.documents.page_view import PageView, page_view
from egosrag.rag.documents.readers import READERS
from egosrag.samples import PREFIX
from egosrag.schema import Answer, AnswerProgress, Citation
from egosrag.settings import Settings

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from egosrag.rag.index.manual_index import ManualIndex

EXTENSIONS = tuple(extension[1:] for extension in READERS)
SAMPLES = {"en": "manual.en.pdf", "zh": "manual.zh.pdf"}

Reliability = Literal["supported", "quoted", "weak", "refused"]


class AnswerPart(NamedTuple):
    """Consecutive sentences of an answer with the same citation; None where no passage supports them."""

    text: str
    citation: Citation | None


def list_documents(visitor: Visitor, language: str) -> dict[str, Upload]:
    """The documents that a visitor can choose, by their source name in an index.

    The visitor's own files come first, then the samples, the one in ``language`` first. The source name of an own file
    is the hash of its content, so that two files with the same name stay two documents.
    """
    samples = [SAMPLES[language], *(name for name in SAMPLES.values() if name != SAMPLES[language])]
    own = list_uploads(visitor, EXTENSIONS)
    return {
        document.path.name: document for document in (*own, *(Upload(assemble.sample(name), name) for name in samples))
    }


def mcp_command(settings: Settings, documents: Sequence[Upload]) -> str:
    """The command that serves these documents as tools of other programs, with the model that answers here.

    A visitor's own document has the name that they know: its path here is not theirs.
    """
    words, names = ["egosrag", "mcp"], set[str]()
    for document in documents:
        place = document.name
        if document.name in SAMPLES.values():
            place = PREFIX + document.name.rpartition(".")[0]
        elif place.startswith(("-", PREFIX)):
            place = f"./{place}"
        name = stem = document.name.rpartition(".")[0].replace("=", "-") or document.name
        number = 2
        while name in names:
            name, number = f"{stem}-{number}", number + 1
        names.add(name)
        words += ["--doc", place if name == stem and "=" not in place else f"{name}={place}"]
    if settings.model != Settings.model_fields["model"].default:
        words += ["--model", settings.model]
    if settings.embedder and not Path(settings.embedder).exists():  # a folder of this machine is nobody else's
        words += ["--embedder", settings.embedder]
    return shlex.join(words)


class IndexCache:
    """Indexes in memory, shared by all visitors: an index depends on its documents and the settings alone.

    Args:
        max_indexes: how many stay; the least recently used one is evicted.
    """

    def __init__(self, max_indexes: int = 4) -> None:
        self._max_indexes = max_indexes
        self._lock = threading.Lock()
        self._build_locks: dict[tuple[Any, ...], threading.Lock] = {}
        self._indexes: dict[tuple[Any, ...], ManualIndex] = {}  # least recently used first

    def peek(self, settings: Settings, documents: Sequence[Upload]) -> ManualIndex | None:
        """The index of the documents where it is in memory."""
        return self._indexes.get(_index_key(settings, documents))

    def get(self, settings: Settings, documents: Sequence[Upload], progress: Reporter | None = None) -> ManualIndex:
        """The index of the documents, built where it is not cached; an index is built by one caller at a time.

        Args:
            settings: embedder and passage sizes.
            documents: what is indexed.
            progress: called while the index is built.

        Raises:
            SourceError, ModelError, StoreError: a document cannot be indexed; the next call tries again.
        """
        key = _index_key(settings, documents)
        with self._lock:
            build_lock = self._build_locks.setdefault(key, threading.Lock())
        with build_lock:
            index = self._indexes.get(key)
            if index is None:
                with display_names_in_errors(*documents):
                    index = assemble.manual_index(settings, [document.path for document in documents], progress)
            with self._lock:
                self._indexes.pop(key, None)
                self._indexes[key] = index
                while len(self._indexes) > self._max_indexes:
                    oldest = next(iter(self._indexes))
                    del self._indexes[oldest]
                    self._build_locks.pop(oldest, None)
        return index


def _index_key(settings: Settings, documents: Sequence[Upload]) -> tuple[Any, ...]:
    return (settings.embedder, settings.window, settings.overlap, *sorted(str(document.path) for document in documents))


def unreadable(index: ManualIndex | None, documents: Mapping[str, Upload]) -> dict[str, str]:
    """Why documents are not in an index, by source; of no index, why none of them could be indexed."""
    indexed = {page.source for page in index.pages} if index else set()
    return {source: _fault(document) for source, document in documents.items() if source not in indexed}


def _fault(document: Upload) -> str:
    """Why a document cannot be read, with the visitor's name for it; empty where it can."""
    from egosrag.rag.documents.load import load_document

    try:
        with display_names_in_errors(document):
            load_document(document.path, document.name)
    except SourceError as error:
        return str(error)
    return ""


def pages_found(step: AnswerProgress) -> list[int] | None:
    """The numbers of the pages that were found for a question, in order; None in another step."""
    return sorted({number for _, number in step.pages}) if step.step == "found" else None


def reliability(answer: Answer) -> Reliability:
    """How far an answer can be trusted; "weak" ones should be checked on their page."""
    if answer.refused:
        return "refused"
    if answer.evidence < QUOTE_FROM:
        return "weak"
    return "quoted" if answer.mode == "quoted" else "supported"


def answer_parts(answer: Answer) -> list[AnswerPart]:
    """The text of an answer in parts, each with the citation that supports it; joined they are the whole text."""
    text, end = answer.answer, 0
    parts: list[AnswerPart] = []
    for sentence in answer.sentences:
        found = text.find(sentence.text, end)
        if found < 0:
            continue
        start, end = end, found + len(sentence.text)
        citation = None if sentence.citation is None else answer.citations[sentence.citation]
        if parts and parts[-1].citation == citation:
            parts[-1] = AnswerPart(parts[-1].text + text[start:end], citation)
        else:
            parts.append(AnswerPart(text[start:end], citation))
    if text[end:].strip():
        parts.append(AnswerPart(text[end:], None))
    return [AnswerPart(part.text.strip(), part.citation) for part in parts if part.text.strip()]


def cited_page(index: ManualIndex, citation: Citation, documents: Mapping[str, Upload], width: int = 1000) -> PageView:
    """The page of a citation, with its quote highlighted.

    Args:
        index: the index that the answer came from.
        citation: of the answer.
        documents: by source name, from :func:`list_documents`.
        width: of the picture of a PDF page, in pixels.

    Raises:
        SourceError: the document has changed.
        StoreError: the index has no such page.
    """
    document = documents.get(citation.source)
    try:
        page = index.page(citation.source, citation.page)
    except KeyError as error:
        raise StoreError(f"page {citation.page} is not in the selected documents: select its document again") from error
    return page_view(page, citation.quote, document.path if document else None, width=width)


def answer_without_document(
    model: BaseChatModel, question: str, history: Sequence[tuple[str, str]]
) -> Iterator[str | ChatReply]:
    """Stream what the model answers by itself (closed-book, report 6.3.2): text chunks, then the ``ChatReply``.

    Args:
        model: the model that also answers from the documents.
        question: the same question.
        history: earlier questions, with the model's answers without the documents.

    Raises:
        WindowError: the question does not fit the model's context window.
        ModelError: the model failed.
    """
    bot = Chatbot(model)
    bot.pairs = list(history)
    yield from bot.stream(question)
