"""What only models of transformers do; ``test_contract`` has what all in this process do."""

from __future__ import annotations

from pathlib import Path

from langchain_core.messages import HumanMessage

from egosrag.models import load_chat_model
from egosrag.models.local import LocalChatModel
from egosrag.models.runtime.kv_cache import KVCachePool


def test_load_chat_model_loads_a_folder(tiny_qwen: Path) -> None:
    model = load_chat_model(str(tiny_qwen), max_new_tokens=3, temperature=0.5, seed=1)
    assert isinstance(model, LocalChatModel)
    assert (model.max_new_tokens, model.temperature, model.seed) == (3, 0.5, 1)


def test_sampling_leaves_torchs_random_numbers_alone(tiny_qwen: Path) -> None:
    import torch

    model = LocalChatModel(model=str(tiny_qwen), temperature=1.0, seed=7, max_new_tokens=4)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    model.invoke([HumanMessage("Who are you?")])
    assert torch.equal(before, torch.get_rng_state())


def test_a_reply_is_the_same_without_the_kv_cache(tiny_qwen: Path) -> None:
    model = LocalChatModel(model=str(tiny_qwen), max_new_tokens=12)
    ask = [HumanMessage("Who are you?")]
    model.invoke(ask)
    again = model.invoke(ask)
    model.engine.kv_pool = KVCachePool()
    fresh = model.invoke(ask)
    assert fresh.usage_metadata and fresh.usage_metadata["input_token_details"]["cache_read"] == 0
    assert fresh.text == again.text
