"""Manual QA beside LlamaIndex's default query engine: the same model, pages and questions in one run.

    python -m evals.manual_peers --model M --pages FILE.jsonl --questions FILE.json --limit 100 --records run.jsonl

LlamaIndex as its tutorial sets it up: a ``Document`` a page with the page's number, ``SentenceSplitter`` (1024 tokens,
200 of overlap), ``VectorStoreIndex`` with the two most similar nodes, response mode ``compact``, its own prompts.
``right`` and ``page`` are those of :mod:`evals.manual`, a refusal is not right; as LlamaIndex does not cite, its pages
are those of its source nodes. Both stream: ``source_s`` and ``word_s`` are the seconds until the first page and the
first word of the answer can be shown. ``difference`` is ours minus LlamaIndex's on the same questions.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from egosrag import ManualEngine, ManualIndex
from egosrag.console import Progress
from egosrag.errors import SettingsError
from egosrag.rag.index.vectors import embedder_folder
from egosrag.rag.refusals import is_refusal
from egosrag.schema import AnswerProgress
from evals.common.command import AsJson, MaxNewTokens, finish, run
from evals.common.estimates import estimate, percent
from evals.common.experiment import digest
from evals.common.models import ModelSpec, Sampling, weight_files
from evals.common.records import Record, Records, measure_values
from evals.manual import is_right
from evals.rag.questions import Manual, limited, load_manual, samples

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from llama_index.core.base.base_query_engine import BaseQueryEngine
    from llama_index.core.llms import LLM

OURS, PEER = "egosrag", "llamaindex"
MEASURES = ("right", "page", "refused", "source_s", "word_s", "seconds")


def peer_model(model: BaseChatModel) -> LLM:
    """A chat model as LlamaIndex's LLM: its messages go to the model as they are."""
    from llama_index.core.base.llms.types import (
        ChatMessage,
        ChatResponse,
        ChatResponseGen,
        CompletionResponse,
        CompletionResponseGen,
        LLMMetadata,
        MessageRole,
    )
    from llama_index.core.llms import CustomLLM

    from egosrag.models.tokens import context_window

    class ChatModelLLM(CustomLLM):
        """Calls the chat model."""

        @property
        def metadata(self) -> LLMMetadata:
            """The window of the model, and that it takes messages."""
            return LLMMetadata(context_window=context_window(model), num_output=0, is_chat_model=True)

        def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
            """The model's reply."""
            reply = model.invoke([(str(m.role.value), m.content or "") for m in messages])
            return ChatResponse(message=ChatMessage(role=MessageRole.ASSISTANT, content=str(reply.text)))

        def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
            """The model's reply as it comes."""

            def pieces() -> ChatResponseGen:
                text = ""
                for piece in model.stream([(str(m.role.value), m.content or "") for m in messages]):
                    text += str(piece.text)
                    reply = ChatMessage(role=MessageRole.ASSISTANT, content=text)
                    yield ChatResponse(message=reply, delta=str(piece.text))

            return pieces()

        def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
            """The reply to a prompt as a user's message."""
            return CompletionResponse(text=str(model.invoke(prompt).text))

        def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
            """The reply in one piece."""
            yield self.complete(prompt)

    return ChatModelLLM()


def peer_engine(index: ManualIndex, model: BaseChatModel, embedder: str) -> BaseQueryEngine:
    """LlamaIndex's default query engine over the pages of an index.

    Args:
        index: its pages are the documents, so that both sides read the same text.
        model: the chat model of both sides.
        embedder: a name or folder as ``--embedder`` of egosrag.

    Raises:
        ModelError: there is no such embedder.
    """
    from llama_index.core import Document, VectorStoreIndex
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding

    documents = [
        Document(text=page.text, metadata={"file_name": page.source, "page_label": str(page.page)})
        for page in index.pages
    ]
    embeddings = HuggingFaceEmbedding(model_name=str(embedder_folder(embedder)), device="cpu")
    return VectorStoreIndex.from_documents(documents, embed_model=embeddings).as_query_engine(
        llm=peer_model(model), streaming=True
    )


class _Clock:
    """Seconds since a question was put: until the first source, the first word, and the end."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self.seconds = dict[str, float]()

    def note(self, name: str) -> None:
        """Note the time of something that happens for the first time."""
        self.seconds.setdefault(name, round(time.perf_counter() - self._start, 3))


def ask_ours(engine: ManualEngine, row: Record) -> Record:
    """Ask the engine of egosrag: the answer, its pages and the seconds."""
    clock = _Clock()
    for item in engine.stream(row["question"]):
        if isinstance(item, AnswerProgress):
            if item.passages:
                clock.note("source_s")
        elif isinstance(item, str):
            if item.strip():
                clock.note("word_s")
        else:
            answer = item
            clock.note("word_s")
    clock.note("seconds")
    return _record(row, answer.answer, {c.page for c in answer.citations}, clock.seconds, refused=answer.refused)


def ask_peer(engine: BaseQueryEngine, row: Record) -> Record:
    """Ask LlamaIndex: the answer, the pages of its source nodes and the seconds."""
    clock, text = _Clock(), ""
    response: Any = engine.query(row["question"])
    pages = {int(hit.node.metadata["page_label"]) for hit in response.source_nodes}
    clock.note("source_s")
    for piece in response.response_gen:
        text += piece
        if text.strip():
            clock.note("word_s")
    for name in ("word_s", "seconds"):
        clock.note(name)
    text = text.strip()
    return _record(row, text, pages, clock.seconds, refused=not text or is_refusal(text))


def _record(row: Record, answer: str, pages: set[int], seconds: dict[str, float], *, refused: bool) -> Record:
    on_page = bool(pages & set(row["pages"]))
    right = is_right(answer, row["reference"], row["question"]) if row["reference"] else on_page
    measures = {"refused": float(refused), **seconds}
    if row["answerable"]:
        measures |= {"right": float(right and not refused), "page": float(on_page)}
    return {
        "question": row["question"],
        "reference": row["reference"],
        "answer": answer,
        "pages": sorted(pages),
        "measures": measures,
    }


def evaluate(
    manual: Manual,
    model: ModelSpec,
    embedder: str,
    own_embedder: str | None = None,
    *,
    limit: int | None = None,
    records: Path | None = None,
) -> dict[str, list[Record]]:
    """Put each question to both sides.

    Args:
        manual: Documents with their questions; the history of a follow-up is not given to either side.
        model: The chat model of both sides.
        embedder: LlamaIndex's.
        own_embedder: Ours; None: words alone.
        limit: Maximum questions of each kind.
        records: JSONL of the answers, to resume from.

    Returns:
        The records of each side, in the order of the rows.

    Raises:
        EgosRagError: The model or a document is not usable; what was answered until then is recorded.
    """
    chosen = set(limited([manual], limit))
    rows = [row for row in manual.rows if row["id"] in chosen and not row["history"]]
    made_from = {"evaluation": "manual_peers", "model": model.name, "weights": weight_files(model.name)}
    made_from |= {"embedder": embedder, "own_embedder": own_embedder, "streaming": True}
    made_from |= {"max_new_tokens": model.sampling.max_new_tokens}
    store = Records(records, made_from)
    pages = manual.digest
    keys = {(side, row["id"]): (side, row["id"], digest(row, pages)) for row in rows for side in (OURS, PEER)}
    with Progress() as progress:
        if any(key not in store for key in keys.values()):
            index = ManualIndex.build(list(manual.documents), embedder=own_embedder, progress=progress)
            ours, peer = ManualEngine(index, model.loaded), peer_engine(index, model.loaded, embedder)
            for n, row in enumerate(rows):
                progress("ask", n, len(rows))
                if (key := keys[OURS, row["id"]]) not in store:
                    store.add(key, ask_ours(ours, row))
                if (key := keys[PEER, row["id"]]) not in store:
                    store.add(key, ask_peer(peer, row))
            progress("ask", len(rows), len(rows))
    return {side: [store[keys[side, row["id"]]] for row in rows] for side in (OURS, PEER)}


def result_of(records: dict[str, list[Record]], model: str) -> dict[str, Any]:
    """The measures of both sides with 95 % intervals, and the mean of the differences on the same questions."""
    sides = {side: {name: estimate(measure_values(own, name)) for name in MEASURES} for side, own in records.items()}
    pairs = list(zip(records[OURS], records[PEER], strict=True))
    difference = {
        name: estimate([a["measures"][name] - b["measures"][name] for a, b in pairs if name in a["measures"]])
        for name in MEASURES
    }
    return {"model": model, "n": len(pairs), **sides, "difference": difference}


def show(result: dict[str, Any]) -> None:
    """Print a line for each side."""
    from rich.console import Console
    from rich.table import Table

    title = f"{result['model']}: {result['n']} questions; % (95 %)"
    table = Table("", "right", "page", "refused", "source s", "word s", "all s", title=title, title_justify="left")
    for side in (OURS, PEER):
        own = result[side]
        table.add_row(
            side, *(percent(own[n]) for n in MEASURES[:3]), *(f"{own[n]['value'] or 0:.2f}" for n in MEASURES[3:])
        )
    Console().print(table)


def command(
    model: Annotated[str, typer.Option(help="As --model of egosrag.")],
    pages: Annotated[list[Path] | None, typer.Option(help="Documents; repeatable. The English sample if none.")] = None,
    questions: Annotated[Path | None, typer.Option(help="JSON list or JSONL of questions about them.")] = None,
    embedder: Annotated[str, typer.Option(help="LlamaIndex's embedder: minilm, e5, a hub id or a folder.")] = "minilm",
    own_embedder: Annotated[str | None, typer.Option(help="Ours; words alone if none.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Questions of each kind.")] = None,
    records: Annotated[Path | None, typer.Option(help="JSONL of the answers, to resume from.")] = None,
    max_new_tokens: MaxNewTokens = 256,
    as_json: AsJson = False,
) -> None:
    """Ask about manuals beside LlamaIndex's default query engine."""
    if bool(pages) != bool(questions):
        raise SettingsError("give --pages and --questions both, or neither for the sample manual")
    manual = load_manual(questions.stem, pages, questions) if pages and questions else samples()[0]
    spec = ModelSpec(model, sampling=Sampling(max_new_tokens))
    found = evaluate(manual, spec, embedder, own_embedder, limit=limit, records=records)
    finish(result_of(found, model), show, as_json, (records, None))


if __name__ == "__main__":
    run(command)
