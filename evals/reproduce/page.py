"""The reproduction as one HTML page: each figure and table of the report, with the report's own result beside it.

All text is escaped, pictures are embedded, and the content security policy lets the page load and run nothing.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from evals.reproduce.stages import Plan

Rows = list[list[str]]
_STYLE = """body{font:16px/1.55 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1a1a1a}
section{display:grid;grid-template-columns:2fr 1fr;gap:1.5rem;border-top:1px solid #ddd;padding:1rem 0}
h2{grid-column:1/-1;margin:0;font-size:1.15rem} img{max-width:100%} table{border-collapse:collapse;font-size:.9rem}
td,th{border:1px solid #ccc;padding:.25rem .5rem;text-align:left} .wide{overflow-x:auto}
aside{background:#f6f6f3;padding:.8rem 1rem;border-radius:.4rem;align-self:start} blockquote{margin:.6rem 0;color:#555}
.note{color:#555;font-size:.9rem} @media(max-width:50rem){section{display:block}}
@media(prefers-color-scheme:dark){body{background:#161616;color:#e6e6e6} aside{background:#222}
img{background:#fff} td,th{border-color:#444}}"""


_POLICY = (
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
)


def write(plan: Plan) -> Path:
    """Write ``report.html`` into the plan's folder from the finished stages; returns its path."""
    exhibits = yaml.safe_load(files(__package__).joinpath("original.yaml").read_text(encoding="utf-8"))
    names = {stage.name for stage in plan.stages}
    parts = [_exhibit(plan, exhibit) for exhibit in exhibits if exhibit["stage"] in names]
    page = plan.folder / "report.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">{_POLICY}'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>The report, reproduced</title>'
        f"<style>{_STYLE}</style></head><body><h1>The report, reproduced: {escape(plan.name)}</h1>"
        f'<p class="note">{escape(plan.about)}</p>{"".join(parts)}</body></html>\n',
        encoding="utf-8",
    )
    return page


def _exhibit(plan: Plan, exhibit: dict[str, Any]) -> str:
    here = plan.folder / exhibit["stage"]
    try:
        rows = _KINDS[exhibit["kind"]](here, exhibit.get(f"results_{plan.name}", exhibit["results"]))
        ours = _table(rows)
        if picture := exhibit.get("figure"):
            data = base64.b64encode((here / picture).read_bytes()).decode()
            ours = f'<p><img alt="{escape(exhibit["title"])}" src="data:image/png;base64,{data}"></p>{ours}'
        if link := exhibit.get("link"):
            ours += f'<p><a href="{escape(exhibit["stage"])}/{escape(link)}">the answers side by side</a></p>'
    except (OSError, ValueError, KeyError, TypeError):
        ours = f'<p class="note">Not there yet: run <code>--stage {escape(exhibit["stage"])}</code>.</p>'
    quote = f'<blockquote lang="zh">{escape(exhibit["quote"])}</blockquote>' if exhibit["quote"] else ""
    original = f"<b>The original, section {escape(exhibit['section'])}</b><p>{escape(exhibit['says'])}</p>{quote}"
    title = f"<h2>{escape(exhibit['title'])}</h2>"
    return f'<section>{title}<div class="wide">{ours}</div><aside>{original}</aside></section>'


def _table(rows: Rows) -> str:
    head, *body = rows
    line = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in body)
    return f"<table><tr>{line}</tr>{lines}</table>"


def _read(here: Path, name: str) -> Any:
    return json.loads((here / f"{name}.json").read_text(encoding="utf-8"))


def _percent(estimate: dict[str, Any] | None, key: str = "value") -> str:
    if not estimate or estimate.get(key) is None:
        return "–"
    low, high = estimate["ci95"] or (estimate[key], estimate[key])
    return f"{100 * estimate[key]:.1f} ({100 * low:.0f}–{100 * high:.0f})"


def _ppl(here: Path, names: list[str]) -> Rows:
    results = {name: _read(here, name) for name in names}
    tasks = list(next(iter(results.values())))
    head = ["% (95 %)", *(f"{task}, n={results[names[0]][task]['n']}" for task in tasks)]
    return [head, *([name, *(_percent(results[name][task], "accuracy") for task in tasks)] for name in names)]


def _inverse(here: Path, names: list[str]) -> Rows:
    rows: Rows = [
        ["arm, seed", "loss of the instruction before, after", "ROUGE-L before, after", "ROUGE-L of other rows after"]
    ]
    for name in names:
        for seed in json.loads((here / name / "inverse.json").read_text(encoding="utf-8"))["seeds"]:
            before = seed["before"]
            loss = f"{before['inverse_nll_trained']:.2f}, {seed['inverse_nll_trained']:.2f} nats a token"
            rouge = f"{before['inverse_rouge_trained']:.2f}, {seed['inverse_rouge_trained']:.2f}"
            rows.append([f"{name}, {seed['seed']}", loss, rouge, f"{seed['inverse_rouge_others']:.2f}"])
    return rows


def _chatbot(here: Path, names: list[str]) -> Rows:
    models = _read(here, names[0])["models"]
    measures = list(
        dict.fromkeys(m for parts in models.values() for m, v in parts["all"].items() if isinstance(v, dict))
    )
    head = ["% (95 %)", *(measure.replace("_", " ") for measure in measures)]
    return [head, *([name, *(_percent(p["all"].get(m)) for m in measures)] for name, p in models.items())]


def _nextline(here: Path, names: list[str]) -> Rows:
    results = {name: _read(here, name) for name in names}
    prompts = list(next(iter(results.values())))
    rows: Rows = [["nats a character", *prompts, *(f"{p} against {prompts[0]} (95 %)" for p in prompts[1:])]]
    for name, result in results.items():
        values = [f"{result[p]['nats_per_char']:.3f}" for p in prompts]
        rows.append([name, *values, *(_signed(result[p]) for p in prompts[1:])])
    return rows


def _signed(part: dict[str, Any]) -> str:
    interval = f" ({part['ci95'][0]:+.3f} to {part['ci95'][1]:+.3f})" if part["ci95"] else ""
    return f"{part['difference']:+.3f}{interval}"


def _talk(here: Path, names: list[str]) -> Rows:
    results = {name: _read(here, name)["scores"] for name in names}
    families = list(next(iter(results.values())))
    head = ["right, % (95 %)", *families]
    return [head, *([name, *(_percent(scores[f]["right"]) for f in families)] for name, scores in results.items())]


def _rag(here: Path, names: list[str]) -> Rows:
    result = _read(here, names[0])
    systems = result["systems"]
    rows: Rows = [["", *systems]]
    if judged := result.get("judge", {}).get("answers"):
        scores = (judged.get(name) for name in systems)
        rows.append(["answer correctness, judged, of 100", *(f"{s['mean']:.0f}" if s else "unscored" for s in scores)])
    measures = dict.fromkeys(
        m for p in systems.values() for m, v in p["all"].items() if isinstance(v, dict) and "value" in v
    )
    rows += [[m.replace("_", " "), *(_percent(p["all"].get(m)) for p in systems.values())] for m in measures]
    return rows


def _roleplay(here: Path, names: list[str]) -> Rows:
    systems = _read(here, names[0])["systems"]
    rows: Rows = [["case", "dimension, % (95 %)", *systems]]
    cases = dict.fromkeys(case for system in systems.values() for case in system["cases"])
    for case in cases:
        dimensions = dict.fromkeys(d for s in systems.values() for d in s["cases"].get(case, {}) if d != "n")
        rows += [[case, d, *(_percent(s["cases"].get(case, {}).get(d)) for s in systems.values())] for d in dimensions]
    return rows


_KINDS: dict[str, Callable[[Path, list[str]], Rows]] = {
    "ppl": _ppl,
    "inverse": _inverse,
    "chatbot": _chatbot,
    "rag": _rag,
    "roleplay": _roleplay,
    "nextline": _nextline,
    "talk": _talk,
}
