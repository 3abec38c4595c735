"""The plain chatbot of the report's section 5."""

from __future__ import annotations

from typing import Any

import pytest

from egosrag.chatbot import Chatbot, ChatReply
from egosrag.errors import SessionError, WindowError
from egosrag.models.scripted import ScriptedChatModel


def bot(*responses: str, **settings: Any) -> tuple[Chatbot, ScriptedChatModel]:
    window = {k: settings.pop(k) for k in ("context_window", "max_new_tokens") if k in settings}
    model = ScriptedChatModel(responses=list(responses), **window)
    return Chatbot(model, **settings), model


def test_turns_are_messages_of_their_own() -> None:
    chat, model = bot(" Paris.\n", "About 2 million.")
    assert chat.say("Capital of France? ").text == "Paris."
    reply = chat.say("How many people?")
    assert (reply.text, reply.stop_reason, reply.left_out) == ("About 2 million.", "eos", 0)
    assert [(m.type, m.text) for m in model.calls[1].messages] == [
        ("system", "You are a helpful assistant."), ("human", "Capital of France?"), ("ai", "Paris."),
        ("human", "How many people?"),
    ]  # fmt: skip
    assert model.calls[1].prefix is None
    assert reply.usage.prompt_tokens > reply.usage.completion_tokens > 0


def test_single_history_is_put_before_the_question() -> None:
    chat, model = bot("巴黎。", "两百万。", history="single")
    chat.say("法国的首都是哪里？")
    chat.say("有多少人？")
    assert [(m.type, m.text) for m in model.calls[1].messages] == [
        ("system", "你是一个乐于助人的助手。"), ("human", "问：法国的首都是哪里？\n答：巴黎。\n有多少人？"),
    ]  # fmt: skip


def test_system_message_may_be_given_or_left_out() -> None:
    for system, types in (("Be short.", ["system", "human"]), ("", ["human"])):
        chat, model = bot("Yes.", system=system)
        chat.say("Hi")
        assert [m.type for m in model.calls[0].messages] == types


def test_reply_is_streamed() -> None:
    chat, _ = bot("One two three four.")
    *chunks, reply = chat.stream("Count.")
    assert isinstance(reply, ChatReply)
    assert len(chunks) > 2
    assert "".join(str(chunk) for chunk in chunks) == reply.text
    assert reply.timing.first_token_s is not None


def test_a_reply_that_was_not_read_to_its_end_is_not_in_the_history() -> None:
    chat, model = bot("One two three four.", "Yes.")
    chunks = chat.stream("Count.")
    next(iter(chunks))
    chunks.close()  # type: ignore[attr-defined]
    chat.say("Hi")
    assert [m.type for m in model.calls[1].messages] == ["system", "human"]


def test_a_reply_cut_at_max_new_tokens_has_reason_length() -> None:
    chat, _ = bot("one two three four five", max_new_tokens=3)
    assert chat.say("Count.").stop_reason == "length"


def test_a_loop_is_ended_with_reason_length() -> None:
    chat, _ = bot("I fear the fog of the sea. " * 60, max_new_tokens=4000)
    reply = chat.say("What do you fear?")
    assert reply.stop_reason == "length" and len(reply.text) < 100


def test_oldest_pairs_are_left_out_and_counted() -> None:
    chat, model = bot(*["so it is " * 5] * 6, context_window=150, max_new_tokens=50)
    replies = [chat.say(f"Is it line {n}, or is it not?") for n in range(6)]
    assert [r.left_out for r in replies] == sorted(r.left_out for r in replies)
    assert replies[-1].left_out > 0
    assert "line 5" in str(model.calls[-1].messages[-1].text)
    assert len(model.calls[-1].messages) == 2 + 2 * (5 - replies[-1].left_out)


def test_lines_that_cannot_be_answered() -> None:
    chat, _ = bot(context_window=60)
    with pytest.raises(SessionError, match="empty"):
        chat.say(" \n")
    with pytest.raises(WindowError, match="window holds"):
        chat.say("word " * 200)
