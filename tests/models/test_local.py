"""What only models of transformers do; ``test_contract`` has what all in this process do."""

from __future__ import annotations

from pathlib import Path

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from egosrag.errors import WindowError
from egosrag.models import load_chat_model
from egosrag.models.local import LocalChatModel
from egosrag.models.runtime.kv_cache import KVCachePool
from egosrag.prompts.encode import encode
from tests.models.test_contract import ASK, FRAGE


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


@pytest.mark.parametrize("messages", [ASK, FRAGE, ASK[:2]])
def test_log_likelihoods_are_those_of_the_whole_text_computed_at_once(
    tiny_qwen: Path, messages: list[BaseMessage]
) -> None:
    import torch

    model, text = LocalChatModel(model=str(tiny_qwen)), "I am Tim, 孙悟空."
    found = [model.log_likelihoods(messages, text) for _ in range(2)]  # without and with a KV cache
    prefix = str(messages[-1].text) if isinstance(messages[-1], AIMessage) else ""
    before = messages[:-1] if prefix else messages
    ids = encode(model.tokenizer, [*before, AIMessage(prefix + text)])
    with torch.inference_mode():
        logits = model.engine.base(torch.tensor([ids])).logits[0].log_softmax(-1)
    expected = [float(logits[n - 1, ids[n]]) for n in range(len(ids) - len(found[0]), len(ids))]
    assert found[0] == pytest.approx(expected, abs=1e-4)
    assert found[1] == pytest.approx(expected, abs=1e-4)
    assert model.tokenizer.decode(ids[-len(expected) :]).endswith(text)


def test_log_likelihoods_of_a_text_that_does_not_fit_the_window_are_an_error(tiny_qwen: Path) -> None:
    with pytest.raises(WindowError, match="shorten it"):
        LocalChatModel(model=str(tiny_qwen), context_window=40).log_likelihoods(ASK, "I am Tim. " * 40)
