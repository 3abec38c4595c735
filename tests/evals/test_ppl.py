"""PPL mode: OpenCompass's definition, computed fast, and the same to the last prediction as computed plainly."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from egosrag.errors import ModelError, SettingsError
from evals.command import app_of
from evals.figures import _command as draw
from evals.ppl import _command, evaluate, read_data
from evals.ppl_run import load_model, run_task
from evals.ppl_score import Encoded, Scores, common_prefix, encode, score_plain, verdict
from evals.ppl_shared import SharedScorer
from evals.ppl_tasks import TASKS, Item, load_task
from tests.evals.ppl_data import make_data

REAL_ROWS = 200 if os.environ.get("EGOSRAG_TEST_PROFILE") == "full" else 8  # a task; a test itself sees no such name


@pytest.fixture(scope="module")
def net(tiny_qwen: Path) -> tuple[Any, Any]:
    return load_model(str(tiny_qwen), device="cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return make_data(tmp_path_factory.mktemp("ppl"), 16)


class Counted:
    """A model that counts its forward passes and the tokens fed to it."""

    def __init__(self, model: Any, **forced: Any) -> None:
        self.model, self.passes, self.tokens, self.forced = model, 0, 0, forced
        self.config, self.device, self.dtype, self.forward = model.config, model.device, model.dtype, model.forward

    def __call__(self, **given: Any) -> Any:
        self.passes += 1
        self.tokens += given["input_ids"].numel()
        return self.model(**(given | self.forced))


def item(*texts: str, gold: int = 0, **more: Any) -> Item:
    return Item(0, texts, ("",) * len(texts), texts, gold, **more)


# What the rules choose


def test_the_lowest_mean_over_all_tokens_wins_not_the_lowest_sum() -> None:
    # sums 30 and 36 over 10 and 13 tokens: means 3.0 and 2.77
    scores = Scores(tokens=(10, 13), tail=(4.0, 10.0), continuation=(4.0, 10.0), whole=(30.0, 36.0))
    assert scores.mean == pytest.approx((3.0, 36 / 13))
    chosen = verdict(item("ab", "abcdefgh"), scores)
    # lm-eval: -4 > -10, but per character -4/2 < -10/8
    assert (chosen.prediction, chosen.acc, chosen.acc_norm) == (1, 0, 1)


def test_the_first_of_equals_wins() -> None:
    scores = Scores((5, 5, 5), (2.0, 1.0, 1.0), (2.0, 1.0, 1.0), None)
    assert verdict(item("a", "b", "c"), scores).prediction == 1


def test_winogrande_goes_by_the_suffix_alone() -> None:
    scores = Scores((5, 5), (9.0, 3.0), (1.0, 2.0), (20.0, 10.0))
    assert verdict(item("a", "b", suffix=True), scores).prediction == 0


def test_the_plain_way_is_the_loss_of_transformers_times_n_minus_1_over_n(net: tuple[Any, Any]) -> None:
    import torch

    model, tokenizer = net
    (encoded,) = encode(tokenizer, [item("a cat sees", "a cat runs under the boat")], 1016)
    for n, (row, mean) in enumerate(zip(encoded.rows, score_plain(model, encoded).mean or (), strict=True)):
        ids = torch.tensor([row])
        assert tokenizer.decode(ids[0]) == encoded.item.contexts[n]
        loss = model(input_ids=ids, labels=ids).loss.item()
        assert mean == pytest.approx(loss * (len(row) - 1) / len(row), abs=1e-5)


def test_the_common_prefix_is_one_of_tokens_and_leaves_every_option_a_token() -> None:
    assert common_prefix([[1, 2, 3], [1, 2, 4, 5], [1, 2]]) == 2
    assert common_prefix([[7], [8]]) == 0


def test_an_option_that_another_begins_with_still_has_a_tail(net: tuple[Any, Any]) -> None:
    model, tokenizer = net
    encoded = list(encode(tokenizer, [item("the cat", "the cat runs", "the cat")], 1024))
    assert encoded[0].common == len(encoded[0].rows[0]) - 1
    ((_, fast),) = SharedScorer(model).score(encoded)
    slow = score_plain(model, encoded[0])
    assert fast.whole == pytest.approx(slow.whole, abs=1e-4)
    assert fast.whole[0] == fast.whole[2]  # type: ignore[index]


# The fast way against the plain one


@pytest.mark.parametrize("prompts", ["opencompass", "lm-eval"])
@pytest.mark.parametrize("task", TASKS)
def test_fast_and_plain_agree(net: tuple[Any, Any], data: dict[str, str], task: str, prompts: str) -> None:
    model, tokenizer = net
    encoded = list(encode(tokenizer, load_task(task, data[task], prompts=prompts), 1024))
    scorer = SharedScorer(model, tokens=200)
    assert scorer.why_plain is None
    for whole in (False, True):
        found = list(scorer.score(encoded, whole=whole))
        assert [e.item.row for e, _ in found] == [e.item.row for e in encoded]
        for e, fast in found:
            slow = score_plain(model, e)
            assert verdict(e.item, fast) == verdict(e.item, slow)
            assert fast.tail == pytest.approx(slow.tail, abs=1e-4)
            assert fast.continuation == pytest.approx(slow.continuation, abs=1e-4)
            if whole:
                assert fast.mean == pytest.approx(slow.mean, abs=1e-4)


@pytest.mark.parametrize("task", TASKS)
def test_fast_and_plain_agree_on_real_rows(net: tuple[Any, Any], shared_data: Path, task: str) -> None:
    model, tokenizer = net
    path = shared_data / "ppl" / ("mmlu" if task == "mmlu" else f"{task}.jsonl")
    rows = REAL_ROWS
    encoded = list(encode(tokenizer, load_task(task, str(path), limit=rows), 1024))[:rows]
    assert len(encoded) == rows
    for e, fast in SharedScorer(model).score(encoded, whole=True):
        slow = score_plain(model, e)
        assert verdict(e.item, fast) == verdict(e.item, slow)
        assert fast.mean == pytest.approx(slow.mean, abs=1e-4)
        spread = [len(row) - start for row, start in zip(e.rows, e.starts, strict=True)]
        for mine, other, tokens in zip(fast.continuation, slow.continuation, spread, strict=True):
            assert mine / tokens == pytest.approx(other / tokens, abs=1e-4)


def test_the_few_shot_header_runs_once_and_letters_cost_nothing(net: tuple[Any, Any], data: dict[str, str]) -> None:
    model, tokenizer = net
    items = load_task("mmlu", data["mmlu"])
    encoded = list(encode(tokenizer, items, 1024))
    scorer = SharedScorer(model)
    scorer.model = counted = Counted(model)
    list(scorer.score(encoded))
    naive = sum(len(row) for e in encoded for row in e.rows)
    questions = sum(len(tokenizer(i.contexts[0])["input_ids"]) for i in items)
    headers = sum(len(tokenizer(i.head + "".join(i.shots))["input_ids"]) for i in (items[0], items[-1]))
    assert counted.tokens <= headers + questions + 4 * len(items)
    assert counted.tokens * 8 < naive


def test_equal_options_tie_and_the_first_wins(net: tuple[Any, Any]) -> None:
    model, tokenizer = net
    same = Item(
        0, ("The boat ",) * 4, ("sees red", "runs", "runs", "sees red"), ("sees red", "runs", "runs", "sees red"), 0
    )
    (record,) = run_task(model, tokenizer, [same])
    assert record["whole"][0] == record["whole"][3]
    assert record["whole"][1] == record["whole"][2]
    assert record["prediction"] in (0, 1)


@pytest.mark.parametrize("forced", [{"attention_mask": None}, {"position_ids": None}, {"past_key_values": None}])
def test_a_model_that_cannot_share_is_found_out_and_scored_plainly(
    net: tuple[Any, Any], data: dict[str, str], forced: dict[str, Any]
) -> None:
    model, tokenizer = net
    scorer = SharedScorer(Counted(model, **forced))
    assert scorer.why_plain is not None
    encoded = list(encode(tokenizer, load_task("hellaswag", data["hellaswag"], limit=3), 1024))
    assert [s for _, s in scorer.score(encoded)] == [score_plain(scorer.model, e) for e in encoded]


def test_what_is_too_long_loses_examples_then_its_beginning(net: tuple[Any, Any], data: dict[str, str]) -> None:
    _, tokenizer = net
    items = load_task("mmlu", data["mmlu"], limit=1)
    (full,) = encode(tokenizer, items, 100_000)
    size = len(full.rows[0])
    (fewer,) = encode(tokenizer, items, size - 1)
    assert (full.shots, fewer.shots, fewer.cut) == (5, 4, False)
    (cut,) = encode(tokenizer, items, 12)
    assert (cut.shots, cut.cut, {len(r) for r in cut.rows}) == (0, True, {12})
    assert [r[-1] for r in cut.rows] == [r[-1] for r in full.rows]


def test_different_numbers_of_examples_in_one_subject(
    net: tuple[Any, Any], data: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = net
    items = load_task("mmlu", data["mmlu"])
    sizes = sorted(len(e.rows[0]) for e in encode(tokenizer, items, 100_000))
    monkeypatch.setattr(model.config, "max_position_embeddings", sizes[len(sizes) // 2])
    fast = {r["row"]: r for r in run_task(model, tokenizer, items)}
    assert len({r["shots"] for r in fast.values()}) > 1
    for slow in run_task(model, tokenizer, items, reference=True):
        assert fast[slow["row"]]["tail"] == pytest.approx(slow["tail"], abs=1e-4)
        assert fast[slow["row"]]["prediction"] == slow["prediction"]


def test_an_adapter_is_scored_with_its_base(
    tiny_qwen: Path, net: tuple[Any, Any], data: dict[str, str], tmp_path: Path
) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    base, _ = load_model(str(tiny_qwen), device="cpu")
    tuned = get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj", "down_proj"]))
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.5)
    tuned.save_pretrained(str(tmp_path / "adapter"))
    model, tokenizer = load_model(str(tiny_qwen), adapter=str(tmp_path / "adapter"), device="cpu")
    encoded = list(encode(tokenizer, load_task("arc_easy", data["arc_easy"], limit=2), 1024))
    for e, fast in SharedScorer(model).score(encoded):
        assert fast.tail == pytest.approx(score_plain(tuned.eval(), e).tail, abs=1e-3)
        assert fast.tail != pytest.approx(score_plain(net[0], e).tail, abs=1e-3)


# The run


def test_the_command_prints_the_contract_and_draws(tiny_qwen: Path, data: dict[str, str], tmp_path: Path) -> None:
    figure = tmp_path / "f.png"
    flags = [f for task in ("arc_easy", "mmlu") for f in ("--data", f"{task}={data[task]}")]
    found = CliRunner().invoke(
        app_of(_command), ["--model", str(tiny_qwen), *flags, "--limit", "8", "--json", "--figure", str(figure)]
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
    found = CliRunner().invoke(app_of(_command), ["--data", f"boolq={data['boolq']}", "--limit", "3", "--json"])
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["boolq"]["n"] == 3


def test_the_table_names_the_suffix_rule_and_the_raw_text(tiny_qwen: Path, data: dict[str, str]) -> None:
    flags = ["--data", f"winogrande={data['winogrande']}", "--limit", "4"]
    found = CliRunner(env={"COLUMNS": "140"}).invoke(app_of(_command), ["--model", str(tiny_qwen), *flags])
    assert "winogrande (suffix)" in found.stdout
    assert "without a chat template" in found.stdout


def test_mmlu_is_weighted_by_size_and_naive_beside_it() -> None:
    from evals.ppl_run import summary

    base = {"gold": 0, "acc": 0, "acc_norm": 1, "fewer_shots": False, "cut": False}
    records = [base | {"group": "a", "prediction": p} for p in (0, 0, 1, 1)] + [base | {"group": "b", "prediction": 0}]
    report = summary(records, suffix=False, prompts="opencompass")
    assert report["accuracy"] == pytest.approx(3 / 5)
    assert report["naive"] == pytest.approx((1 / 2 + 1) / 2)
    assert (report["acc"], report["acc_norm"]) == (1.0, 0.0)
    assert report["acc_ci95"][0] < 1.0 == report["acc_ci95"][1]
    assert report["naive_ci95"] is None, "one row tells nothing of its subject's error"
    assert report["subjects"]["a"]["ci95"][0] < 0.5 < report["subjects"]["a"]["ci95"][1]
    twice = summary(records + [base | {"group": "b", "prediction": 1}], suffix=False, prompts="opencompass")
    # standard errors (1/4 / 3) ** 0.5 and (1/4) ** 0.5, of the mean of two: half of the root of the sum of squares
    half = 1.959964 * (1 / 12 + 1 / 4) ** 0.5 / 2
    assert twice["naive_ci95"] == pytest.approx([0.0, min(1.0, 0.5 + half)], abs=1e-6)


def test_a_killed_run_goes_on_where_it_was(
    tiny_qwen: Path, data: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.jsonl"
    given = {t: data[t] for t in ("hellaswag", "mmlu")}
    first = evaluate(str(tiny_qwen), given, predictions=path, device="cpu")
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    assert len(lines) == 1 + 16 + 16
    path.write_bytes(b"".join(lines[:21]) + lines[21][:17])  # killed in the middle of a line

    scored: list[int] = []
    import evals.ppl

    def counting(model: Any, tokenizer: Any, items: list[Item], **more: Any) -> Any:
        scored.append(len(items))
        return run_task(model, tokenizer, items, **more)

    monkeypatch.setattr(evals.ppl, "run_task", counting)
    assert evaluate(str(tiny_qwen), given, predictions=path, device="cpu") == first
    assert scored == [0, 12]
    again = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len({tuple(r["key"]) for r in again[1:]}) == 32
    evaluate(str(tiny_qwen), given, predictions=path, limit=5)
    assert scored == [0, 12], "nothing is scored, and no model loaded, when all is there"


def test_predictions_of_something_else_are_refused(tiny_qwen: Path, data: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    given = {"arc_easy": data["arc_easy"]}
    evaluate(str(tiny_qwen), given, predictions=path, limit=2, device="cpu")
    with pytest.raises(SettingsError, match="of another model, other data or options"):
        evaluate(str(tiny_qwen), given, predictions=path, limit=2, prompts="lm-eval")
    path.write_text("hello\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="is not a file of such records"):
        evaluate(str(tiny_qwen), given, predictions=path, limit=2)


def test_errors_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be loaded as a causal language model"):
        load_model(str(tmp_path))
    with pytest.raises(SettingsError, match="no number format float3"):
        load_model(str(tmp_path), dtype="float3")
    with pytest.raises(SettingsError, match="is not TASK=FILE"):
        read_data(["hellaswag"])
    with pytest.raises(SettingsError, match="given twice"):
        read_data(["mmlu=a", "mmlu=b"])


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
    named, out = [f"{name}={tmp_path / name}.json" for name in ("base", "sft")], tmp_path / "figure.png"
    found = CliRunner().invoke(app_of(draw), [*named, "--out", str(out)])
    assert found.exit_code == 0, found.output
    (axes,) = drawn[0].axes
    assert [round(bar.get_height()) for bar in axes.patches] == [40, 40, 50, 50]
    ends = [segment[:, 1].tolist() for lines in axes.collections for segment in lines.get_segments()]
    assert ends == [pytest.approx(e) for e in ([33, 46], [33, 46], [43, 56], [43, 56])]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["mmlu\nn = 200", "boolq\nn = 200"]
    assert out.stat().st_size > 5000
    wrong = CliRunner().invoke(app_of(draw), [named[0], "--task", "piqa", "--out", str(out)])
    assert isinstance(wrong.exception, SettingsError)


def test_encoded_knows_whether_lengths_differ() -> None:
    rows = ((1, 2, 3), (1, 2, 4, 5))
    assert not Encoded(item("a", "b"), rows, (2, 2), 2, 0, False).equal_lengths
