"""The judge: any LangChain chat model, asked k times in both orders; and a run of it over many cases."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from langchain_core.language_models import BaseChatModel

from egosrag.errors import EgosRagError, SettingsError, WindowError
from evals.common import experiment
from evals.common.records import Records
from evals.judge.cases import LETTERS, MODES, Case, prompt_of
from evals.judge.verdict import Judgement, Sample, judge, read_verdict


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
    missing = [str(n) for n, key in enumerate(keys) if key not in records]
    failed: list[EgosRagError] = []

    def evaluator(inputs: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
        if failed:  # LangSmith goes on after an error; a model that is away would be asked for every row
            return {"results": []}
        n = int(inputs["id"])
        try:
            with experiment.untraced():
                found = judge_(work[n][1])
        except EgosRagError as error:
            failed.append(error)
            return {"results": []}
        records.add(keys[n], asdict(found))
        return experiment.feedback_of({judge_.mode: found.scores[0] if found.scores else None})

    if missing:
        print(f"judging {len(missing)} of {len(keys)}, the others are judged already", file=sys.stderr)
        # The answers are in the rows, so LangSmith's target only names the row.
        rows = experiment.Dataset("judge", [{"id": str(n)} for n in range(len(work))])
        experiment.evaluate(rows, judge_.mode, missing, lambda inputs: inputs, evaluator, False)
    if failed:
        raise failed[0]
    return [(name, case, judgement_of(records[key])) for key, (name, case) in zip(keys, work, strict=True)]


def judgement_of(record: dict[str, Any]) -> Judgement:
    """A judgement as its record has it."""
    values = {key: record[key] for key in ("reason", "outcome", "conflict", "lead", "doubt")}
    samples = tuple(Sample(**(s | {"values": s["values"] and tuple(s["values"])})) for s in record["samples"])
    return Judgement(samples, record["scores"] and tuple(record["scores"]), **values)
