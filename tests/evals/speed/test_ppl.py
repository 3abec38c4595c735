"""The speed comparison of PPL mode: every side scores the same strings and chooses the same options."""

from __future__ import annotations

import pytest

from evals.ppl.scoring import encode
from evals.speed.checkpoints import random_checkpoint
from evals.speed.ppl import TASKS, measure, random_items


def test_all_sides_choose_the_same_options_and_the_ratios_are_right() -> None:
    pytest.importorskip("lm_eval", reason="lm-eval is not installed: it is the peer")
    small = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    tasks = {task: random_items(task, 3) for task in TASKS}
    found = measure(tasks, [1, 4], **small, num_key_value_heads=2, vocab_size=9000)
    assert set(found["peers"]) == {"lm_eval batch 1", "lm_eval batch 4", "plain"}
    for task in TASKS:
        assert found["same"][task] == 1.0
        accs = {side[task]["acc"] for name, side in found["peers"].items() if name != "plain"}
        assert accs == {found["ours"][task]["acc"]}
        speeds = {name: side[task]["rows_per_second"] for name, side in found["peers"].items()}
        mine = found["ours"][task]["rows_per_second"]
        assert found["ratio_plain"][task] == pytest.approx(mine / speeds.pop("plain"), abs=0.01)
        assert found["ratio"][task] == pytest.approx(mine / max(speeds.values()), abs=0.01)


def test_random_items_have_the_lengths_of_the_real_ones() -> None:
    items = {task: random_items(task, 12) for task in TASKS}
    texts = [text for rows in items.values() for item in rows for text in item.texts()]
    tiny = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    _, tokenizer = random_checkpoint(texts, **tiny, num_key_value_heads=1, vocab_size=9000)
    sizes = {t: [len(r) for e in encode(tokenizer, rows, 9999) for r in e.rows] for t, rows in items.items()}
    assert 600 < sum(sizes["mmlu"]) / len(sizes["mmlu"]) < 1000
    assert 70 < sum(sizes["hellaswag"]) / len(sizes["hellaswag"]) < 130
    assert {len(item.shots) for item in items["mmlu"]} == {5}
