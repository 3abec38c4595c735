"""An evaluation as LangSmith has it, dataset + target + scorer: offline unless it is asked to upload.

What a target gave and a scorer found is kept in JSONL as soon as it is there, so that a killed run goes on where it
was; LangSmith gets the same rows as a dataset, and the run as an experiment with its traces.
"""

from __future__ import annotations

import io
import os
import sys
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from egosrag.console import Progress
from egosrag.errors import SettingsError
from evals.common.records import Record, Records
from evals.push import REFERENCES, example_id, push, splits_of

Target = Callable[[Record], Record]
Scorer = Callable[[Record, Record], dict[str, Any]]  # (row, outputs) to measures


@dataclass(frozen=True)
class Dataset:
    """Rows with an ``id`` each; ``references`` names the fields that the target must not see."""

    name: str
    rows: Sequence[Record]
    references: tuple[str, ...] = ()
    _by_id: dict[str, Record] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._by_id.update((row["id"], row) for row in self.rows)
        if len(self._by_id) < len(self.rows):
            raise SettingsError(f"the rows of {self.name} do not have an id each: give every row its own")

    def row(self, row_id: str) -> Record:
        """The row of that id."""
        return self._by_id[row_id]


def digest(*parts: Any) -> str:
    """Changes with what the parts hold."""
    return sha256(repr(parts).encode()).hexdigest()[:12]


def name_of(base: str, rows: Sequence[Record], own: Sequence[Record]) -> str:
    """The name of a dataset: ``base`` for our own rows, and one of their own for others, so that none replaces ours."""
    return base if list(rows) == list(own) else f"{base}-{digest(*rows)}"


def weights(name: str) -> list[tuple[str, int, int]]:
    """What tells a folder's weights from later ones under the same name; empty where it is no folder."""
    found = sorted(Path(name).glob("*.safetensors")) if Path(name).is_dir() else []
    return [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in found]


def run(
    dataset: Dataset,
    who: str,
    target: Target,
    scorer: Scorer,
    kept: Records,
    progress: Progress,
    *,
    made_of: str = "",
    only: Sequence[str] | None = None,
    upload: bool = False,
) -> list[Record]:
    """Runs ``target`` on what ``kept`` does not hold yet, scores it and keeps it.

    Args:
        dataset: the rows.
        who: the model or system that answers; the name of the experiment.
        target: a row without its references to outputs; loads what it needs at its first call.
        scorer: a row and its outputs to measures, numbers or None.
        kept: where the records are.
        progress: is told how far it is.
        made_of: what else the outputs depend on, beside the row.
        only: the ids of the rows to run; all of them by default.
        upload: whether LangSmith gets the dataset, the experiment and its traces.

    Returns:
        The records, ``{"who", "item", ...outputs, "measures"}``, in the order of the rows.

    Raises:
        Exception: the first one of the target or scorer; what was done by then is kept.
    """
    ids = list(only) if only is not None else [row["id"] for row in dataset.rows]
    keys = {i: (who, i, digest(made_of, dataset.row(i))) for i in ids}
    missing = [i for i in ids if keys[i] not in kept]
    failed: list[Exception] = []
    told = sys.stderr  # LangSmith's own progress bar goes nowhere: ours tells it better

    def answered(inputs: dict[str, Any]) -> dict[str, Any]:
        if failed:  # LangSmith goes on after an error; a model that is away would be asked for every row
            return {}
        try:
            with redirect_stderr(told), nullcontext() if upload else untraced():
                return target(inputs)
        except Exception as error:
            failed.append(error)
            return {}

    def scored(inputs: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
        if failed or not outputs:
            return {"results": []}
        row_id = inputs["id"]
        try:
            with redirect_stderr(told), untraced():
                measures = scorer(dataset.row(row_id), outputs)
        except Exception as error:
            failed.append(error)
            return {"results": []}
        kept.add(keys[row_id], {"who": who, "item": row_id, **outputs, "measures": measures})
        with redirect_stderr(told):
            progress(who, sum(keys[i] in kept for i in ids), len(ids))
        return feedback_of(measures)

    if missing:
        evaluate(dataset, who, missing, answered, scored, upload)
    if failed:
        raise failed[0]
    return [kept[keys[i]] for i in ids]


def publish(
    base: str, who: str, rows: Sequence[Record], outputs: Sequence[Record], measures: Sequence[Mapping[str, Any]]
) -> None:
    """Sends a finished run to LangSmith: its rows as a dataset, what came of them as an experiment on it.

    For evaluations that score many rows in one pass, where no row has a trace of its own. The dataset's name ends in
    the digest of its rows, so that runs on the same rows stand beside each other.

    Args:
        base: what the dataset's name begins with.
        who: the model or system; the name of the experiment.
        rows: what was measured on, with an ``id`` each.
        outputs: what came of each row.
        measures: the numbers of each row.

    Raises:
        SettingsError: there is no key, or LangSmith does not take it.
    """
    dataset = Dataset(f"{base}-{digest(*rows)}", rows, REFERENCES)
    found = {row["id"]: pair for row, *pair in zip(rows, outputs, measures, strict=True)}
    evaluate(
        dataset,
        who,
        list(found),
        lambda inputs: found[inputs["id"]][0],
        lambda inputs, outputs: feedback_of(found[inputs["id"]][1]),
        True,
    )


def feedback_of(measures: Mapping[str, Any]) -> dict[str, Any]:
    """Measures as LangSmith takes them; those that are None are left out."""
    return {"results": [{"key": key, "score": value} for key, value in measures.items() if value is not None]}


def untraced() -> AbstractContextManager[None]:
    """LangSmith traces inside an evaluation to the evaluation's client: offline there is nobody at its address."""
    from langsmith import tracing_context

    return tracing_context(enabled=False, parent=False)


def client() -> Any:
    """LangSmith's client, with the key of the environment.

    Raises:
        SettingsError: there is no key.
    """
    from langsmith import Client

    if not os.environ.get("LANGSMITH_API_KEY"):
        raise SettingsError("no key for LangSmith: set LANGSMITH_API_KEY in the environment, or leave out --upload")
    return Client()


def evaluate(
    dataset: Dataset, who: str, missing: list[str], answered: Any, scored: Callable[..., dict[str, Any]], upload: bool
) -> None:
    """``langsmith.evaluate`` on the rows of these ids, one after the other.

    Args:
        dataset: the rows.
        who: the name of the experiment.
        missing: the ids of the rows to run.
        answered: the target.
        scored: the evaluator.
        upload: whether LangSmith gets dataset, experiment and traces; otherwise nothing leaves the process.

    Raises:
        SettingsError: LangSmith does not take it.
        RuntimeError: the evaluator raised.
    """
    from langsmith import Client
    from langsmith import evaluate as run_evaluation

    if upload:
        there = client()
        version = push(there, dataset.name, dataset.rows, dataset.references)
        wanted = {example_id(dataset.name, row_id) for row_id in missing}
        found = there.list_examples(dataset_name=dataset.name, as_of=version)
        data = [example for example in found if example.id in wanted]
    else:
        # The address is nobody's: with nothing to upload the client is only passed on.
        there = Client(api_url="http://127.0.0.1:9", api_key="none", auto_batch_tracing=False)
        data = [_example(dataset, row_id) for row_id in missing]
    said = io.StringIO()  # standard output is for the results
    with redirect_stdout(said), redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="'upload_results' parameter is in beta")
        rows = run_evaluation(
            answered,
            data=data,
            evaluators=[scored],
            client=there,
            upload_results=upload,
            experiment_prefix=f"{dataset.name} {who}",
            max_concurrency=0,
        )
        for row in rows:
            for result in row["evaluation_results"]["results"]:
                if (result.extra or {}).get("error"):
                    raise RuntimeError(result.comment)
    if upload:
        there.flush()
        print(said.getvalue().strip(), file=sys.stderr)


def _example(dataset: Dataset, row_id: str) -> Any:
    from langsmith.schemas import Example

    inputs, outputs = splits_of(dataset.row(row_id), dataset.references)
    return Example(
        id=example_id(dataset.name, row_id), dataset_id=uuid.UUID(int=0), inputs=dict(inputs), outputs=dict(outputs)
    )


def measured(records: Sequence[Mapping[str, Any]], name: str) -> list[float | None]:
    """One measure of each record, None where it has none."""
    return [record["measures"].get(name) for record in records]
