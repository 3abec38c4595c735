"""The reproduction: stages run once, resume after a failure, and end in a page with the finished results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from egosrag.errors import SettingsError
from evals.common.command import app_of
from evals.reproduce.command import command
from evals.reproduce.page import write
from evals.reproduce.stages import StageError, _resumed, costs, load_plan, run_stage


def plan_of(tmp_path: Path, *stages: dict[str, Any], **more: Any) -> str:
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump({"about": "A test.", "stages": list(stages), **more}), encoding="utf-8")
    return str(path)


ONE = {"name": "data", "title": "rows", "run": [{"output": "this"}, "evals.reproduce.material {here}"]}
TWO = {"name": "fail", "title": "fails", "after": ["data"], "run": ["egosrag.no_such_module {out}"]}


@pytest.mark.parametrize("config", ["mini", "small", "full"])
def test_our_plans_are_consistent(config: str, tmp_path: Path) -> None:
    plan = load_plan(config, tmp_path)
    exhibits = yaml.safe_load(Path("evals/reproduce/original.yaml").read_text(encoding="utf-8"))
    names = [stage.name for stage in plan.stages]
    exhibits = [exhibit for exhibit in exhibits if exhibit["stage"] in names]
    assert len(exhibits) == {"mini": 6, "small": 5, "full": 6}[config]
    written = {stage.name: {name for name, _ in plan.commands(stage) if name} for stage in plan.stages}
    for exhibit in exhibits:
        if exhibit["kind"] != "inverse":  # its results are the training runs' own files
            results = exhibit.get(f"results_{config}", exhibit["results"])
            assert set(results) <= written[exhibit["stage"]]
    for stage in plan.stages:
        assert all(names.index(before) < names.index(stage.name) for before in stage.after)
        for _, words in plan.commands(stage):
            module = Path(*words[0].split("."))
            assert module.with_suffix(".py").is_file() or (module / "__main__.py").is_file(), words[0]
            if "--config" in words:
                assert Path(words[words.index("--config") + 1]).is_file()
    assert ("US$" in costs(plan.stages)) == (config == "full")
    assert ("GPU" in costs(plan.stages)) == (config == "full")


def test_the_mini_plan_has_the_stages_of_the_full_one() -> None:
    mini, full = load_plan("mini", None), load_plan("full", None)
    assert [s.name for s in mini.stages if s.name != "data"] == [s.name for s in full.stages]


def test_the_settings_of_every_training_are_valid(tmp_path: Path) -> None:
    from finetune.cli import parse
    from finetune.inverse.args import InverseArgs
    from finetune.trainer.args import SftArgs

    folder = "/a folder/{with} 'marks'"
    for config in ("mini", "small", "full"):
        words = [f"model={folder}", f"data={folder}"] if config == "small" else []
        plan = load_plan(config, tmp_path, words)
        for _, (module, *arguments) in (one for stage in plan.stages for one in plan.commands(stage)):
            if module in ("finetune.sft", "finetune.inverse"):
                args = parse(InverseArgs if module == "finetune.inverse" else SftArgs, arguments)
                assert config != "small" or (args.model == folder and args.data[0].startswith(folder))


def test_an_abbreviation_that_a_plan_does_not_have_is_refused() -> None:
    for word in ("models=x", "model"):
        with pytest.raises(SettingsError, match="give NAME=TEXT with one of alpaca, .*model, data"):
            load_plan("small", None, [word])


def test_an_interrupted_stage_goes_on_with_its_next_command(tmp_path: Path) -> None:
    count = tmp_path / "o" / "data" / "first" / "alpaca.jsonl"
    stage = ONE | {"run": ["evals.reproduce.material {here}/first", "egosrag.no_such_module"]}
    plan = load_plan(plan_of(tmp_path, stage), tmp_path / "o")
    with pytest.raises(StageError):
        run_stage(plan, plan.stages[0])
    count.unlink()
    with pytest.raises(StageError):
        run_stage(plan, plan.stages[0])
    assert not count.exists() and not plan.done(plan.stages[0])


def test_an_interrupted_training_resumes_from_its_checkpoint(tmp_path: Path) -> None:
    words = ["finetune.sft", "--out", str(tmp_path / "sft"), "--overwrite", "true"]
    assert _resumed(words) == words
    checkpoint = tmp_path / "sft" / "checkpoints" / "checkpoint-5"
    checkpoint.mkdir(parents=True)
    assert _resumed(words) == words
    (checkpoint / "trainer_state.json").write_text("{}")
    assert _resumed(words) == [*words[:3], "--resume", "true"]
    assert _resumed(["evals.ppl", "--out", str(tmp_path / "sft")]) == ["evals.ppl", "--out", str(tmp_path / "sft")]


def test_a_stage_runs_once_and_again_when_its_commands_change(tmp_path: Path) -> None:
    stage = ONE | {"run": ["evals.reproduce.material {here}"]}
    plan = load_plan(plan_of(tmp_path, stage), tmp_path / "out")
    assert not plan.done(plan.stages[0])
    run_stage(plan, plan.stages[0])
    assert plan.done(plan.stages[0]) and (tmp_path / "out/data/alpaca.jsonl").is_file()
    changed = load_plan(plan_of(tmp_path, ONE | {"run": ["evals.reproduce.material {here}/new"]}), tmp_path / "out")
    assert not changed.done(changed.stages[0])


def test_a_failed_stage_is_named_and_not_finished(tmp_path: Path) -> None:
    plan = load_plan(plan_of(tmp_path, ONE | {"run": ["evals.reproduce.material {here}"]}, TWO), tmp_path / "o u t")
    run_stage(plan, plan.stages[0])
    with pytest.raises(StageError, match="fail failed: .*no_such_module"):
        run_stage(plan, plan.stages[1])
    assert plan.done(plan.stages[0]) and not plan.done(plan.stages[1])


def test_a_single_stage_needs_the_stages_that_it_reads(tmp_path: Path) -> None:
    config = plan_of(tmp_path, ONE, TWO)
    with pytest.raises(SettingsError, match="run --stage data first"):
        load_plan(config, tmp_path).select(["fail"])
    with pytest.raises(SettingsError, match="there is no stage nothing"):
        load_plan(config, tmp_path).select(["nothing"])


@pytest.mark.parametrize("text", ["- 1", "stages: [{name: a}]"])
def test_a_malformed_plan_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match="not a plan of stages"):
        load_plan(str(tmp_path / "bad.yaml"), None)
    with pytest.raises(SettingsError, match="there is no plan nowhere"):
        load_plan("nowhere", None)


def test_stages_that_cost_hours_need_a_confirmation(tmp_path: Path) -> None:
    config = plan_of(tmp_path, ONE | {"needs": {"gpu_hours": 3, "api_usd": 4}})
    found = CliRunner().invoke(app_of(command), ["--config", config, "--out", str(tmp_path / "o")], input="n\n")
    assert found.exit_code == 1 and not (tmp_path / "o").exists()
    assert "3 GPU hours" in found.stderr and "4 US$" in found.stderr


def test_the_page_shows_finished_results_with_all_text_escaped(tmp_path: Path) -> None:
    plan = load_plan("mini", tmp_path)
    page = write(plan).read_text(encoding="utf-8")
    assert page.count("Not there yet") == 6 and "default-src 'none'" in page
    parts = {"all": {"rouge_1": {"n": 4, "value": 0.5, "ci95": [0.2, 0.8]}}}
    judge = {"answers": {"<script>": {"mean": 78.2}}}
    (tmp_path / "rag").mkdir()
    result = {"systems": {"<script>": parts}, "judge": judge}
    (tmp_path / "rag/result.json").write_text(json.dumps(result), encoding="utf-8")
    (tmp_path / "rag/figure.png").write_bytes(b"\x89PNG")
    page = write(plan).read_text(encoding="utf-8")
    assert page.count("Not there yet") == 5
    assert "<script>" not in page and "&lt;script&gt;" in page and "50.0 (20–80)" in page and ">78<" in page
