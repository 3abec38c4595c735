"""The check for opposites: how many sentences that say the opposite are caught, and how many true ones are lost.

    python -m evals.opposites --pages manual.pdf --json

Every sentence of the document with a word that has an opposite is verified against its own page: as it is, and with its
parts in another order (both have to pass), and with one of its words replaced by the opposite (has to fail), unless the
page says that too.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from egosrag import ManualIndex
from egosrag.rag.answer.citation_verifier import CitationVerifier, answer_sentences
from egosrag.rag.answer.opposites import Opposite, opposite_words, opposites
from egosrag.schema import Page, Passage
from egosrag.text.numbers import LIST_MARKER
from evals.common.command import AsJson, finish, run

_LEAST_LETTERS = 12  # of a sentence; shorter ones are labels of pictures and cells
_PART_END = re.compile(r"(?<=[,，;；])\s*")


class Case(NamedTuple):
    """A sentence to be verified.

    Attributes:
        page: its page.
        kind: "true", "reordered" or "opposite".
        text: the sentence.
    """

    page: Page
    kind: str
    text: str


def cases(page: Page) -> Iterator[Case]:
    """The sentences of a page with a word that has an opposite: as they are, reordered, and with one opposite."""
    chooser = random.Random(f"{page.source} {page.page}")
    letters = "".join(filter(str.isalpha, page.text)).casefold()
    for sentence, _ in answer_sentences(page.text):
        statement = LIST_MARKER.sub("", sentence)
        found = opposites(statement)
        if not found or sum(map(str.isalpha, statement)) < _LEAST_LETTERS or "|" in statement:
            continue
        yield Case(page, "true", sentence)
        if reordered := _reordered(statement):
            yield Case(page, "reordered", reordered)
        changed = [text for word in found for text in _with_opposite(statement, word)]
        changed = [text for text in changed if "".join(filter(str.isalpha, text)).casefold() not in letters]
        if changed:
            yield Case(page, "opposite", chooser.choice(changed))


def _reordered(text: str) -> str:
    """The sentence with its last part first; empty where it has one part."""
    stop = re.search(r"[.。!！]*\s*$", text)
    parts = [part.strip(" ,，;；") for part in _PART_END.split(text[: stop.start()] if stop else text)]
    if len(parts) < 2 or not all(parts):
        return ""
    comma = ", " if parts[0].isascii() else "，"
    return comma.join([parts[-1], *parts[:-1]]) + ("." if parts[0].isascii() else "。")


def _with_opposite(text: str, word: Opposite) -> Iterator[str]:
    """The sentence with each opposite of one of its words, in the same form."""
    surface = text[word.start : word.end]
    for number, side in sorted(word.sides):
        pair = opposite_words()[number]
        other = pair.sides[1 - side][0]
        if pair.verbs:
            ending = re.search(r"(?:ing|ed|s)?$", surface, re.IGNORECASE)
            ending_text = ending.group() if ending and surface.casefold() not in pair.sides[side] else ""
            stem = other.removesuffix("e") if ending_text in ("ing", "ed") else other
            other = stem + ending_text
        yield text[: word.start] + (other.capitalize() if surface[:1].isupper() else other) + text[word.end :]


def evaluate(index: ManualIndex, failures: list[str] | None = None) -> dict[str, Any]:
    """Verify the cases of every page.

    Args:
        index: of the document.
        failures: receives a line for each true sentence that is lost and each opposite that is not caught.
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
            if failures is not None and supported is (case.kind == "opposite"):
                failures.append(f"{case.kind}, page {page.page}: {case.text}")
    kinds = {kind: {"n": len(counts[kind]), "passed": sum(counts[kind])} for kind in counts}
    true = [kinds[kind] for kind in ("true", "reordered") if kind in kinds]
    n_true = sum(kind["n"] for kind in true)
    wrong = kinds.get("opposite")
    return {
        "n": sum(kind["n"] for kind in kinds.values()),
        "lost": round(1 - sum(kind["passed"] for kind in true) / n_true, 4) if n_true else None,
        "caught": round(1 - wrong["passed"] / wrong["n"], 4) if wrong else None,
        "kinds": kinds,
    }


def _show(result: dict[str, Any]) -> None:
    print(f"true sentences lost: {result['lost']}, opposites caught: {result['caught']} (n {result['n']})")
    for kind, count in result["kinds"].items():
        print(f"  {kind}: {count['passed']} of {count['n']} passed")


def command(
    pages: Annotated[list[Path], typer.Option(help="Documents, such as a JSONL of {page, text}.")],
    failures: Annotated[bool, typer.Option("--failures", help="Print the sentences that were judged wrongly.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure the check for opposites on the sentences of documents."""
    wrong: list[str] | None = [] if failures else None
    result = evaluate(ManualIndex.build(pages), wrong)
    finish({**result, **({"failures": wrong} if failures else {})}, _show, as_json)
    for line in wrong or []:
        if not as_json:
            print(line)


if __name__ == "__main__":
    run(command)
