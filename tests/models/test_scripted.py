"""The scripted model behaves like a real one, records its calls, and raises when its script runs out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from egosrag.errors import ModelError, ScriptExhausted, WindowError
from egosrag.models import load_chat_model
from egosrag.models.scripted import ScriptedChatModel
from egosrag.models.tokens import context_window, count_tokens

ASK = [SystemMessage("You are Tim."), HumanMessage('Me: "Hello"'), AIMessage('Tim: "')]


def test_it_replies_from_its_script_and_records_its_calls() -> None:
    model = ScriptedChatModel(responses=['I am Tim." And then', "我是悟空。”然后"])
    assert model.invoke(ASK, stop=['"']).text == "I am Tim."
    assert model.invoke([HumanMessage("Hi")], stop=["”"]).text == "我是悟空。"
    first, second = model.calls
    assert (first.messages, first.prefix, first.stop) == (tuple(ASK), 'Tim: "', ('"',))
    assert (second.prefix, second.stop) == (None, ("”",))


def test_when_the_script_runs_out_the_error_has_the_number_of_the_call() -> None:
    model = ScriptedChatModel(responses=["a"])
    model.invoke("x")
    with pytest.raises(ScriptExhausted, match="call 2 of a script with 1 response"):
        model.invoke("x")


def test_it_streams_in_small_chunks_and_never_a_stop_string() -> None:
    model = ScriptedChatModel(responses=["One two\nMe: three"], chunk_size=2)
    chunks = list(model.stream(ASK, stop=["\nMe:"]))
    assert [str(p.text) for p in chunks] == ["On", "e ", "tw", "o", ""]
    assert chunks[-1].response_metadata["finish_reason"] == "stop"


@pytest.mark.parametrize(("stop", "limit", "reason"), [(["b"], 9, "stop"), (None, 9, "eos"), (None, 1, "length")])
def test_the_reason_why_a_reply_ended(stop: list[str] | None, limit: int, reason: str) -> None:
    model = ScriptedChatModel(responses=["a b"], max_new_tokens=limit)
    assert model.invoke("x", stop=stop).response_metadata["finish_reason"] == reason


def test_tokens_are_counted_by_the_documented_rule() -> None:
    model = ScriptedChatModel(responses=["我是 Tim!"])
    assert count_tokens(model, "我是 Tim!") == 4
    usage = model.invoke([HumanMessage("你好, Tim")]).usage_metadata
    assert usage and (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (8, 4, 12)
    assert context_window(model) == 4096 - 256


def test_the_context_window_limits_prompt_and_reply() -> None:
    model = ScriptedChatModel(responses=["a b c"], context_window=8)
    assert model.invoke("x x").text == "a b"
    with pytest.raises(WindowError, match="9 tokens and the window of the script holds 8"):
        model.invoke("x x x x x")
    assert len(model.calls) == 1


def test_a_script_is_a_json_list_of_strings(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text(json.dumps(["你好”"]), encoding="utf-8")
    assert load_chat_model(f"scripted:{path}", temperature=0.3).invoke("x", stop=["”"]).text == "你好"
    path.write_text("[1]")
    with pytest.raises(ModelError, match="not a list of strings"):
        load_chat_model(f"scripted:{path}")
    path.write_text("no")
    with pytest.raises(ModelError, match="is not JSON"):
        load_chat_model(f"scripted:{path}")
    with pytest.raises(ModelError, match="cannot be read"):
        load_chat_model(f"scripted:{tmp_path / 'absent.json'}")
