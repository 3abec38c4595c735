"""Measure pocket, the embedded model: does it read cards, conversations and passages that it never saw?

    python -m evals.pocket [--model FOLDER] [--number 40] [--split wordings] [--records FILE] [--out FIGURE.png] --json

The cases are drawn from the grammar with held-out words and fixed seeds, and asked through the pipeline that a user
has; the questions about the sample manuals and cards were written by hand. ``baseline`` is the best sentence by lexical
overlap (by BM25 for the manual).
"""

from __future__ import annotations

import json
import time
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import typer

from egosrag import load_chat_model, load_role
from egosrag.assemble import sample
from egosrag.console import Progress, print_json
from egosrag.errors import SettingsError
from evals.common.charts import bar, draw_bars
from evals.common.estimates import estimate, percent, precision_recall
from evals.common.records import Record, Records, read_jsonl
from evals.pocket.cases import CASES, conversation_with
from evals.pocket.handwritten import families

LANGUAGES = ("en", "zh")
SPLITS = ("names", "wordings")
# Targets of the scores; the model card says which are missed.
TARGETS = {"card_fact": 0.9, "recall": 0.85, "recall_summarized": 0.85, "passages": 0.9, "sample manual": 0.75}
TARGETS |= {"summary": 0.9, "card": 0.8}
_REFUSAL = ("precision", "recall")


def measure(name: str, number: int, split: str, records: Records, progress: Progress) -> dict[str, list[Record]]:
    """The records of every family, by "FAMILY.LANGUAGE"; those that ``records`` already has are not made again."""
    # Loaded by its folder, the model is treated as any other: its replies are not corrected.
    model, alone = load_chat_model(name), load_chat_model(str(weights_of(name)))
    found: dict[str, list[Record]] = {}
    for language in LANGUAGES:
        for family, case in CASES.items():
            label, asked = f"{family}.{language}", alone if family.endswith("_written") else model
            for n in range(number):
                if (label, n) not in records:
                    records.add((label, n), case(asked, language, split, n))
                found.setdefault(label, []).append(records[label, n])
                progress(label, n + 1, number)
        for title, length, ask in families(model, alone, language):
            label = f"{title}.{language}"
            if any((label, n) not in records for n in range(length)):
                for n, record in enumerate(ask()):
                    if (label, n) not in records:
                        records.add((label, n), record)
                    progress(label, n + 1, length)
            found[label] = [records[label, n] for n in range(length)]
    return found


def summary(found: dict[str, list[Record]]) -> dict[str, Any]:
    """For each family and language: "right", and where they apply "baseline", "passage", "closed", "refusal".

    ``right`` of questions about passages and manuals is over the answerable ones; ``refusal`` is over all of them.
    """
    result: dict[str, Any] = {}
    for label, records in found.items():
        asked = [r for r in records if not r.get("hopeless")]
        part: dict[str, Any] = {"right": estimate([float(r["right"]) for r in asked])}
        for name in ("baseline", "passage", "closed"):
            if name in records[0]:
                rows = records if name == "closed" else asked
                part[name] = estimate([float(r[name]) for r in rows])
        if any("hopeless" in r for r in records):
            part["refusal"] = precision_recall([r["refused"] for r in records], [r["hopeless"] for r in records])
        result[label] = part
    return result


def other_seeds(files: list[Path], found: dict[str, list[Record]], split: str) -> dict[str, list[float]]:
    """The shares right of the same cases with the weights of other seeds, whose ``--records`` are ``files``.

    Raises:
        SettingsError: A file is of another split, or has other cases of a family.
    """
    shares: dict[str, list[float]] = {label: [] for label in found}
    for file in files:
        first, *rows = [*read_jsonl(file)] or [{}]
        if first.get("run", {}).get("split") != split:
            raise SettingsError(f"{file} is not of split {split}: give what --records wrote with --split {split}")
        by_family: dict[str, list[Record]] = {}
        for row in rows:
            by_family.setdefault(row["key"][0], []).append(row)
        for label, part in summary(by_family).items():
            if [row["key"][1] for row in by_family[label]] != list(range(len(found.get(label, ())))):
                raise SettingsError(f"{file} has other cases of {label}: measure it with the same --number")
            shares[label].append(part["right"]["value"])
    return shares


def weights_of(name: str) -> Path:
    """The folder of the checkpoint ``name``."""
    return sample("manual.en.md").parents[1] / "pocket" if name == "pocket" else Path(name)


def _digest(name: str) -> str:
    total = sha256()
    for file in sorted(weights_of(name).glob("*.safetensors")):
        total.update(file.read_bytes())
    return total.hexdigest()[:16]


def speed(name: str) -> dict[str, float]:
    """Megabytes of weights, seconds for the imports and then to the first token, tokens a second in a conversation."""
    start = time.perf_counter()
    from transformers import AutoTokenizer, Qwen2ForCausalLM

    assert AutoTokenizer and Qwen2ForCausalLM  # transformers imports them lazily, at their first use
    imported, start = time.perf_counter() - start, time.perf_counter()
    model = load_chat_model(name, max_new_tokens=64)
    model.invoke([("user", "?"), ("assistant", "")], stop=["\n"])
    loaded, done = time.perf_counter() - start, 0
    conversation = conversation_with(model, load_role(sample("edda.en.json")))
    start = time.perf_counter()
    for line in ("Who are you?", "What are you afraid of?", "How do you speak?", "Thank you.") * 3:
        done += conversation.say(line).usage.completion_tokens
    seconds = time.perf_counter() - start
    size = sum(f.stat().st_size for f in weights_of(name).glob("*.safetensors")) / 1e6
    times = {"import_s": round(imported, 2), "load_s": round(loaded, 2)}
    return {"megabytes": round(size, 1), **times, "tokens_per_second": round(done / seconds, 1)}


def _show(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("%", "right", "wanted", "baseline", "page, passage", "quote closed", "refusal p", "refusal r")
    for label, part in result["scores"].items():
        refusal, target = part.get("refusal", {}), TARGETS.get(label.rsplit(".", 1)[0])
        shown = [percent(part.get(name)) for name in ("right", "baseline", "passage", "closed")]
        shown.insert(1, f"{100 * target:.0f}" if target else "-")
        table.add_row(f"{label}, n={part['right']['n']}", *shown, *(percent(refusal.get(r)) for r in _REFUSAL))
    console = Console()
    console.print(table)
    console.print(", ".join(f"{name} {value}" for name, value in result["speed"].items()), highlight=False)


_SECTION = """## Through the pipeline

`python -m evals.pocket --split {split} --json`: words that training never saw (with `wordings` in sentences that it
never saw), asked through the conversation, Extract and the manual engine that a user has. *right*: the value asked
for stands in the reply; of summaries and cards, the share of what was told that they keep. *wanted*: what this model
is to reach. *baseline*: the best sentence by shared words; of follow-ups, the question as it was put. What ends with
`_written` is the model's alone: in a conversation the card's own sentence is said where it fits better, `passages` are
quoted by the engine, and Summarize keeps word for word what the model loses. `natural cards` were invented by another
language model, which saw neither the grammar nor the code; those `tuned` were read while the rules were made by which a
card's sentence is chosen, the others only scored. In brackets: 95 % intervals.
*other seeds*: what is right with the weights of other seeds, as told above.

| case | language | n | right | other seeds | wanted | baseline | quote closed | refusal precision / recall |
|---|---|---:|---:|---:|---:|---:|---:|---:|
{rows}

{megabytes} MB of weights; {import_s} s of imports, then {load_s} s to the first token; {tokens_per_second} tokens a
second of replies in a conversation, the time to read its prompts included.

"""


def section(result: dict[str, Any]) -> str:
    """The section of the model card with the scores of ``result``."""
    rows = []
    for label, part in sorted(result["scores"].items(), key=lambda item: item[0].rsplit(".", 1)[1]):
        case, language = label.rsplit(".", 1)
        wanted = f"{100 * TARGETS[case]:.0f}" if case in TARGETS else "-"
        refusal = " / ".join(percent(part["refusal"].get(r)) for r in _REFUSAL) if "refusal" in part else "-"
        others = ", ".join(f"{100 * share:.0f}" for share in result["other_seeds"][label]) or "-"
        cells = [case, language, str(part["right"]["n"]), percent(part["right"]), others, wanted]
        cells += [percent(part.get(name)) for name in ("baseline", "closed")] + [refusal]
        rows.append("| " + " | ".join(cells) + " |")
    return _SECTION.format(split=result["split"], rows="\n".join(rows), **result["speed"])


def write_card(result: dict[str, Any], folder: Path) -> None:
    """Write the scores into the model card in ``folder``, before its limits, and into ``pipeline.json`` beside it.

    Raises:
        SettingsError: There is no model card of pocket.
    """
    path = folder / "README.md"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    head, limits, tail = text.partition("## Limits\n")
    if not limits:
        raise SettingsError(f"{path} is not a model card of pocket: export the model with python -m finetune.pocket")
    path.write_text(head.split("## Through the pipeline\n")[0] + section(result) + limits + tail, encoding="utf-8")
    (folder / "pipeline.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def draw(result: dict[str, Any], out: Path) -> None:
    """Draw the shares right, beside the baseline, as bars with 95 % intervals.

    Raises:
        SettingsError: The chart cannot be written.
    """
    rows: dict[str, dict[str, Any]] = {"pocket": {}, "baseline": {}}
    for label, part in result["scores"].items():
        for name, key in (("pocket", "right"), ("baseline", "baseline")):
            if (e := part.get(key)) and e["ci95"]:
                rows[name][label.replace(".", "\n")] = bar(e)
    draw_bars(rows, out, caption="Held-out words; bars: 95 % intervals.", axis="right, %")


def command(
    model: Annotated[str, typer.Option(help="pocket, or the folder of another checkpoint.")] = "pocket",
    number: Annotated[int, typer.Option(min=1, help="Cases of each family and language.")] = 40,
    split: Annotated[str, typer.Option(help="names: new words; wordings: new words in new sentences.")] = "names",
    records: Annotated[Path | None, typer.Option(help="JSONL of the replies, to resume from.")] = None,
    seed: Annotated[
        list[Path] | None,
        typer.Option(exists=True, dir_okay=False, help="The --records of the weights of another seed; repeatable."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Chart to write: .png, .svg or .pdf.")] = None,
    card: Annotated[bool, typer.Option(help="Write the scores into the model's card.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON on standard output.")] = False,
) -> None:
    """Measure pocket on what it never saw, in both languages."""
    if split not in SPLITS:
        raise SettingsError(f"there is no split {split}: give --split {' or '.join(SPLITS)}")
    pace = speed(model)  # first: nothing is loaded yet
    made_from = {"model": model, "weights": _digest(model), "split": split}
    with Progress() as progress:
        found = measure(model, number, split, Records(records, made_from), progress)
    others = other_seeds(seed or [], found, split)
    result = {"split": split, "scores": summary(found), "other_seeds": others, "speed": pace}
    if out:
        draw(result, out)
        typer.echo(f"wrote {out}", err=True)
    if card:
        write_card(result, weights_of(model))
        typer.echo(f"wrote {weights_of(model) / 'README.md'}", err=True)
    if as_json:
        print_json(result)
    else:
        _show(result)
