"""An evaluation as LangSmith defines it: dataset, target and scorer. Nothing is sent anywhere without ``upload``.

Each row's outputs and measures are written to a JSONL of records at once, so that an interrupted run resumes. With
``upload`` LangSmith gets the same rows as a dataset, and the run as an experiment with its traces.
"""

from __future__ import annotations

import io
import sys
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from egosrag.console import Progress
from egosrag.errors import SettingsError
from evals.common import langsmith
from evals.common.records import Record, Records

Target = Callable[[Record], Record]  # inputs of a row → outputs
Scorer = Callable[[Record, Record], dict[str, Any]]  # (row, outputs) → measures


@dataclass(frozen=True)
class Dataset:
    """Rows with an ``id`` each; ``references`` names the fields that the target must not see."""

    name: str
    rows: Sequence[Record]
    references: tuple[str, ...] = ()
    _by_id: dict[str, Record] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        for row in self.rows:
            if row["id"] in self._by_id:
                raise SettingsError(f"rows of {self.name} share the id {row['id']}: give every row its own")
            self._by_id[row["id"]] = row

    def row(self, row_id: str) -> Record:
        """The row with that id."""
        return self._by_id[row_id]


def digest(*parts: Any) -> str:
    """A short hash of the parts' ``repr``."""
    return sha256(repr(parts).encode()).hexdigest()[:12]


def dataset_name(base: str, rows: Sequence[Record], own: Sequence[Record]) -> str:
    """``base`` for the project's own rows, else ``base`` with the rows' digest, so that they do not replace ours."""
    return base if list(rows) == list(own) else f"{base}-{digest(*rows)}"


def run(
    dataset: Dataset,
    system: str,
    target: Target,
    scorer: Scorer,
    records: Records,
    progress: Progress,
    *,
    made_of: str = "",
    only: Sequence[str] | None = None,
    upload: bool = False,
) -> list[Record]:
    """Run ``target`` on the rows that ``records`` does not have yet, score the outputs and record them.

    Args:
        dataset: The rows.
        system: The model or system that answers; the name of the experiment.
        target: Inputs of a row (without its references) to outputs; loads what it needs at its first call.
        scorer: A row and its outputs to measures, numbers or None.
        records: Receives the records.
        progress: Called after each row.
        made_of: What the outputs depend on beside the row, such as the digest of the model's weights.
        only: Ids of the rows to run; by default all.
        upload: Send the dataset, the experiment and its traces to LangSmith.

    Returns:
        The records, ``{"who": system, "item": row id, "content": digest of the row, "setting": ``made_of``, ...outputs,
        "measures"}``, in the order of the rows.

    Raises:
        Exception: The first error of the target or the scorer; what was recorded until then stays.
    """
    ids = list(only) if only is not None else [row["id"] for row in dataset.rows]
    keys = {i: (system, i, digest(made_of, dataset.row(i))) for i in ids}
    missing = [i for i in ids if keys[i] not in records]

    def record(row_id: str, outputs: Record, measures: dict[str, Any]) -> None:
        about = {"who": system, "item": row_id, "content": digest(dataset.row(row_id)), "setting": made_of}
        records.add(keys[row_id], {**about, **outputs, "measures": measures})
        progress(system, sum(keys[i] in records for i in ids), len(ids))

    if missing:
        steps = _Steps(dataset, target, scorer, record, traced=upload)
        evaluate(dataset, system, missing, steps.answer, steps.score, upload)
        if steps.error:
            raise steps.error
    return [records[keys[i]] for i in ids]


class _Steps:
    """Target and scorer as LangSmith calls them, until the first error.

    LangSmith continues after an error: a model that cannot be reached would be asked for every row.
    """

    def __init__(
        self,
        dataset: Dataset,
        target: Target,
        scorer: Scorer,
        record: Callable[[str, Record, dict[str, Any]], None],
        *,
        traced: bool,
    ) -> None:
        self.error: Exception | None = None
        self._dataset, self._target, self._scorer, self._record = dataset, target, scorer, record
        self._traced = traced
        self._stderr = sys.stderr  # ``evaluate`` hides LangSmith's own progress bar there: ours is shown

    def answer(self, inputs: Record) -> Record:
        if self.error:
            return {}
        try:
            with redirect_stderr(self._stderr), nullcontext() if self._traced else untraced():
                return self._target(inputs)
        except Exception as error:
            self.error = error
            return {}

    def score(self, inputs: Record, outputs: Record) -> dict[str, Any]:
        if self.error or not outputs:
            return {"results": []}
        try:
            with redirect_stderr(self._stderr), untraced():
                measures = self._scorer(self._dataset.row(inputs["id"]), outputs)
        except Exception as error:
            self.error = error
            return {"results": []}
        with redirect_stderr(self._stderr):
            self._record(inputs["id"], outputs, measures)
        return feedback(measures)


def publish(
    base: str, system: str, rows: Sequence[Record], outputs: Sequence[Record], measures: Sequence[Mapping[str, Any]]
) -> None:
    """Send a finished run to LangSmith: its rows as a dataset, its outputs and measures as an experiment.

    For evaluations that score many rows in one pass, where no row has a trace of its own. The dataset's name ends in
    the digest of its rows, so that runs on the same rows are listed together.

    Args:
        base: Beginning of the dataset's name.
        system: The model or system; the name of the experiment.
        rows: The rows, with an ``id`` each.
        outputs: The outputs of each row.
        measures: The numbers of each row.

    Raises:
        SettingsError: LANGSMITH_API_KEY is not set, or LangSmith does not accept the run.
    """
    dataset = Dataset(f"{base}-{digest(*rows)}", rows, langsmith.REFERENCES)
    results = {row["id"]: pair for row, *pair in zip(rows, outputs, measures, strict=True)}
    evaluate(
        dataset,
        system,
        list(results),
        lambda inputs: results[inputs["id"]][0],
        lambda inputs, outputs: feedback(results[inputs["id"]][1]),
        True,
    )


def feedback(measures: Mapping[str, Any]) -> dict[str, Any]:
    """Measures as LangSmith's evaluator returns them, without those that are None."""
    return {"results": [{"key": key, "score": value} for key, value in measures.items() if value is not None]}


def untraced() -> AbstractContextManager[None]:
    """No tracing: inside an evaluation LangSmith traces to the evaluation's client, which offline has no server."""
    from langsmith import tracing_context

    return tracing_context(enabled=False, parent=False)


def evaluate(
    dataset: Dataset,
    system: str,
    missing: list[str],
    answer: Callable[[Record], Record],
    score: Callable[..., dict[str, Any]],
    upload: bool,
) -> None:
    """``langsmith.evaluate`` on the rows of these ids, one after the other.

    Args:
        dataset: The rows.
        system: The name of the experiment.
        missing: Ids of the rows to run.
        answer: The target.
        score: The evaluator.
        upload: Send dataset, experiment and traces to LangSmith; without it nothing leaves the process.

    Raises:
        SettingsError: LangSmith does not accept it.
        RuntimeError: The evaluator raised.
    """
    from langsmith import evaluate as run_evaluation

    client, data = _uploaded(dataset, missing) if upload else _offline(dataset, missing)
    printed = io.StringIO()  # standard output is for the results
    with redirect_stdout(printed), redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="'upload_results' parameter is in beta")
        rows = run_evaluation(
            answer,
            data=data,
            evaluators=[score],
            client=client,
            upload_results=upload,
            experiment_prefix=f"{dataset.name} {system}",
            max_concurrency=0,
        )
        for row in rows:
            for result in row["evaluation_results"]["results"]:
                if (result.extra or {}).get("error"):
                    raise RuntimeError(result.comment)
    if upload:
        client.flush()
        print(printed.getvalue().strip(), file=sys.stderr)


def _uploaded(dataset: Dataset, row_ids: Sequence[str]) -> tuple[Any, list[Any]]:
    """LangSmith's client, and the examples of the rows in the dataset that it pushed."""
    client = langsmith.client()
    version = langsmith.push(client, dataset.name, dataset.rows, dataset.references)
    expected = {langsmith.example_id(dataset.name, row_id) for row_id in row_ids}
    examples = client.list_examples(dataset_name=dataset.name, as_of=version)
    return client, [example for example in examples if example.id in expected]


def _offline(dataset: Dataset, row_ids: Sequence[str]) -> tuple[Any, list[Any]]:
    """A client without a server (nothing listens at its address), and the rows as examples."""
    from langsmith import Client

    client = Client(api_url="http://127.0.0.1:9", api_key="none", auto_batch_tracing=False)
    return client, [_example(dataset, row_id) for row_id in row_ids]


def _example(dataset: Dataset, row_id: str) -> Any:
    from langsmith.schemas import Example

    inputs, outputs = langsmith.split_row(dataset.row(row_id), dataset.references)
    return Example(
        id=langsmith.example_id(dataset.name, row_id), dataset_id=uuid.UUID(int=0), inputs=inputs, outputs=outputs
    )
