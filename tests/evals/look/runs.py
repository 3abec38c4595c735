"""A folder of runs as the commands write it: results of the evaluations' own summaries, and records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import evals.chatbot.questions
import evals.chatbot.report
import evals.chatbot.scorer
import evals.ppl.report
import evals.rag.questions
import evals.rag.report
import evals.rag.scorer
import evals.roleplay.cases
import evals.roleplay.report
import evals.roleplay.scorer
from evals.common.records import Records
from evals.judge.asking import Judge, run
from evals.judge.cases import Case, case_of
from evals.rag.systems import WITH, WITHOUT
from tests.evals.judge.fakes import ReadingJudge

ANSWERS = [
    {"id": f"q{n}", "question": f"Question {n}?", "answers": {"ours": f"good {n}", "theirs": f"bad {n}"}}
    for n in range(4)
]


def cases() -> list[Case]:
    return [case_of(row, "") for row in ANSWERS]


def write_runs(folder: Path) -> Path:
    """Write a result and the records of every evaluation with a transcript; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, hits in {"base": 6, "sft": 9}.items():
        _ppl(folder, name, hits)
    _roleplay(folder)
    _rag(folder)
    _chatbot(folder)
    _judge(folder)
    (folder / "notes.json").write_text('{"nothing": "of ours"}', encoding="utf-8")
    (folder / "broken.jsonl").write_text("{", encoding="utf-8")
    return folder


def _save(folder: Path, name: str, result: Any) -> None:
    (folder / name).write_text(json.dumps(result, ensure_ascii=False) + "\n", encoding="utf-8")


def _ppl(folder: Path, name: str, hits: int) -> None:
    plain = {"group": "", "gold": 1, "acc": 1, "acc_norm": 1, "fewer_shots": False, "cut": False, "tokens": [3, 3]}
    rows = [plain | {"row": n, "prediction": int(n < hits), "whole": [2.5, 1.5]} for n in range(10)]
    result = {
        task: evals.ppl.report.summary(rows, suffix=False, prompts="opencompass") for task in ("mmlu", "arc_easy")
    }
    _save(folder, f"{name}.json", result)
    records = Records(folder / f"{name}.jsonl", {"model": name, "prompts": "opencompass", "data": {}})
    for row in rows:
        records.add(("mmlu", row["row"]), row)


def _roleplay(folder: Path) -> None:
    row = evals.roleplay.cases.load_rows(languages=("en",), turns=())[0]
    outputs = {
        "said": row["lines"],
        "replies": [{"text": f"Aye <b>{n}</b>.", "stop_reason": "quote"} for n in row["lines"]],
    }
    outputs |= {"scenes": 0, "simulated": False}
    records, found = Records(folder / "talks" / "roleplay.jsonl", {"evaluation": "roleplay", "user": "script"}), {}
    for who in ("EGOS-Small", "EGOS-wo-Quote"):
        measured = evals.roleplay.scorer.score(row, outputs, evals.roleplay.cases.subject(row["role"]).card.name)
        records.add((who, row["id"], "d"), {"who": who, "item": row["id"], **outputs, "measures": measured})
        found[who] = [records[who, row["id"], "d"]]
    _save(
        folder,
        "roleplay.json",
        evals.roleplay.report.summary([row], found, evals.roleplay.cases.DATA / "replies.jsonl"),
    )


def _rag(folder: Path) -> None:
    manual = evals.rag.questions.samples()[0]
    row = next(r for r in manual.rows if r["answerable"])
    page = int(row["pages"][0]) if row.get("pages") else 1
    cited = {"source": "manual.en.pdf", "page": page, "quote": "a quote", "score": 1.0}
    answered = {"answer": row["reference"], "refused": False, "mode": "generated", "evidence": 0.8, "tokens": 9}
    with_document = answered | {"citations": [cited], "verified_quotes": 1, "queries": [], "seconds": 0.1}
    outputs = {WITH: with_document, WITHOUT: {"answer": "I guess.", "tokens": 3, "seconds": 0.1}}
    records, found = Records(folder / "rag.jsonl", {"evaluation": "rag", "model": "scripted"}), {}
    for who, said in outputs.items():
        records.add(
            (who, row["id"], "d"),
            {"who": who, "item": row["id"], **said, "measures": evals.rag.scorer.score(row, said)},
        )
        found[who] = [records[who, row["id"], "d"]]
    _save(folder, "rag.json", evals.rag.report.result_of(manual.rows, found, "scripted"))


def _chatbot(folder: Path) -> None:
    rows = evals.chatbot.questions.load_rows()[:3]
    records, found = Records(folder / "chatbot.jsonl", {"evaluation": "chatbot"}), {}
    for who in ("pocket", "lora"):
        found[who] = []
        for row in rows:
            said = {"answer": f"{who} says so", "stop_reason": "eos", "tokens": 4, "seconds": 0.1}
            records.add(
                (who, row["id"], "d"),
                {"who": who, "item": row["id"], **said, "measures": evals.chatbot.scorer.score(row, said)},
            )
            found[who].append(records[who, row["id"], "d"])
    _save(folder, "chatbot.json", evals.chatbot.report.summary(rows, found))


def _judge(folder: Path) -> None:
    (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ANSWERS), encoding="utf-8")
    worth = {f"good {n}": 80.0 for n in range(4)} | {f"bad {n}": 40.0 for n in range(4)}
    for mode in ("score", "pair"):
        records = Records(folder / f"judged.{mode}.jsonl", {"mode": mode, "model": "reading"})
        run(Judge(ReadingJudge(worth=worth), mode, 1), cases(), records)
