"""Data of the mini plan: training rows, questions in the formats of the benchmarks, and a judge's script.

    python -m evals.reproduce.material FOLDER

Sums, colours and opposites: a model of any size has a chance, and nobody's data is copied.
"""

from __future__ import annotations

import csv
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_COLOURS = {"grass": "green", "snow": "white", "coal": "black", "blood": "red", "the sky": "blue", "a lemon": "yellow"}
_COLOURS_ZH = {"草": "绿色", "雪": "白色", "煤": "黑色", "血": "红色", "天空": "蓝色", "柠檬": "黄色"}
_PAIRS = {"hot": "cold", "big": "small", "old": "new", "dark": "light", "high": "low", "fast": "slow"}
_ROWS = 48
_QUESTIONS = 12
# The script gives every answer the same score: it runs the judge, and measures nothing.
_VERDICT = "This line replaces a judge. [[50]]"


def training_rows(rng: random.Random) -> list[dict[str, str]]:
    """Rows in Alpaca's format, in both languages."""
    rows = []
    for n in range(_ROWS):
        a, b = rng.randint(2, 9), rng.randint(2, 9)
        thing, colour = rng.choice(list((_COLOURS_ZH if n % 2 else _COLOURS).items()))
        word, other = rng.choice(list(_PAIRS.items()))
        pairs = [
            (f"What is {a} plus {b}?", f"{a} plus {b} is {a + b}.")
            if n % 2 == 0
            else (f"{a}加{b}等于几？", f"{a}加{b}等于{a + b}。"),
            (f"Which colour has {thing}?", f"As a rule {thing} is {colour}.")
            if n % 2 == 0
            else (f"{thing}是什么颜色？", f"{thing}一般是{colour}。"),
            (f"Give the opposite of {word}.", f"The opposite of {word} is {other}, and the other way round."),
        ]
        pair = pairs[n % 3]
        rows.append({"instruction": pair[0], "input": "", "output": pair[1]})
    return rows


def _choices(rng: random.Random) -> tuple[str, list[str], int]:
    thing, colour = rng.choice(list(_COLOURS.items()))
    options = [colour, *rng.sample([c for c in _COLOURS.values() if c != colour], 3)]
    rng.shuffle(options)
    return thing, options, options.index(colour)


def questions(rng: random.Random) -> dict[str, list[dict[str, Any]]]:
    """Rows of each task except MMLU, as ``evals.ppl`` reads them."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for _ in range(_QUESTIONS):
        thing, options, gold = _choices(rng)
        endings = [f"is {option}." for option in options]
        rows.setdefault("hellaswag", []).append({"ctx": f"Look: {thing}", "endings": endings, "label": gold})
        for task in ("arc_easy", "arc_challenge"):
            thing, options, gold = _choices(rng)
            row = {"query": f"Question: Which colour has {thing}?", "choices": options, "gold": gold}
            rows.setdefault(task, []).append(row)
        a, b, right = rng.randint(2, 9), rng.randint(2, 9), rng.random() < 0.5
        query = f"Passage: {a} plus {b} is {a + b}.\nQuestion: is {a} plus {b} {a + b + (not right)}?"
        rows.setdefault("boolq", []).append({"query": query, "choices": ["no", "yes"], "gold": int(right)})
        word, other = rng.choice(list(_PAIRS.items()))
        heads = [f"The {word} cup stood by the {other} one, and the {one}" for one in (word, other)]
        rows.setdefault("winogrande", []).append(
            {"context_options": heads, "continuation": f"cup was not {other}.", "gold": 0}
        )
    return rows


def write(folder: Path) -> None:
    """Write ``alpaca.jsonl``, a file for each task, ``mmlu/`` and ``judge.json``."""
    rng = random.Random(0)
    folder.mkdir(parents=True, exist_ok=True)
    files = {"alpaca": training_rows(rng), **questions(rng)}
    for name, rows in files.items():
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _mmlu(folder / "mmlu", lambda: _choices(rng))
    (folder / "judge.json").write_text(json.dumps([_VERDICT] * 2000), encoding="utf-8")
    print(f"wrote {folder}", file=sys.stderr)


def _mmlu(folder: Path, ask: Callable[[], tuple[str, list[str], int]]) -> None:
    for part, number in (("dev", 5), ("test", _QUESTIONS)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for subject in ("colours", "painting"):
            with (folder / part / f"{subject}_{part}.csv").open("w", encoding="utf-8", newline="") as file:
                for thing, options, gold in (ask() for _ in range(number)):
                    csv.writer(file).writerow([f"Which colour has {thing}?", *options, "ABCD"[gold]])


if __name__ == "__main__":
    write(Path(sys.argv[1]))
