"""The judge's prompt: the rules, the examples that a person labelled, then the case.

Text under judgement is escaped: each of its lines begins with ``> ``, so it cannot open a line of the prompt, and its
double brackets are separated, so that a judge who quotes it does not repeat a verdict written in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from langchain_core.messages import BaseMessage

from egosrag.prompts import load
from egosrag.text.language import language_of
from evals.judge.cases import LETTERS, Case

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


def escape(text: str) -> str:
    """``text`` as the judge reads it: quoted line by line, unable to give a verdict or to hide anything."""
    lines = (_CONTROL.sub("", line).rstrip() for line in text.splitlines() or [""])
    # Brackets last: removing control characters may have joined two of them.
    return re.sub(r"\[(?=\[)", "[ ", "".join("\n> " + line for line in lines))


def judge_prompt(
    mode: str, case: Case, swapped: bool, criteria: str = "", examples: Sequence[Case] = ()
) -> list[BaseMessage]:
    """The messages to the judge.

    Args:
        mode: ``score`` (one answer), ``pair`` (two) or ``rank`` (two or more).
        case: What to judge.
        swapped: The other order: reference after the answer, second answer first, answers from last to first.
        criteria: What to judge by, in words; empty leaves it to the judge.
        examples: Cases with labels.
    """
    language = _language(case)
    rules, question, _ = _render(mode, case, swapped, criteria, language)
    labelled = [m for example in examples for m in _render(mode, example, swapped, criteria, language)[1:]]
    return [rules, *labelled, question]


def verdict_beginning(mode: str, case: Case) -> str:
    """How a judge's last line begins: the prompt file's, up to the first score ("Scores: [[A=").

    Args:
        mode: As of :func:`judge_prompt`.
        case: What is judged, whose language is the prompt's.
    """
    (*_, (_, reply)) = load(f"judge_{mode}", _language(case)).parts
    return reply.template.rstrip("\n").rpartition("\n")[2].partition("$")[0]


def _language(case: Case) -> str:
    return language_of(case.question + " ".join(case.answers.values()))


def _render(mode: str, case: Case, swapped: bool, criteria: str, language: str) -> list[BaseMessage]:
    """The prompt file filled with the case: rules, question, and the verdict of its label (empty without one)."""
    names = list(case.answers)
    order = names[::-1] if swapped else names
    reference = escape(case.reference) if case.reference.strip() else ""
    values = {
        "question": escape(case.question),
        "criteria": criteria,
        "why": " ".join(case.label.get("why", "").split()),
    }
    scores = {name: str(score) for name, score in case.label.get("scores", {}).items()}
    if mode == "score":
        values |= {"reference_first": "" if swapped else reference, "reference_last": reference if swapped else ""}
        values |= {"answer": escape(case.answers[names[0]]), "score": scores.get(names[0], "")}
    elif mode == "pair":
        first, second = order
        values |= {"reference": reference, "first": escape(case.answers[first]), "second": escape(case.answers[second])}
        values |= {"score_first": scores.get(first, ""), "score_second": scores.get(second, "")}
    else:
        letters = LETTERS[: len(order)]
        answer = load("judge_answer", language)
        blocks = (answer.text(letter=x, answer=escape(case.answers[n])) for x, n in zip(letters, order, strict=True))
        ranked = " > ".join(letters[order.index(name)] for name in case.label.get("order", ()))
        form = " > ".join((*letters[1:], letters[0]))
        values |= {"reference": reference, "answers": "\n".join(blocks), "order": ranked, "form": form}
    return load(f"judge_{mode}", language).messages(**values)
