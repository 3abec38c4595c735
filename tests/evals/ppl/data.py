"""Random rows in the formats of the real data: random words, so that no data is copied."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

_WORDS = [
    "the",
    "a",
    "man",
    "woman",
    "cat",
    "boat",
    "river",
    "water",
    "light",
    "red",
    "runs",
    "holds",
    "水",
    "光",
    "船",
]


def _text(rng: random.Random, low: int, high: int) -> str:
    return " ".join(rng.choices(_WORDS, k=rng.randint(low, high)))


def make_data(folder: Path, rows: int, *, seed: int = 0) -> dict[str, str]:
    """A file (MMLU: a folder of two subjects) of ``rows`` questions for each task, as ``--data`` takes them."""
    rng = random.Random(seed)
    rows_of: dict[str, list[dict[str, object]]] = {}
    for _ in range(rows):
        four = [_text(rng, 1, 9) for _ in range(4)]
        rows_of.setdefault("hellaswag", []).append(
            {"ctx": f"Tea: {_text(rng, 3, 30)}", "endings": four, "label": rng.randrange(4)}
        )
        for task in ("arc_easy", "arc_challenge"):
            rows_of.setdefault(task, []).append(
                {"query": f"Question: {_text(rng, 3, 20)}?", "choices": four, "gold": rng.randrange(4)}
            )
        passage = f"Passage: {_text(rng, 10, 60)}.\nQuestion: {_text(rng, 3, 9)}?"
        rows_of.setdefault("boolq", []).append({"query": passage, "choices": ["no", "yes"], "gold": rng.randrange(2)})
        start, rest = _text(rng, 3, 12), _text(rng, 1, 9)
        names = [f"{start} {rng.choice(_WORDS)}", f"{start} {_text(rng, 1, 2)}"]
        rows_of.setdefault("winogrande", []).append(
            {"context_options": names, "continuation": rest, "gold": rng.randrange(2)}
        )
    files = {}
    for task, content in rows_of.items():
        path = folder / f"{task}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
        files[task] = str(path)
    return files | {"mmlu": str(_mmlu(folder / "mmlu", rows, rng))}


def _mmlu(folder: Path, rows: int, rng: random.Random) -> Path:
    for part, n in (("dev", 5), ("test", rows // 2)):
        (folder / part).mkdir(parents=True)
        for subject in ("high_school_boats", "tea"):
            with (folder / part / f"{subject}_{part}.csv").open("w", encoding="utf-8", newline="") as file:
                write = csv.writer(file).writerow
                for _ in range(n):
                    write([f"{_text(rng, 3, 12)}?", *(_text(rng, 1, 4) for _ in range(4)), rng.randrange(4)])
    return folder
