"""Measure the answers of a real model about manuals, without a judge, and where a right answer is lost on the way.

    python -m evals.manual --model M                                             the sample manuals, both languages
    python -m evals.manual --model M --pages pages.jsonl --questions questions.json --hold-out 4 --records run.jsonl

``right``: the answer contains the numbers and key words of the reference (its yes or no, where it is one), or cites its
page where a question has no reference answer. ``page``: a citation is on the right page. Refusals have their precision
and recall against the unanswerable questions; ``--hold-out`` makes some. A question is lost at one ``stage``:

* ``not retrieved``: the right page is not among the passages;
* ``refused early``: the evidence is too weak to ask the model;
* ``model refused``: the model says that there is no answer, and the manual is not quoted instead;
* ``draft dropped``: no sentence of the model is supported by the passages, and the manual is not quoted instead;
* ``wrong quote``, ``wrong answer``: the manual is quoted, or the model answers, without the reference;
* ``too long``: the question does not fit the model, and counts as not answered (``not_answered`` in the result).
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Annotated, Any

import typer
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel

from egosrag import ManualEngine, ManualIndex
from egosrag.console import Progress
from egosrag.errors import SettingsError, WindowError
from egosrag.rag.refusals import is_refusal
from evals.common.command import AsJson, MaxNewTokens, finish, run
from evals.common.estimates import estimate, percent, precision_recall
from evals.common.experiment import digest
from evals.common.models import ModelSpec, Sampling, weight_files
from evals.common.records import Record, Records, measure_values, numbered_rows
from evals.rag.correctness import is_right
from evals.rag.questions import Manual, limited, load_manual, note, samples


class _DraftRecorder(BaseCallbackHandler):
    """Keeps what the model wrote at each of its calls, before any of it was verified."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        self.texts.append("")

    def on_llm_new_token(self, token: str, **kwargs: Any) -> None:
        self.texts[-1] += token


class Engines:
    """The engine for each question: of the whole manual, or without the document that answers it.

    Args:
        manuals: Documents with their questions.
        model: The chat model.
        hold_out: Every ``hold_out``-th answerable question is asked without the document that answers it; 0: none.
            One whose pages are not among the documents is asked as it is.
        on_skip: Called with one line about each part of a document that is not read, and each question that cannot be
            held out.

    Raises:
        SettingsError: ``hold_out`` needs documents as one JSONL of pages.
    """

    def __init__(
        self,
        manuals: Sequence[Manual],
        model: BaseChatModel,
        hold_out: int = 0,
        on_skip: Callable[[str], None] = note,
    ) -> None:
        self._manuals = {manual.name: manual for manual in manuals}
        self._model = model
        self._engines: dict[tuple[str, frozenset[int]], ManualEngine] = {}
        self._withheld: dict[str, frozenset[int]] = {}
        self._digests: dict[str, str] = {}
        self._on_skip, self._noted = on_skip, set[str]()
        for manual in manuals if hold_out else ():
            if [path.suffix for path in manual.documents] != [".jsonl"]:
                raise SettingsError("--hold-out needs the pages as one JSONL: give --pages FILE.jsonl")
            document_of: dict[int, str] = {}
            for _, row in _pages(manual.documents[0]):
                document_of.setdefault(row["page"], _document(row))
            for row in [row for row in manual.rows if row["answerable"]][hold_out - 1 :: hold_out]:
                documents = {document_of[page] for page in row["pages"] if page in document_of}
                if documents:
                    self._withheld[row["id"]] = frozenset(p for p, d in document_of.items() if d in documents)
                else:
                    self._note(f"{row['id']} is not held out: no page of its reference is in {manual.documents[0]}")

    def answerable(self, row: Record) -> bool:
        """Whether the documents of a question's engine answer it."""
        return row["answerable"] and row["id"] not in self._withheld

    def key(self, row: Record) -> tuple[str, str]:
        """The key of a question's record: its id, and a hash of all that is asked and of the documents it is asked of.

        Raises:
            SourceError: A document cannot be read.
        """
        return row["id"], digest(row, self.setting(row), sorted(self._withheld.get(row["id"], ())))

    def setting(self, row: Record) -> str:
        """A hash of the documents of a question's manual."""
        if row["manual"] not in self._digests:
            self._digests[row["manual"]] = self._manuals[row["manual"]].digest
        return self._digests[row["manual"]]

    def of(self, row: Record) -> ManualEngine:
        """The engine that a question is put to; not to be called by several threads."""
        key = (row["manual"], self._withheld.get(row["id"], frozenset()))
        if key not in self._engines:
            self._engines[key] = ManualEngine(self._index(*key), self._model)
        return self._engines[key]

    def _index(self, name: str, withheld: frozenset[int]) -> ManualIndex:
        documents = list(self._manuals[name].documents)
        if not withheld:
            return ManualIndex.build(documents, on_skip=self._note)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / documents[0].name
            lines = documents[0].read_bytes().split(b"\n")
            for n, row in _pages(documents[0]):
                if row["page"] in withheld:
                    lines[n - 1] = b""  # left blank: what is noted about the other lines has their numbers
            path.write_bytes(b"\n".join(lines))
            return ManualIndex.build([path], on_skip=self._note)

    def _note(self, text: str) -> None:
        if text not in self._noted:
            self._noted.add(text)
            self._on_skip(text)


def _pages(path: Path) -> Iterator[tuple[int, Record]]:
    """The pages of a JSONL with their line numbers; ``ManualIndex`` notes the lines that are none."""
    return ((n, row) for n, row in numbered_rows(path, lambda text: None) if type(row.get("page")) is int)


def _document(row: Record) -> str:
    """What a page belongs to: its document, or itself where it has none."""
    return json.dumps(["page", row["page"]] if row.get("document") is None else ["document", row["document"]])


def ask(engine: ManualEngine, row: Record, answerable: bool) -> Record:
    """Ask one question: the answer, the model's drafts, the measures, and the stage at which the answer was lost."""
    start = time.perf_counter()
    drafts = _DraftRecorder()
    history = [(q, a) for q, a in row["history"]]
    try:
        answer = engine.ask(row["question"], history, {"callbacks": [drafts]})
    except WindowError as error:
        return _not_answered(row, answerable, str(error))
    seconds = time.perf_counter() - start
    retrieved = {hit.passage.page for hit in engine.retrieve(row["question"], history).passages}
    page = bool({citation.page for citation in answer.citations} & set(row["pages"]))
    correct = is_right(answer.answer, row["reference"], row["question"]) if row["reference"] else page
    record: Record = {
        **_about(row, answerable),
        "answer": answer.answer,
        "drafts": drafts.texts,
        "mode": answer.mode,
        "evidence": answer.evidence,
        "measures": {"refused": float(answer.refused), "seconds": round(seconds, 2)},
    }
    if answerable:
        right = correct and not answer.refused
        found = bool(retrieved & set(row["pages"]))
        record["measures"] |= {"right": float(right), "page": float(page), "retrieved": float(found)}
        record["stage"] = "right" if right else "not retrieved" if not found else _stage(answer.mode, drafts.texts)
    return record


def _about(row: Record, answerable: bool) -> Record:
    return {
        "question": row["question"],
        "kind": row["kind"] if answerable == row["answerable"] else "held out",
        "reference": row["reference"],
        "answerable": answerable,
    }


def _not_answered(row: Record, answerable: bool, reason: str) -> Record:
    """The record of a question that does not fit the model: neither answered nor refused."""
    note(f"{row['id']} counts as not answered: {reason}")
    record: Record = {**_about(row, answerable), "answer": "", "reason": reason, "measures": {"refused": 0.0}}
    if answerable:
        record["measures"] |= {"right": 0.0, "page": 0.0}
        record["stage"] = "too long"
    return record


def _stage(mode: str, drafts: Sequence[str]) -> str:
    if mode != "refused":
        return f"wrong {'quote' if mode == 'quoted' else 'answer'}"
    if not drafts:
        return "refused early"
    return "model refused" if is_refusal(drafts[-1]) else "draft dropped"


def evaluate(
    manuals: Sequence[Manual],
    model: ModelSpec,
    *,
    limit: int | None = None,
    hold_out: int = 0,
    threads: int = 1,
    records: Path | None = None,
) -> list[Record]:
    """Ask the questions of all manuals; a record a question, in the order of the rows.

    Args:
        manuals: Documents with their questions.
        model: The chat model.
        limit: Maximum questions of each manual and kind.
        hold_out: See :class:`Engines`.
        threads: Questions that are asked at once: a local model batches them.
        records: JSONL of the answers, to resume from.

    Raises:
        EgosRagError: The model or a document is not usable; what was answered until then is recorded.
    """
    chosen = set(limited(manuals, limit))
    rows = [row for manual in manuals for row in manual.rows if row["id"] in chosen]
    made_from = {"evaluation": "manual", "model": model.name, "weights": weight_files(model.name)}
    store = Records(records, made_from | {"hold_out": hold_out, "max_new_tokens": model.sampling.max_new_tokens})
    engines = Engines(manuals, model.loaded, hold_out)
    keys = {row["id"]: engines.key(row) for row in rows}
    missing = [row for row in rows if keys[row["id"]] not in store]
    with Progress() as progress, ThreadPoolExecutor(threads) as pool:
        asked = {pool.submit(ask, engines.of(row), row, engines.answerable(row)): row for row in missing}
        try:
            for future in as_completed(asked):
                row = asked[future]
                about = {"item": row["id"], "content": digest(row), "setting": engines.setting(row)}
                store.add(keys[row["id"]], {**about, **future.result()})
                progress("ask", len(rows) - len(missing) + sum(map(_is_done, asked)), len(rows))
        finally:
            pool.shutdown(cancel_futures=True)
    return [store[keys[row["id"]]] for row in rows]


def _is_done(future: Any) -> bool:
    return bool(future.done())


def result_of(records: Sequence[Record], model: str) -> dict[str, Any]:
    """The measures with 95 % intervals, of all questions and of each kind, and the number lost at each stage."""
    return {"model": model, **_summary(records), "kinds": {k: _summary(r) for k, r in _by_kind(records)}}


def _by_kind(records: Sequence[Record]) -> Iterator[tuple[str, list[Record]]]:
    for kind in dict.fromkeys(record["kind"] for record in records):
        yield kind, [record for record in records if record["kind"] == kind]


def _summary(records: Sequence[Record]) -> dict[str, Any]:
    refused = [record["measures"]["refused"] == 1.0 for record in records]
    unanswerable = [not record["answerable"] for record in records]
    return {
        "n": len(records),
        "not_answered": sum("reason" in record for record in records),
        **{name: estimate(measure_values(records, name)) for name in ("right", "page", "retrieved", "seconds")},
        "refusal": precision_recall(refused, unanswerable),
        "stages": dict(Counter(record["stage"] for record in records if "stage" in record).most_common()),
    }


def show(result: dict[str, Any]) -> None:
    """Print a line for all questions and for each kind, and where answers are lost."""
    from rich.console import Console
    from rich.table import Table

    title = f"{result['model']}: answers about manuals; % (95 %)"
    columns = ("questions", "n", "right", "page", "retrieved", "refusal precision", "refusal recall", "s")
    table = Table(*columns, title=title, title_justify="left")
    for name, part in {"all": result, **result["kinds"]}.items():
        measures = [percent(part[key]) for key in ("right", "page", "retrieved")]
        measures += [percent(part["refusal"][key]) for key in ("precision", "recall")]
        table.add_row(name, str(part["n"]), *measures, f"{part['seconds']['value']:.1f}" if part["seconds"] else "-")
    console = Console()
    console.print(table)
    if result["not_answered"]:
        console.print(f"{result['not_answered']} questions are too long for the model, and count as not answered.")
    console.print("answerable questions by stage:", ", ".join(f"{k} {v}" for k, v in result["stages"].items()))


def command(
    model: Annotated[str, typer.Option(help="As --model of egosrag.")],
    pages: Annotated[list[Path] | None, typer.Option(help="Documents; repeatable. The sample manuals if none.")] = None,
    questions: Annotated[Path | None, typer.Option(help="JSON list or JSONL of questions about them.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Questions of each manual and kind.")] = None,
    hold_out: Annotated[
        int, typer.Option(min=0, help="Ask every so many-th question without the document that answers it; 0: none.")
    ] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Questions asked at once.")] = 1,
    records: Annotated[Path | None, typer.Option(help="JSONL of the answers, to resume from.")] = None,
    max_new_tokens: MaxNewTokens = 256,
    as_json: AsJson = False,
) -> None:
    """Ask about manuals: right, refused, on the right page, and where answers are lost."""
    if bool(pages) != bool(questions):
        raise SettingsError("give --pages and --questions both, or neither for the sample manuals")
    manuals = [load_manual(questions.stem, pages, questions)] if pages and questions else samples()
    spec = ModelSpec(model, sampling=Sampling(max_new_tokens))
    found = evaluate(manuals, spec, limit=limit, hold_out=hold_out, threads=threads, records=records)
    finish(result_of(found, model), show, as_json, (records, None))


if __name__ == "__main__":
    run(command)
