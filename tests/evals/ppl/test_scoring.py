"""PPL mode: the rules of OpenCompass and lm-eval, and prefix sharing, which equals the plain computation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from evals.ppl.prefix_sharing import SharedPrefixScorer
from evals.ppl.run import Weights, load_model, run_task
from evals.ppl.scoring import Encoded, Scores, choose, common_prefix, encode, score_plain
from evals.ppl.tasks import TASKS, Item, load_task

REAL_ROWS = (
    200 if os.environ.get("EGOSRAG_TEST_PROFILE") == "full" else 8
)  # of each task; read here, because the variable is removed in tests


@pytest.fixture(scope="module")
def net(tiny_qwen: Path) -> tuple[Any, Any]:
    return load_model(Weights(str(tiny_qwen), device="cpu"))


class Counted:
    """A model that counts its forward passes and their tokens."""

    def __init__(self, model: Any, **forced: Any) -> None:
        self.model, self.passes, self.tokens, self.forced = model, 0, 0, forced
        self.config, self.device, self.dtype, self.forward = model.config, model.device, model.dtype, model.forward

    def __call__(self, **inputs: Any) -> Any:
        self.passes += 1
        self.tokens += inputs["input_ids"].numel()
        return self.model(**(inputs | self.forced))


def item(*texts: str, gold: int = 0, **more: Any) -> Item:
    return Item(0, texts, ("",) * len(texts), texts, gold, **more)


# The rules


def test_the_lowest_mean_over_all_tokens_wins_not_the_lowest_sum() -> None:
    # sums 30 and 36 over 10 and 13 tokens: means 3.0 and 2.77
    scores = Scores(tokens=(10, 13), tail=(4.0, 10.0), continuation=(4.0, 10.0), whole=(30.0, 36.0))
    assert scores.mean == pytest.approx((3.0, 36 / 13))
    chosen = choose(item("ab", "abcdefgh"), scores)
    # lm-eval: -4 > -10, but per character -4/2 < -10/8
    assert (chosen.prediction, chosen.acc, chosen.acc_norm) == (1, 0, 1)


def test_on_a_tie_the_first_option_wins() -> None:
    scores = Scores((5, 5, 5), (2.0, 1.0, 1.0), (2.0, 1.0, 1.0), None)
    assert choose(item("a", "b", "c"), scores).prediction == 1


def test_winogrande_is_decided_by_the_suffix() -> None:
    scores = Scores((5, 5), (9.0, 3.0), (1.0, 2.0), (20.0, 10.0))
    assert choose(item("a", "b", suffix=True), scores).prediction == 0


def test_the_plain_score_is_the_loss_of_transformers_times_n_minus_1_over_n(net: tuple[Any, Any]) -> None:
    import torch

    model, tokenizer = net
    (encoded,) = encode(tokenizer, [item("a cat sees", "a cat runs under the boat")], 1016)
    for n, (row, mean) in enumerate(zip(encoded.rows, score_plain(model, encoded).mean or (), strict=True)):
        ids = torch.tensor([row])
        assert tokenizer.decode(ids[0]) == encoded.item.contexts[n]
        loss = model(input_ids=ids, labels=ids).loss.item()
        assert mean == pytest.approx(loss * (len(row) - 1) / len(row), abs=1e-5)


def test_the_common_prefix_of_token_lists() -> None:
    assert common_prefix([[1, 2, 3], [1, 2, 4, 5], [1, 2]]) == 2
    assert common_prefix([[7], [8]]) == 0


def test_an_option_that_is_a_prefix_of_another_still_has_a_tail(net: tuple[Any, Any]) -> None:
    model, tokenizer = net
    encoded = list(encode(tokenizer, [item("the cat", "the cat runs", "the cat")], 1024))
    assert encoded[0].common == len(encoded[0].rows[0]) - 1
    ((_, fast),) = SharedPrefixScorer(model).score(encoded)
    slow = score_plain(model, encoded[0])
    assert fast.whole == pytest.approx(slow.whole, abs=1e-4)
    assert fast.whole[0] == fast.whole[2]  # type: ignore[index]


def test_encoded_knows_whether_lengths_differ() -> None:
    rows = ((1, 2, 3), (1, 2, 4, 5))
    assert not Encoded(item("a", "b"), rows, (2, 2), 2, 0, False).equal_lengths


# Prefix sharing against the plain computation


@pytest.mark.parametrize("prompts", ["opencompass", "lm-eval"])
@pytest.mark.parametrize("task", TASKS)
def test_prefix_sharing_equals_the_plain_computation(
    net: tuple[Any, Any], data: dict[str, str], task: str, prompts: str
) -> None:
    model, tokenizer = net
    encoded = list(encode(tokenizer, load_task(task, data[task], prompts=prompts), 1024))
    scorer = SharedPrefixScorer(model, tokens=200)
    assert scorer.why_plain is None
    plain = [score_plain(model, e) for e in encoded]
    for whole in (False, True):
        scored = list(scorer.score(encoded, whole=whole))
        assert [e.item.row for e, _ in scored] == [e.item.row for e in encoded]
        for (e, fast), slow in zip(scored, plain, strict=True):
            assert choose(e.item, fast) == choose(e.item, slow)
            assert fast.tail == pytest.approx(slow.tail, abs=1e-4)
            assert fast.continuation == pytest.approx(slow.continuation, abs=1e-4)
            if whole:
                assert fast.mean == pytest.approx(slow.mean, abs=1e-4)


@pytest.mark.parametrize("task", TASKS)
def test_prefix_sharing_equals_the_plain_computation_on_real_rows(
    net: tuple[Any, Any], shared_data: Path, task: str
) -> None:
    model, tokenizer = net
    path = shared_data / "ppl" / ("mmlu" if task == "mmlu" else f"{task}.jsonl")
    rows = REAL_ROWS
    encoded = list(encode(tokenizer, load_task(task, str(path), limit=rows), 1024))[:rows]
    assert len(encoded) == rows
    for e, fast in SharedPrefixScorer(model).score(encoded, whole=True):
        slow = score_plain(model, e)
        assert choose(e.item, fast) == choose(e.item, slow)
        assert fast.mean == pytest.approx(slow.mean, abs=1e-4)
        lengths = [len(row) - start for row, start in zip(e.rows, e.starts, strict=True)]
        for one, other, tokens in zip(fast.continuation, slow.continuation, lengths, strict=True):
            assert one / tokens == pytest.approx(other / tokens, abs=1e-4)


def test_the_few_shot_header_is_computed_once_and_letters_cost_nothing(
    net: tuple[Any, Any], data: dict[str, str]
) -> None:
    model, tokenizer = net
    items = load_task("mmlu", data["mmlu"])
    encoded = list(encode(tokenizer, items, 1024))
    scorer = SharedPrefixScorer(model)
    scorer.model = counted = Counted(model)
    list(scorer.score(encoded))
    naive = sum(len(row) for e in encoded for row in e.rows)
    questions = sum(len(tokenizer(i.contexts[0])["input_ids"]) for i in items)
    headers = sum(len(tokenizer(i.head + "".join(i.shots))["input_ids"]) for i in (items[0], items[-1]))
    assert counted.tokens <= headers + questions + 4 * len(items)
    assert counted.tokens * 8 < naive


def test_equal_options_tie(net: tuple[Any, Any]) -> None:
    model, tokenizer = net
    same = Item(
        0, ("The boat ",) * 4, ("sees red", "runs", "runs", "sees red"), ("sees red", "runs", "runs", "sees red"), 0
    )
    (record,) = run_task(model, tokenizer, [same])
    assert record["whole"][0] == record["whole"][3]
    assert record["whole"][1] == record["whole"][2]
    assert record["prediction"] in (0, 1)


@pytest.mark.parametrize("forced", [{"attention_mask": None}, {"position_ids": None}, {"past_key_values": None}])
def test_a_model_that_cannot_share_prefixes_is_detected_and_scored_plainly(
    net: tuple[Any, Any], data: dict[str, str], forced: dict[str, Any]
) -> None:
    model, tokenizer = net
    scorer = SharedPrefixScorer(Counted(model, **forced))
    assert scorer.why_plain is not None
    encoded = list(encode(tokenizer, load_task("hellaswag", data["hellaswag"], limit=3), 1024))
    assert [s for _, s in scorer.score(encoded)] == [score_plain(scorer.model, e) for e in encoded]


def test_a_long_prompt_loses_examples_and_then_its_beginning(net: tuple[Any, Any], data: dict[str, str]) -> None:
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

    base, _ = load_model(Weights(str(tiny_qwen), device="cpu"))
    tuned = get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj", "down_proj"]))
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.5)
    tuned.save_pretrained(str(tmp_path / "adapter"))
    model, tokenizer = load_model(Weights(str(tiny_qwen), str(tmp_path / "adapter"), device="cpu"))
    encoded = list(encode(tokenizer, load_task("arc_easy", data["arc_easy"], limit=2), 1024))
    for e, fast in SharedPrefixScorer(model).score(encoded):
        assert fast.tail == pytest.approx(score_plain(tuned.eval(), e).tail, abs=1e-3)
        assert fast.tail != pytest.approx(score_plain(net[0], e).tail, abs=1e-3)
