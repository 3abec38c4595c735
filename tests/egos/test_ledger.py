"""The token ledger: tokens of each part of a prompt, by the model's own tokenizer; the parts sum to the prompt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from egosrag.egos.organize import History, Organize
from egosrag.models.scripted import ScriptedChatModel
from egosrag.schema import Role
from egosrag.sessions.conversation import Conversation
from tests.egos.test_organize import example_view
from tests.roles.cards import TIM, WUKONG

COUNT = ScriptedChatModel(responses=[]).count_tokens


@pytest.mark.parametrize("history", ["single", "multiple"])
@pytest.mark.parametrize("quote", [True, False])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_parts_of_the_ledger_sum_to_the_prompt(history: History, quote: bool, language: str) -> None:
    organize = Organize(COUNT, 4096, history=history, quote=quote)
    composed = organize.invoke(example_view(language))
    ledger = composed.ledger
    assert ledger.prompt == COUNT([*composed.messages, AIMessage(composed.prefix)])
    assert all(getattr(ledger, part) > 0 for part in ("template", "card", "scenes", "history", "line"))
    assert (ledger.lore, ledger.recalled) == (0, 0)


def test_a_longer_card_changes_only_the_tokens_of_the_card() -> None:
    organize = Organize(COUNT, 4096)
    before = organize.invoke(example_view("en")).ledger
    longer = example_view("en").role.model_copy(
        update={"greeting": None, "background": (*TIM.background, *TIM.personality)}
    )
    after = organize.invoke(replace(example_view("en"), role=longer)).ledger
    assert after.card > before.card
    assert after.model_copy(update={"card": before.card}) == before


@pytest.mark.parametrize(
    ("role", "line", "raw"), [(TIM, "Who are you?", 'I am Tim."'), (WUKONG, "你是谁？", "俺是悟空。”")]
)
def test_every_reply_has_a_ledger_that_agrees_with_its_usage(role: Role, line: str, raw: str) -> None:
    conversation = Conversation(ScriptedChatModel(responses=[raw, raw]), role)
    first, second = conversation.say(line), conversation.say(line)
    for reply in (first, second):
        assert reply.ledger.prompt == reply.usage.prompt_tokens
        assert reply.ledger.reply == reply.usage.completion_tokens > 0
        assert reply.ledger.cached == reply.usage.cached_tokens
    assert first.ledger.history == 0 < second.ledger.history
    assert (first.ledger.template, first.ledger.card) == (second.ledger.template, second.ledger.card)


def test_a_local_model_counts_with_its_own_tokenizer(tiny_qwen: Path) -> None:
    from egosrag.models import load_chat_model

    model: Any = load_chat_model(str(tiny_qwen), max_new_tokens=4, seed=1)
    conversation = Conversation(model, TIM)
    reply = conversation.say("Good morning.")
    assert reply.ledger.prompt == reply.usage.prompt_tokens
    other = Conversation(model, Role(name="Tim", language="en")).say("Good morning.")
    assert other.ledger.card < reply.ledger.card
    assert (other.ledger.template, other.ledger.line) == (reply.ledger.template, reply.ledger.line)
