"""The judge: any LangChain chat model, asked k times in both orders; and a run of it over many cases."""

from __future__ import annotations

import io
import sys
import uuid
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, redirect_stdout
from dataclasses import asdict, dataclass
from typing import Any

from langchain_core.language_models import BaseChatModel

from egosrag.errors import EgosRagError, SettingsError, WindowError
from evals.judge_cases import LETTERS, MODES, Case, prompt_of
from evals.judge_verdict import Judgement, Sample, judge, read_verdict
from evals.records import Records


@dataclass(frozen=True)
class Judge:
    """Judges cases with a chat model (report 6.3.1).

    Args:
        model: the judge; sample it (temperature 0.6 to 1), or more than one explanation tells nothing new.
        mode: ``score`` (one answer, 0 to 100), ``pair`` (two answers) or ``rank`` (two or more, n-1 to 0 points).
        k: explanations for each order.
        criteria: what to judge by, in words.
        examples: cases that a person labelled, shown in the prompt.

    Raises:
        SettingsError: the mode is unknown, k is below 1, or an example has no label for the mode.
    """

    model: BaseChatModel
    mode: str = "score"
    k: int = 3
    criteria: str = ""
    examples: tuple[Case, ...] = ()

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise SettingsError(f"there is no mode {self.mode}: give one of {', '.join(MODES)}")
        if self.k < 1:
            raise SettingsError(f"k is {self.k}: ask the judge at least once")
        for example in self.examples:
            named = example.label.get("order" if self.mode == "rank" else "scores", ())
            if set(named) != set(example.answers):
                raise SettingsError(
                    f"example {example.id} has no label for {self.mode}: make it with evals.judge label"
                )

    def __call__(self, case: Case) -> Judgement:
        """Ask k times with the answers as given, then k times in the other order.

        Raises:
            SettingsError: the case has not as many answers as the mode judges.
            ModelError: the model cannot answer; a prompt that does not fit its window is an unscored sample instead.
        """
        n = len(case.answers)
        if not {"score": n == 1, "pair": n == 2, "rank": 2 <= n <= len(LETTERS)}[self.mode]:
            raise SettingsError(f"row {case.id} has {n} answers: that is not for mode {self.mode}")
        # Without a reference a single answer has no other order.
        orders = (False,) if self.mode == "score" and not case.reference.strip() else (False, True)
        return judge([self._ask(case, swapped) for swapped in orders for _ in range(self.k)])

    def _ask(self, case: Case, swapped: bool) -> Sample:
        messages = prompt_of(self.mode, case, swapped, self.criteria, self.examples)
        try:
            text = str(self.model.invoke(messages).text)
        except WindowError as error:
            return Sample(swapped, None, f"the case does not fit the judge: {error}", "")
        return read_verdict(self.mode, text, len(case.answers), swapped)


def single(cases: Sequence[Case]) -> list[tuple[str, Case]]:
    """Each answer as a case of its own, behind the name of who gave it."""
    return [
        (name, Case(case.id, case.question, {name: text}, case.reference, case.human, case.label))
        for case in cases
        for name, text in case.answers.items()
    ]


def run(judge_: Judge, cases: Sequence[Case], records: Records) -> list[tuple[str, Case, Judgement]]:
    """Judges what ``records`` does not hold yet, as a LangSmith evaluation that nothing is uploaded of.

    Args:
        judge_: the judge.
        cases: what to judge; in mode ``score`` each answer on its own.
        records: where every judgement is kept as soon as it is there.

    Returns:
        (name of the answer in mode ``score``, else "", case, judgement) in the order of the cases.

    Raises:
        EgosRagError: the judge cannot go on; what is judged by then is kept.
    """
    work = single(cases) if judge_.mode == "score" else [("", case) for case in cases]
    keys = [(case.id, name, case.digest) for name, case in work]
    missing = [n for n, key in enumerate(keys) if key not in records]
    failed: list[EgosRagError] = []

    def evaluator(inputs: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
        if failed:  # LangSmith goes on after an error; a model that is away would be asked for every row
            return {"key": judge_.mode, "score": None}
        n = inputs["n"]
        try:
            with _untraced():
                found = judge_(work[n][1])
        except EgosRagError as error:
            failed.append(error)
            return {"key": judge_.mode, "score": None}
        records.add(keys[n], asdict(found))
        return {"key": judge_.mode, "score": found.scores[0] if found.scores else None, "comment": found.reason}

    if missing:
        print(f"judging {len(missing)} of {len(keys)}, the others are judged already", file=sys.stderr)
        _evaluate(missing, evaluator)
    if failed:
        raise failed[0]
    return [(name, case, judgement_of(records[key])) for key, (name, case) in zip(keys, work, strict=True)]


def _untraced() -> AbstractContextManager[None]:
    """LangSmith traces inside an evaluation to the evaluation's client: there is nobody at its address."""
    from langsmith import tracing_context

    return tracing_context(enabled=False, parent=False)


def _evaluate(missing: Sequence[int], evaluator: Callable[..., dict[str, Any]]) -> None:
    from langsmith import Client, evaluate
    from langsmith.schemas import Example

    data = [Example(id=uuid.uuid4(), dataset_id=uuid.UUID(int=0), inputs={"n": n}, outputs={}) for n in missing]
    # The address is nobody's: with nothing to upload the client is only passed on.
    client = Client(api_url="http://127.0.0.1:9", api_key="none", auto_batch_tracing=False)
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():  # standard output is for the results
        warnings.filterwarnings("ignore", message="'upload_results' parameter is in beta")
        rows = evaluate(
            _there_already,
            data=data,
            evaluators=[evaluator],
            client=client,
            upload_results=False,
            max_concurrency=0,
        )
    for row in rows:
        for result in row["evaluation_results"]["results"]:
            if (result.extra or {}).get("error"):
                raise RuntimeError(result.comment)


def _there_already(inputs: dict[str, Any]) -> dict[str, Any]:
    """LangSmith's target: the answers are in the rows, so it only names the row."""
    return {"n": inputs["n"]}


def judgement_of(record: dict[str, Any]) -> Judgement:
    """A judgement as its record has it."""
    values = {key: record[key] for key in ("reason", "outcome", "conflict", "lead", "doubt")}
    samples = tuple(Sample(**(s | {"values": s["values"] and tuple(s["values"])})) for s in record["samples"])
    return Judgement(samples, record["scores"] and tuple(record["scores"]), **values)
