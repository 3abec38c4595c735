"""How many true sentences of documents a check of citations loses, and how many altered ones it catches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from egosrag import ManualIndex
from egosrag.rag.answer.citation_verifier import CitationVerifier
from egosrag.schema import Page, Passage
from evals.common.command import AsJson, finish

TRUE = ("true", "rewritten", "reordered")  # kinds of sentences that have to pass; all others have to fail


class Case(NamedTuple):
    """A sentence to be verified.

    Attributes:
        page: its page.
        kind: one of ``TRUE``, or how it was altered.
        text: the sentence.
    """

    page: Page
    kind: str
    text: str


Cases = Callable[[Page], Iterable[Case]]


def evaluate(index: ManualIndex, cases: Cases, failures: list[str] | None = None) -> dict[str, Any]:
    """Verify the cases of every page.

    Args:
        index: of the document.
        cases: the cases of a page.
        failures: receives a line for each true sentence that is lost and each altered one that is not caught.
    """
    passages: dict[tuple[str, int], list[Passage]] = {}
    for passage in index.passages:
        passages.setdefault((passage.source, passage.page), []).append(passage)
    counts: dict[str, list[bool]] = {}
    for page in index.pages:
        if (page.source, page.page) not in passages:  # a table of contents
            continue
        verifier = CitationVerifier(index, passages[page.source, page.page])
        for case in cases(page):
            supported = verifier.cite(case.text) is not None
            counts.setdefault(case.kind, []).append(supported)
            if failures is not None and supported is not (case.kind in TRUE):
                failures.append(f"{case.kind}, page {page.page}: {case.text}")
    true = [passed for kind in counts if kind in TRUE for passed in counts[kind]]
    altered = [passed for kind in counts if kind not in TRUE for passed in counts[kind]]
    return {
        "n": len(true) + len(altered),
        "lost": round(1 - sum(true) / len(true), 4) if true else None,
        "caught": round(1 - sum(altered) / len(altered), 4) if altered else None,
        "kinds": {kind: {"n": len(passed), "passed": sum(passed)} for kind, passed in counts.items()},
    }


def command_of(cases: Cases, what: str) -> Callable[..., None]:
    """The command that measures a check.

    Args:
        cases: the cases of a page.
        what: what is measured, for its help.
    """

    def command(
        pages: Annotated[list[Path], typer.Option(help="Documents, such as a JSONL of {page, text}.")],
        failures: Annotated[
            bool, typer.Option("--failures", help="Print the sentences that were judged wrongly.")
        ] = False,
        as_json: AsJson = False,
    ) -> None:
        wrong: list[str] | None = [] if failures else None
        result = evaluate(ManualIndex.build(pages), cases, wrong)
        finish({**result, **({"failures": wrong} if failures else {})}, _show, as_json)
        for line in wrong or []:
            if not as_json:
                print(line)

    command.__doc__ = f"Measure {what} on the sentences of documents."
    return command


def _show(result: dict[str, Any]) -> None:
    print(f"true sentences lost: {result['lost']}, altered ones caught: {result['caught']} (n {result['n']})")
    for kind, count in result["kinds"].items():
        print(f"  {kind}: {count['passed']} of {count['n']} passed")
