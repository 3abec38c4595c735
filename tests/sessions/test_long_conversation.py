"""A conversation of 300 turns in a small window: nothing is lost, and the cached prefix of the prompt is stable."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage, HumanMessage

from egosrag.egos.pipeline import MemorySettings
from egosrag.models.scripted import ScriptedCall, ScriptedChatModel
from egosrag.prompts.encode import count_text, encode
from egosrag.rag.retrieval.turn_memory import TurnMemory
from egosrag.sessions.conversation import Conversation
from egosrag.sessions.store import open_store
from tests.roles.cards import TIM
from tests.tiny import make_tiny_tokenizer

WINDOW = 1300
PLACES = ("river", "harbour", "orchard", "market", "bridge", "mill", "meadow", "tower", "garden", "quarry")
DEEDS = ("walk along", "sit by", "paint", "measure", "sweep", "leave", "look over", "talk about", "dream of", "rest at")


class PromptReader(ScriptedChatModel):
    """Answers from its prompt alone; counts tokens by a real tokenizer and chat template."""

    responses: list[str] = []
    tokenizer: Any = None

    def count_tokens(self, messages: Any) -> int:
        return count_text(self.tokenizer, messages) if isinstance(messages, str) else len(self.ids(messages))

    def ids(self, messages: Any) -> list[int]:
        return encode(self.tokenizer, list(messages))

    def _next(self, messages: list[BaseMessage], stop: list[str] | None) -> str:
        self._calls.append(ScriptedCall(tuple(messages), None, ()))
        is_reply = messages[-1].type == "ai"
        prompt = "\n".join(str(message.text) for message in (messages[1:-1] if is_reply else messages[1:]))
        if not is_reply:  # Summarize: lines with the name are kept, the rest becomes one line
            return "\n".join([*(line for line in prompt.splitlines() if "Robin" in line), "They go about."])
        if "what is my name" not in prompt.splitlines()[-1]:
            return 'So we do."'
        return 'You are Robin."' if "Robin" in prompt.rsplit("\n", 1)[0] else 'You never told me."'

    @property
    def reply_prompts(self) -> list[tuple[int, tuple[BaseMessage, ...]]]:
        """The prompts of replies, with prefix, each after the number of calls of Summarize before it."""
        summaries, prompts = 0, []
        for call in self.calls:
            if call.messages[-1].type == "ai":
                prompts.append((summaries, call.messages))
            else:
                summaries += 1
        return prompts


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoTokenizer

    path = tmp_path_factory.mktemp("tokenizer")
    make_tiny_tokenizer(path)
    return AutoTokenizer.from_pretrained(path)


def line(n: int) -> str:
    # Of others: what users say of themselves is kept word for word in the scenes.
    return f"they {DEEDS[n // 10 % 10]} the {PLACES[n % 10]}{' again' if n > 99 else ''}."


def stable_ids(model: PromptReader, messages: tuple[BaseMessage, ...]) -> list[int]:
    """The token ids of a prompt, without the recalled turns and the last line."""
    text = str(messages[1].text)
    head = text.split("\nRemembered from earlier:")[0] if "\nRemembered from earlier:" in text else text
    head = head.rsplit("\n", 1)[0] if head is text else head
    ids = model.ids([messages[0], HumanMessage(head)])
    end = model.tokenizer.convert_tokens_to_ids("<|im_end|>")
    # In the whole prompt, the last quotation mark may be one token with the following line break.
    return ids[: len(ids) - 1 - ids[::-1].index(end) - 2]


def assert_prefix_is_stable(model: PromptReader, at_most: int) -> None:
    """Every prompt fits, and continues the one before it, except at most ``at_most`` times, after a summary."""
    changed, summarizes = 0, model.reply_prompts[-1][0] > 0  # dynamic memory alone calls no model
    for (epoch, before), (later, after) in zip(model.reply_prompts, model.reply_prompts[1:], strict=False):
        head = stable_ids(model, before)
        if model.ids(after)[: len(head)] != head:
            changed += 1
            assert not summarizes or epoch != later, str(after[1].text)
    assert 0 < changed <= at_most
    assert all(len(model.ids(prompt)) <= WINDOW for _, prompt in model.reply_prompts)


def conversation(model: PromptReader, memory: Any, store: Any, **more: Any) -> Conversation:
    settings = MemorySettings(memory, TurnMemory() if memory in ("dynamic", "both") else None)
    return Conversation(model, TIM, checkpointer=store, session="s", window=WINDOW, memory=settings, **more)


@pytest.mark.timeout(900)  # 150 lines through the whole graph, slow on a busy machine
def test_300_turns_lose_nothing_and_keep_the_prompt_prefix_stable(tokenizer: Any, tmp_path: Path) -> None:
    model = PromptReader(tokenizer=tokenizer, context_window=4096)
    lines = ["my name is Robin.", *(line(n) for n in range(149))]
    with open_store(tmp_path / "talk.sqlite") as store:
        talk = conversation(model, "both", store)
        assert [talk.say(text).text for text in lines] == ["So we do."] * 150
        turns = talk.turns()
    assert [turn.text for turn in turns] == [text for line_ in lines for text in (line_, "So we do.")]
    assert {turn.status for turn in turns} == {"complete"}
    assert_prefix_is_stable(model, at_most=40)
    assert "Remembered from earlier:" in str(model.reply_prompts[-1][1][1].text)
    # Full records in every checkpoint would take 20 MB.
    assert (tmp_path / "talk.sqlite").stat().st_size < 8_000_000

    answers = {}
    for memory in ("static", "dynamic", "none"):
        shutil.copy(tmp_path / "talk.sqlite", tmp_path / f"{memory}.sqlite")
        with open_store(tmp_path / f"{memory}.sqlite") as store:  # a new object that has only the stored record
            talk = conversation(model, memory, store)
            answers[memory] = talk.say("what is my name?").text
        prompt = str(model.reply_prompts[-1][1][1].text)
        assert ("Earlier:" in prompt, "Remembered from earlier:" in prompt) == (memory == "static", memory == "dynamic")
        assert len(model.ids(model.reply_prompts[-1][1])) <= WINDOW
    assert answers == {"static": "You are Robin.", "dynamic": "You are Robin.", "none": "You never told me."}


@pytest.mark.parametrize("history", ["single", "multiple"])
def test_the_prompt_prefix_is_stable_with_dynamic_memory_alone(tokenizer: Any, history: Any) -> None:
    model = PromptReader(tokenizer=tokenizer, context_window=4096)
    talk = conversation(model, "dynamic", None, history=history)
    for text in ["my name is Robin.", *(line(n) for n in range(30))]:
        talk.say(text)
    assert talk.say("what is my name?").text == "You are Robin."
    assert all(call.messages[-1].type == "ai" for call in model.calls), "Summarize calls no model"
    if history == "single":
        assert_prefix_is_stable(model, at_most=6)
