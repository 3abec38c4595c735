"""``egosrag ask``: answer questions from documents, with citations."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from egosrag.cli.options import Adapter, Config, Debug, Embedder, Json, Model, Set, Template, load_settings
from egosrag.console import Progress, print_json, stdin_lines
from egosrag.errors import SourceError
from egosrag.schema import AnswerProgress

if TYPE_CHECKING:
    from egosrag.rag.answer.engine import ManualEngine

EXAMPLES = (
    'egosrag ask "Which battery does the key need?" --doc sample:manual.en',
    'egosrag ask "如何打开前机舱盖？" --doc manual.pdf --json',
    "egosrag ask - --index runs/manual --json < questions.txt",
)
_JSON_FIELDS = {"answer", "refused", "citations", "usage", "timing"}


def ask(
    question: Annotated[str, typer.Argument(help="The question; - reads one per line of standard input.")],
    more: Annotated[list[Path] | None, typer.Argument(metavar="PATH", help="More documents.")] = None,
    doc: Annotated[
        list[Path] | None, typer.Option(help="Document or folder to answer from, or sample:manual.en; repeatable.")
    ] = None,
    index: Annotated[str | None, typer.Option(help="Index to answer from: a folder or a postgresql:// URL.")] = None,
    model: Model = None,
    adapter: Adapter = None,
    template: Template = None,
    top_k: Annotated[
        int | None, typer.Option(help="Number of retrieved passages in the prompt.", show_default="5")
    ] = None,
    embedder: Embedder = None,
    as_json: Json = False,
    pairs: Set = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Answer a question from a manual, with page citations.

    If the manual does not answer it, say so.
    """
    from egosrag import assemble

    documents = [*(doc or []), *(more or [])]
    if bool(documents) == bool(index):
        raise typer.BadParameter("give the manual either as --doc PATH or as --index DIR")
    settings = load_settings(
        config, pairs, model=model, adapter=adapter, template=template, top_k=top_k, embedder=embedder
    )
    with Progress() as progress:
        engine = assemble.manual(settings, documents, index, progress, follow_ups=False)
    for line in stdin_lines() if question == "-" else [question]:
        print_answer(engine, line, as_json=as_json)


def print_answer(engine: ManualEngine, question: str, *, as_json: bool) -> None:
    """Print the answer to one question: streamed with its citations below, or as a line of JSON.

    The pages that were found are shown on standard error before a streamed answer.

    Raises:
        SourceError: the question is empty.
    """
    if not question.strip():
        raise SourceError("the question is empty: write one, and leave no blank lines between questions")
    if as_json:
        print_json(engine.ask(question).model_dump(mode="json", include=_JSON_FIELDS))
        return
    for piece in engine.stream(question):
        if isinstance(piece, str):
            print(piece, end="", flush=True)
        elif isinstance(piece, AnswerProgress):
            if piece.step == "found" and piece.passages:
                Progress().note(f"found: {_listed(piece.pages)}")
        else:
            citations = (f"{c.source}, p. {c.page}: {c.quote}" for c in piece.citations)
            print(*("\n" + textwrap.indent(citation, "  ") for citation in citations), sep="")


def _listed(pages: Sequence[tuple[str, int]]) -> str:
    """Pages by their documents: "a.pdf, p. 4, 2; b.pdf, p. 7"."""
    by_source: dict[str, list[str]] = {}
    for source, page in pages:
        by_source.setdefault(source, []).append(str(page))
    return "; ".join(f"{source}, p. {', '.join(numbers)}" for source, numbers in by_source.items())
