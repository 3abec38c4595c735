"""PPL mode as a command: its JSON, table and chart, resumed runs, and errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from egosrag.errors import ModelError, SettingsError
from evals.common.command import app_of
from evals.figures import command as figures
from evals.ppl import run
from evals.ppl.command import command
from evals.ppl.report import summary
from evals.ppl.run import Weights, evaluate, load_model, run_task
from evals.ppl.tasks import Item, parse_sources
from tests.models.conftest import gguf_of


def test_the_command_prints_json_and_draws(tiny_qwen: Path, data: dict[str, str], tmp_path: Path) -> None:
    figure = tmp_path / "f.png"
    flags = [f for task in ("arc_easy", "mmlu") for f in ("--data", f"{task}={data[task]}")]
    found = CliRunner().invoke(
        app_of(command), ["--model", str(tiny_qwen), *flags, "--limit", "8", "--json", "--figure", str(figure)]
    )
    assert found.exit_code == 0, found.output
    results = json.loads(found.stdout)
    assert list(results) == ["arc_easy", "mmlu"]
    for r in results.values():
        assert r["n"] == 8
        assert 0 <= r["ci95"][0] <= r["accuracy"] <= r["ci95"][1] <= 1
        assert r["stderr"] == pytest.approx((r["accuracy"] * (1 - r["accuracy"]) / 7) ** 0.5)
    assert results["mmlu"]["subjects"].keys() == {"high_school_boats", "tea"}
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_the_embedded_model_runs_offline(data: dict[str, str]) -> None:
    found = CliRunner().invoke(app_of(command), ["--data", f"boolq={data['boolq']}", "--limit", "3", "--json"])
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["boolq"]["n"] == 3


def test_a_gguf_file_scores_as_the_folder_of_the_same_weights(
    tiny_qwen: Path, data: dict[str, str], tmp_path: Path
) -> None:
    gguf = gguf_of(tiny_qwen)
    rows = {}
    for model in (tiny_qwen, gguf):
        path = tmp_path / f"{model.name}.jsonl"
        sources = {task: data[task] for task in ("hellaswag", "mmlu", "winogrande")}
        rows[model] = (
            evaluate(str(model), sources, predictions=path, device="cpu"),
            [json.loads(line) for line in path.read_text().splitlines()[1:]],
        )
    assert rows[gguf][0] == rows[tiny_qwen][0]
    for ours, theirs in zip(rows[gguf][1], rows[tiny_qwen][1], strict=True):
        assert ours["tokens"] == theirs["tokens"]
        assert ours["tail"] == pytest.approx(theirs["tail"], abs=1e-4)
        assert ours["continuation"] == pytest.approx(theirs["continuation"], abs=1e-4)


def test_a_damaged_gguf_file_is_one_line(tiny_qwen: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.gguf").write_bytes(gguf_of(tiny_qwen).read_bytes()[:-40])
    with pytest.raises(ModelError, match="cut.gguf is damaged or cut off: download it again"):
        load_model(Weights(str(tmp_path / "cut.gguf")))


def test_the_table_names_the_suffix_rule_and_the_raw_text(tiny_qwen: Path, data: dict[str, str]) -> None:
    flags = ["--data", f"winogrande={data['winogrande']}", "--limit", "4"]
    found = CliRunner(env={"COLUMNS": "140"}).invoke(app_of(command), ["--model", str(tiny_qwen), *flags])
    assert "winogrande (suffix)" in found.stdout
    assert "without a chat template" in found.stdout


def test_mmlu_is_weighted_by_size_with_the_unweighted_mean_beside_it() -> None:
    base = {"gold": 0, "acc": 0, "acc_norm": 1, "fewer_shots": False, "cut": False}
    records = [base | {"group": "a", "prediction": p} for p in (0, 0, 1, 1)] + [base | {"group": "b", "prediction": 0}]
    report = summary(records, suffix=False, prompts="opencompass")
    assert report["accuracy"] == pytest.approx(3 / 5)
    assert report["naive"] == pytest.approx((1 / 2 + 1) / 2)
    assert (report["acc"], report["acc_norm"]) == (1.0, 0.0)
    assert report["acc_ci95"][0] < 1.0 == report["acc_ci95"][1]
    assert report["naive_ci95"] is None, "one row has no standard error"
    assert report["subjects"]["a"]["ci95"][0] < 0.5 < report["subjects"]["a"]["ci95"][1]
    twice = summary(records + [base | {"group": "b", "prediction": 1}], suffix=False, prompts="opencompass")
    # standard errors (1/4 / 3) ** 0.5 and (1/4) ** 0.5, of the mean of two: half of the root of the sum of squares
    half = 1.959964 * (1 / 12 + 1 / 4) ** 0.5 / 2
    assert twice["naive_ci95"] == pytest.approx([0.0, min(1.0, 0.5 + half)], abs=1e-6)


def test_an_interrupted_run_is_resumed(
    tiny_qwen: Path, data: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.jsonl"
    sources = {t: data[t] for t in ("hellaswag", "mmlu")}
    first = evaluate(str(tiny_qwen), sources, predictions=path, device="cpu")
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    assert len(lines) == 1 + 16 + 16
    path.write_bytes(b"".join(lines[:21]) + lines[21][:17])  # interrupted in the middle of a line

    scored: list[int] = []

    def counting(model: Any, tokenizer: Any, items: list[Item], **more: Any) -> Any:
        scored.append(len(items))
        return run_task(model, tokenizer, items, **more)

    monkeypatch.setattr(run, "run_task", counting)
    assert evaluate(str(tiny_qwen), sources, predictions=path, device="cpu") == first
    assert scored == [0, 12]
    again = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len({tuple(r["key"]) for r in again[1:]}) == 32
    evaluate(str(tiny_qwen), sources, predictions=path, limit=5)
    assert scored == [0, 12], "nothing is scored, and no model loaded, when all records exist"


def test_predictions_of_another_run_are_refused(tiny_qwen: Path, data: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    sources = {"arc_easy": data["arc_easy"]}
    evaluate(str(tiny_qwen), sources, predictions=path, limit=2, device="cpu")
    with pytest.raises(SettingsError, match="of another model, other data or options"):
        evaluate(str(tiny_qwen), sources, predictions=path, limit=2, prompts="lm-eval")
    path.write_text("hello\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="is not a file of such records"):
        evaluate(str(tiny_qwen), sources, predictions=path, limit=2)


def test_errors_name_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model at .*: the folder has no config.json"):
        load_model(Weights(str(tmp_path)))
    with pytest.raises(SettingsError, match="no number format float3"):
        load_model(Weights(str(tmp_path), dtype="float3"))
    with pytest.raises(SettingsError, match="no number format int8"):
        load_model(Weights("pocket", dtype="int8"))
    for device in ("foo", "cuda:99", "meta", "hpu"):
        with pytest.raises(SettingsError, match=f"^there is no device {device} here: give cpu"):
            load_model(Weights("pocket", device=device))
    with pytest.raises(SettingsError, match="is not TASK=FILE"):
        parse_sources(["hellaswag"])
    with pytest.raises(SettingsError, match="given twice"):
        parse_sources(["mmlu=a", "mmlu=b"])


def test_figures_draw_models_against_tasks_with_their_intervals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    for name, value in (("base", 0.4), ("sft", 0.5)):
        result = {t: {"n": 200, "accuracy": value, "ci95": [value - 0.07, value + 0.06]} for t in ("mmlu", "boolq")}
        (tmp_path / f"{name}.json").write_text(json.dumps(result), encoding="utf-8")
    drawn: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: drawn.append(self) or save(self, *a, **k))
    results, out = [f"{name}={tmp_path / name}.json" for name in ("base", "sft")], tmp_path / "figure.png"
    found = CliRunner().invoke(app_of(figures), [*results, "--out", str(out)])
    assert found.exit_code == 0, found.output
    (axes,) = drawn[0].axes
    assert [round(bar.get_height()) for bar in axes.patches] == [40, 40, 50, 50]
    ends = [segment[:, 1].tolist() for lines in axes.collections for segment in lines.get_segments()]
    assert ends == [pytest.approx(e) for e in ([33, 46], [33, 46], [43, 56], [43, 56])]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["mmlu\nn = 200", "boolq\nn = 200"]
    assert out.stat().st_size > 5000
    wrong = CliRunner().invoke(app_of(figures), [results[0], "--task", "piqa", "--out", str(out)])
    assert isinstance(wrong.exception, SettingsError)
