"""A folder of runs as the commands leave it: results by the evaluations' own summaries, records as they are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evals.chatbot import command as chatbot
from evals.chatbot import data as chatbot_data
from evals.common.records import Records
from evals.judge.ask import Judge, run
from evals.judge.cases import Case, case_of
from evals.ppl.run import summary
from evals.rag import command as rag
from evals.rag import data as rag_data
from evals.rag.measures import measures
from evals.roleplay import command as roleplay
from evals.roleplay import data as roleplay_data
from evals.roleplay.score import score
from tests.evals.judge.fakes import ReadingJudge

ANSWERS = [
    {"id": f"q{n}", "question": f"Question {n}?", "answers": {"ours": f"good {n}", "theirs": f"bad {n}"}}
    for n in range(4)
]


def cases() -> list[Case]:
    return [case_of(row, "") for row in ANSWERS]


def write_runs(folder: Path) -> Path:
    """Writes a result and the records of every evaluation with a transcript; gives the folder."""
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
    result = {task: summary(rows, suffix=False, prompts="opencompass") for task in ("mmlu", "arc_easy")}
    _save(folder, f"{name}.json", result)
    kept = Records(folder / f"{name}.jsonl", {"model": name, "prompts": "opencompass", "data": {}})
    for row in rows:
        kept.add(("mmlu", row["row"]), row)


def _roleplay(folder: Path) -> None:
    row = roleplay_data.load_rows(languages=("en",), turns=())[0]
    outputs = {
        "said": row["lines"],
        "replies": [{"text": f"Aye <b>{n}</b>.", "stop_reason": "quote"} for n in row["lines"]],
    }
    outputs |= {"scenes": 0, "simulated": False}
    kept, found = Records(folder / "talks" / "roleplay.jsonl", {"evaluation": "roleplay", "user": "script"}), {}
    for who in ("EGOS-Small", "EGOS-wo-Quote"):
        measured = score(row, outputs, roleplay_data.subject(row["role"]).card.name)
        kept.add((who, row["id"], "d"), {"who": who, "item": row["id"], **outputs, "measures": measured})
        found[who] = [kept[who, row["id"], "d"]]
    _save(folder, "roleplay.json", roleplay.summary([row], found, roleplay_data.DATA / "replies.jsonl"))


def _rag(folder: Path) -> None:
    one = rag_data.samples()[0]
    row = next(r for r in one.rows if r["answerable"])
    page = int(row["pages"][0]) if row.get("pages") else 1
    cited = {"source": "manual.en.pdf", "page": page, "quote": "a quote", "score": 1.0}
    answered = {"answer": row["reference"], "refused": False, "mode": "generated", "evidence": 0.8, "tokens": 9}
    with_it = answered | {"citations": [cited], "stands": 1, "queries": [], "seconds": 0.1}
    outputs = {rag.WITH: with_it, rag.WITHOUT: {"answer": "I guess.", "tokens": 3, "seconds": 0.1}}
    kept, found = Records(folder / "rag.jsonl", {"evaluation": "rag", "model": "scripted"}), {}
    for who, said in outputs.items():
        kept.add((who, row["id"], "d"), {"who": who, "item": row["id"], **said, "measures": measures(row, said)})
        found[who] = [kept[who, row["id"], "d"]]
    _save(folder, "rag.json", rag.result_of([one], found, "scripted"))


def _chatbot(folder: Path) -> None:
    rows = chatbot_data.load_rows()[:3]
    kept, found = Records(folder / "chatbot.jsonl", {"evaluation": "chatbot"}), {}
    for who in ("pocket", "lora"):
        found[who] = []
        for row in rows:
            said = {"answer": f"{who} says so", "stop_reason": "eos", "tokens": 4, "seconds": 0.1}
            kept.add(
                (who, row["id"], "d"), {"who": who, "item": row["id"], **said, "measures": chatbot.score(row, said)}
            )
            found[who].append(kept[who, row["id"], "d"])
    _save(folder, "chatbot.json", chatbot.summary(rows, found))


def _judge(folder: Path) -> None:
    (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ANSWERS), encoding="utf-8")
    worth = {f"good {n}": 80.0 for n in range(4)} | {f"bad {n}": 40.0 for n in range(4)}
    for mode in ("score", "pair"):
        kept = Records(folder / f"judged.{mode}.jsonl", {"mode": mode, "model": "reading"})
        run(Judge(ReadingJudge(worth=worth), mode, 1), cases(), kept)
