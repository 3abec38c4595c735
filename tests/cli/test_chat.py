"""``egosrag chat``: turns from standard input, replies as text or JSON, sessions, sources, presets and personas."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import SAMPLES, Run
from tests.tiny import make_tiny_qwen

EDDA = str(SAMPLES / "edda.en.json")
GU = str(SAMPLES / "gu.zh.json")


def test_a_line_of_standard_input_is_a_turn(run: Run, script: Callable[..., str]) -> None:
    model = script('I am Edda, sailor." And', 'There is soup."')
    done = run("chat", "--role", EDDA, "--model", model, "--json", stdin=b"Who are you?\nI am hungry.\n")
    assert done.code == 0
    assert [(row["speaker"], row["text"]) for row in done.rows] == [
        ("Edda", "I am Edda, sailor."),
        ("Edda", "There is soup."),
    ]
    for row in done.rows:
        assert set(row) == {"speaker", "text", "stop_reason", "usage", "timing", "ledger"}
        assert row["stop_reason"] == "quote"
        assert set(row["usage"]) == {"prompt_tokens", "completion_tokens", "cached_tokens"}
        assert set(row["timing"]) == {"first_token_s", "total_s"}


def test_a_reply_is_streamed_after_the_speakers_name(run: Run, script: Callable[..., str]) -> None:
    done = run("chat", "--role", GU, "--model", script("我是顾青禾。”"), stdin="你是谁？\n".encode())
    assert done.out == "顾青禾: 我是顾青禾。\n"


def test_a_base_model_without_a_chat_template_is_used_without_one(run: Run, tmp_path: Path) -> None:
    model = tmp_path / "base"
    make_tiny_qwen(model, reply='Yes!" dog')
    config = json.loads((model / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": None}))
    words = ("chat", "--role", EDDA, "--model", str(model), "--set", "prompt_tokens=900")
    refused = run(*words, stdin=b"Hi\n")
    assert refused.code == 1 and "no chat template: use --no-template" in refused.err
    assert run(*words, "--no-template", stdin=b"Hi\n").out == "Edda: Yes!\n"


def test_a_session_continues_after_a_restart(run: Run, script: Callable[..., str], tmp_path: Path) -> None:
    words = ("chat", "--role", EDDA, "--session", "monday", "--store", str(tmp_path / "sessions.sqlite"), "--json")
    run(*words, "--model", script('Hello, sailor."'), stdin=b"Hello!\n")
    done = run(*words, "--model", script('You said hello."'), stdin=b"What did I say?\n")
    assert done.rows[0]["text"] == "You said hello."
    assert "session monday: 3 turns so far" in done.err  # the greeting, the line and its reply


def test_without_a_session_name_a_new_one_starts(run: Run, script: Callable[..., str]) -> None:
    names = set()
    for _ in range(2):
        done = run("chat", "--role", EDDA, "--model", script('Hello."'), stdin=b"Hello!\n")
        assert "new;" in done.err
        names.add(done.err.split()[1])
    assert len(names) == 2


def test_without_quotes_a_reply_ends_at_the_line_end(run: Run, script: Callable[..., str]) -> None:
    model = script("I am Edda.\nMe: And I")
    done = run("chat", "--role", EDDA, "--no-quote", "--model", model, "--json", stdin=b"Who are you?\n")
    assert done.rows[0]["text"] == "I am Edda."


@pytest.mark.parametrize(
    ("name", "source", "line", "fact"),
    [
        ("Edda", "edda.en.txt", "What is your brother called?", "brother"),
        ("Edda", "edda.en.html", "What is your brother called?", "Tom"),
        ("顾青禾", "gu.zh.html", "你的女儿叫什么？", "顾小满"),
    ],
)
def test_sources_are_searched_for_each_line(
    name: str, source: str, line: str, fact: str, run: Run, script: Callable[..., str], tmp_path: Path
) -> None:
    from egosrag.rag.documents.load import read_text

    words = ("--model", script('Tom."'), "--set", "context_window=900", "--json")
    text = read_text(SAMPLES / source)
    command = ("chat", "--name", name, "--source", str(SAMPLES / source), "--strategy", "dynamic", *words)
    (row,) = run(*command, stdin=f"{line}\n".encode()).rows
    assert any(fact in place["quote"] for place in row["evidence"])
    for place in row["evidence"]:
        assert (place["source"], text[place["start"] : place["end"]]) == (source, place["quote"])

    card = str(tmp_path / "role.json")
    done = run("extract", str(SAMPLES / source), "--name", name, "--strategy", "dynamic", "--out", card, *words[2:4])
    assert done.out == f"{card}\n"
    (again,) = run("chat", "--role", card, *words, stdin=f"{line}\n".encode()).rows
    assert any(fact in place["quote"] for place in again["evidence"])


def test_with_strategy_none_the_sources_are_in_the_prompt(run: Run, script: Callable[..., str]) -> None:
    source = str(SAMPLES / "edda.en.txt")
    words = ("chat", "--name", "Edda", "--source", source, "--strategy", "none", "--json", "--model")
    done = run(*words, script('I keep the light."'), "--set", "context_window=512", stdin=b"Who are you?\n")
    assert done.rows[0]["text"] == "I keep the light."
    assert "the sources are longer than the window" in done.err


def test_a_separate_model_extracts_the_card(run: Run, script: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "ann.txt").write_text("Ann Lee is a sailor. She is very brave.", encoding="utf-8")
    (tmp_path / "reads.json").write_text('["Background: Ann Lee is a sailor."]', encoding="utf-8")
    words = ("chat", "--name", "Ann Lee", "--source", "ann.txt", "--extract-model", "scripted:reads.json", "--json")
    done = run(*words, "--model", script('I sail."'), stdin=b"Who are you?\n")
    assert done.rows[0]["text"] == "I sail."


def test_a_preset_is_selected_by_name_and_flags_override_it(run: Run, script: Callable[..., str]) -> None:
    words = ("chat", "--role", EDDA, "--preset", "EGOS-wo-quote", "--json")
    done = run(*words, "--model", script("I am Edda.\nMe: And I"), stdin=b"Who are you?\n")
    assert done.rows[0]["text"] == "I am Edda."
    done = run(*words[:4], "EGOS-Huge", stdin=b"Hi\n")
    assert (done.code, "take one of EGOS-Small" in done.err) == (1, True)


def test_a_reply_as_json_has_a_token_ledger(run: Run, script: Callable[..., str]) -> None:
    words = ("chat", "--role", GU, "--memory", "static", "--json")
    (row,) = run(*words, "--model", script("我是顾青禾。”"), stdin="你是谁？\n".encode()).rows
    parts = ("template", "card", "lore", "scenes", "recalled", "note", "history", "line")
    assert set(row["ledger"]) == {*parts, "reply", "cached"}
    assert sum(row["ledger"][part] for part in parts) == row["usage"]["prompt_tokens"]
    assert row["ledger"]["reply"] == row["usage"]["completion_tokens"]


def test_several_cards_make_a_scene(run: Run, script: Callable[..., str]) -> None:
    words = ("chat", "--role", EDDA, "--role", GU, "--memory", "static", "--session", "two", "--json")
    done = run(*words, "--model", script("我是顾青禾。”", 'I am Edda."'), stdin="顾青禾，你好！\nEdda?\n".encode())
    assert [row["speaker"] for row in done.rows] == ["顾青禾", "Edda"]
    done = run("chat", "--role", EDDA, "--memory", "static", "--session", "two", "--model", script(), stdin=b"Hi\n")
    assert done.code == 1 and "belongs to Edda, 顾青禾, not to Edda" in done.err


def test_persona_lorebook_and_greeting_reach_the_conversation(
    run: Run, tmp_path: Path, script: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from egosrag.models.scripted import ScriptedChatModel

    prompts = []
    before = ScriptedChatModel._next
    monkeypatch.setattr(ScriptedChatModel, "_next", lambda self, m, stop: (prompts.append(m), before(self, m, stop))[1])
    data = {"name": "Tim", "description": "{{char}} bakes bread for {{user}}.", "first_mes": "Come in, {{user}}!"}
    data["alternate_greetings"] = ["Closed, {{user}}."]
    card = tmp_path / "tim.json"
    card.write_text(json.dumps({"spec": "chara_card_v2", "spec_version": "2.0", "data": data}), encoding="utf-8")
    (tmp_path / "lore.json").write_text(json.dumps({"entries": [{"keys": ["oven"], "content": "The oven is Bess."}]}))
    words = ["chat", "--role", str(card), "--model", script('Yes."'), "--memory", "none", "--json", "--greeting", "1"]
    done = run(*words, "--persona", "Ann: a sailor", "--lore", "lore.json", stdin=b"Is the oven hot?\n")
    assert done.code == 0, done.err
    assert done.rows[0]["ledger"]["lore"] > 0
    system, first = prompts[0][0].text, prompts[0][1].text
    assert "Tim bakes bread for Ann." in system
    assert "Talks with: Ann: a sailor" in system
    assert first == 'Tim: "Closed, Ann."\nAbout this world:\n- The oven is Bess.\nAnn: "Is the oven hot?"'
    done = run(*words[:-1], "7", stdin=b"Hi\n")
    assert (done.code, "Tim has no greeting 7" in done.err) == (1, True)
