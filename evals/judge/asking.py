"""Asking the judge: any LangChain chat model, k times in both orders; and a run over many cases, resumable."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from langchain_core.language_models import BaseChatModel

from egosrag.errors import SettingsError, WindowError
from egosrag.models.continuation import continue_prefix, supports_prefix
from evals.common import experiment
from evals.common.models import ModelSpec, Sampling, weight_files
from evals.common.records import Records
from evals.judge.cases import LETTERS, MODES, Case, load_cases, split_answers
from evals.judge.prompt import judge_prompt, verdict_beginning
from evals.judge.verdict import Judgement, Sample, combine, parse_verdict

_VERDICT_TOKENS = 32  # of a verdict that is begun for the judge


class Result(NamedTuple):
    """A judged case; ``name`` is the answer's in mode ``score``, which judges each answer on its own, else ""."""

    name: str
    case: Case
    judgement: Judgement


@dataclass(frozen=True)
class JudgeOptions:
    """How a judge is asked.

    Attributes:
        model: The judge's name; sample it (temperature 0.6 to 1), or all k explanations are the same.
        k: Explanations for each order.
        temperature: Of its samples.
        max_new_tokens: Of one explanation with its verdict.
        criteria: What to judge by, in words.
        examples: JSONL of cases that a person labelled, shown in the prompt.
    """

    model: str = "pocket"
    k: int = 3
    temperature: float = 1.0
    max_new_tokens: int = 512
    criteria: str = ""
    examples: Path | None = None

    def load(self) -> BaseChatModel:
        """The model.

        Raises:
            ModelError: It cannot be loaded.
        """
        return ModelSpec(self.model, sampling=Sampling(self.max_new_tokens, self.temperature)).loaded


@dataclass(frozen=True)
class Judge:
    """Judges cases with a chat model (report 6.3.1).

    Args:
        model: The judge.
        mode: ``score`` (one answer, 0 to 100), ``pair`` (two answers) or ``rank`` (two or more, n-1 to 0 points).
        k: Explanations for each order.
        criteria: What to judge by, in words.
        examples: Cases that a person labelled, shown in the prompt.

    Raises:
        SettingsError: The mode is unknown, k is below 1, or an example has no label for the mode.
    """

    model: BaseChatModel
    mode: str = "score"
    k: int = 3
    criteria: str = ""
    examples: tuple[Case, ...] = ()

    def __post_init__(self) -> None:
        check_mode(self.mode)
        if self.k < 1:
            raise SettingsError(f"k is {self.k}: ask the judge at least once")
        for example in self.examples:
            named = example.label.get("order" if self.mode == "rank" else "scores", ())
            if set(named) != set(example.answers):
                raise SettingsError(
                    f"example {example.id} has no label for {self.mode}: make it with evals.judge label"
                )

    def __call__(self, case: Case) -> Judgement:
        """Ask k times with the answers in the given order, then k times in the other order.

        Raises:
            SettingsError: The mode does not judge this number of answers.
            ModelError: The model cannot answer; a prompt that exceeds its window is an unscored sample instead.
        """
        check_answers(self.mode, case)
        # A single answer without a reference has no other order.
        orders = (False,) if self.mode == "score" and not case.reference.strip() else (False, True)
        return combine([self._ask(case, swapped) for swapped in orders for _ in range(self.k)])

    def _ask(self, case: Case, swapped: bool) -> Sample:
        messages = judge_prompt(self.mode, case, swapped, self.criteria, self.examples)
        try:
            text = str(self.model.invoke(messages).text)
            sample = parse_verdict(self.mode, text, len(case.answers), swapped)
            if sample.values is not None or not text.strip() or not supports_prefix(self.model):
                return sample
            # A small judge explains and forgets the verdict, or spends its tokens before it: it is begun for it.
            begun = f"{text.rstrip()}\n{verdict_beginning(self.mode, case)}"
            pieces = continue_prefix(self.model, messages, begun, stop=["]]"], max_new_tokens=_VERDICT_TOKENS)
            verdict = "".join(str(piece.text) for piece in pieces)
        except WindowError as error:
            return Sample(swapped, None, f"the case does not fit the judge: {error}", "")
        return parse_verdict(self.mode, f"{begun}{verdict}]]", len(case.answers), swapped)


def check_mode(mode: str) -> None:
    """Check that there is such a mode.

    Raises:
        SettingsError: There is none.
    """
    if mode not in MODES:
        raise SettingsError(f"there is no mode {mode}: give one of {', '.join(MODES)}")


def check_answers(mode: str, case: Case) -> None:
    """Check the number of answers: one for ``score``, two for ``pair``, two or more for ``rank``.

    Raises:
        SettingsError: The mode does not judge this number of answers.
    """
    n = len(case.answers)
    if not {"score": n == 1, "pair": n == 2, "rank": 2 <= n <= len(LETTERS)}[mode]:
        raise SettingsError(f"row {case.id} has {n} answers: that is not for mode {mode}")


def units(mode: str, cases: Sequence[Case]) -> list[tuple[str, Case]]:
    """What is judged one by one, as (name, case): in mode ``score`` each answer, else each case.

    Raises:
        SettingsError: There is no such mode.
    """
    check_mode(mode)
    if mode == "score":
        return [unit for case in cases for unit in split_answers(case)]
    return [("", case) for case in cases]


def judge_cases(
    mode: str,
    cases: Sequence[Case],
    options: JudgeOptions,
    *,
    records: Path | None = None,
    model: BaseChatModel | None = None,
) -> list[Result]:
    """Judge cases with the model of a name; judgements that ``records`` already has are not asked again.

    Args:
        mode: ``score``, ``pair`` or ``rank``.
        cases: What to judge; in mode ``score`` each answer on its own.
        options: The judge.
        records: JSONL of the judgements, to resume from.
        model: The loaded judge, for several calls that share it (as they must share a script).

    Raises:
        EgosRagError: The model, the data or an example is not usable; what was judged until then is recorded.
    """
    examples = tuple(load_cases(options.examples)) if options.examples else ()
    made_from = {
        "mode": mode,
        "model": options.model,
        "k": options.k,
        "temperature": options.temperature,
        "max_new_tokens": options.max_new_tokens,
        "criteria": options.criteria,
        "examples": sha256(repr(examples).encode()).hexdigest()[:16] if examples else "",
    }
    # Other judges (pocket, servers, names of the hub) have no weight files, and the records of earlier runs go on.
    if files := weight_files(options.model):
        made_from["files"] = files
    for _, case in units(mode, cases):
        check_answers(mode, case)
    store = Records(records, made_from)  # before the model is loaded: the file may be that of another judge
    return run(Judge(model or options.load(), mode, options.k, options.criteria, examples), cases, store)


def run(judge: Judge, cases: Sequence[Case], records: Records) -> list[Result]:
    """Judge what ``records`` does not have yet; nothing is traced.

    Args:
        judge: The judge.
        cases: What to judge; in mode ``score`` each answer on its own.
        records: Receives every judgement at once.

    Returns:
        The results in the order of the cases.

    Raises:
        EgosRagError: The judge cannot continue; what was judged until then is recorded.
    """
    work = units(judge.mode, cases)
    keys = [(case.id, name, case.digest) for name, case in work]
    missing = [n for n, key in enumerate(keys) if key not in records]
    if missing:
        print(f"judging {len(missing)} of {len(keys)}; the others are already judged", file=sys.stderr)
        for n in missing:
            with experiment.untraced():
                records.add(keys[n], asdict(judge(work[n][1])))
    return [Result(name, case, judgement_of(records[key])) for key, (name, case) in zip(keys, work, strict=True)]


def judgement_of(record: dict[str, Any]) -> Judgement:
    """A record as a judgement."""
    values = {key: record[key] for key in ("reason", "outcome", "conflict", "lead", "doubt")}
    samples = tuple(Sample(**(s | {"values": s["values"] and tuple(s["values"])})) for s in record["samples"])
    return Judgement(samples, record["scores"] and tuple(record["scores"]), **values)


def publish(mode: str, model: str, results: Sequence[Result]) -> None:
    """Send judgements to LangSmith: the cases as a dataset, the judge's scores as an experiment.

    Raises:
        SettingsError: LANGSMITH_API_KEY is not set, or LangSmith does not accept the run.
    """
    rows, measures = [], []
    for name, case, judged in results:
        row = {"id": f"{case.id}/{name}" if name else case.id, "question": case.question, "answers": dict(case.answers)}
        rows.append(row | {"reference": case.reference, "human": case.human})
        scores = zip(case.answers, judged.scores or (), strict=False)
        measures.append(
            {mode if name else f"{mode} {answer}": score for answer, score in scores} | {"doubt": judged.doubt}
        )
    outputs = [asdict(result.judgement) for result in results]
    experiment.publish(f"egosrag-judge-{mode}", model, rows, outputs, measures)
