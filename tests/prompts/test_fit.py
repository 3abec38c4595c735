"""Messages in the form that a chat template accepts: nothing is lost, the least is changed, a prefix is continued.

The templates are written as those of the real models (``chat_templates``).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from egosrag.errors import ModelError
from egosrag.prompts.encode import encode, end_of_turn_id, render_text
from tests.prompts.chat_templates import TEMPLATES
from tests.tiny import CHAT_TEMPLATE

S, U, A = SystemMessage, HumanMessage, AIMessage
MARKS = ["[INST]", "<start_of_turn>", "<|eot_id|>", "<|end|>", "<|user|>", "<|END_OF_TURN_TOKEN|>"]
MARKS += ["<｜User｜>", "<｜end▁of▁sentence｜>"]

Write = Callable[[str, list[BaseMessage]], str]


@pytest.fixture(scope="module")
def tokenizer(tiny_qwen: Path) -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_qwen)
    tokenizer.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>"})
    tokenizer.add_tokens(MARKS, special_tokens=True)
    return tokenizer


@pytest.fixture
def write(tokenizer: Any) -> Write:
    """The prompt as text, by a template's name or its text."""

    def rendered(template: str, messages: list[BaseMessage]) -> str:
        tokenizer.chat_template = TEMPLATES.get(template, template)
        assert tokenizer.decode(encode(tokenizer, messages)) == render_text(tokenizer, messages)
        return render_text(tokenizer, messages)

    return rendered


CONVERSATIONS = [
    [kind(f"text{n}") for n, kind in enumerate(kinds)]
    for size in (1, 2, 3, 4)
    for kinds in product((S, U, A), repeat=size)
]


@pytest.mark.parametrize("name", [*TEMPLATES, "qwen"])
def test_every_template_takes_messages_in_any_order_and_no_text_is_lost(tokenizer: Any, name: str) -> None:
    tokenizer.chat_template = TEMPLATES.get(name, CHAT_TEMPLATE)
    for messages in CONVERSATIONS:
        text = render_text(tokenizer, messages)
        assert all(str(message.text) in text for message in messages), messages
        assert len(encode(tokenizer, messages)) > len(messages)


@pytest.mark.parametrize("prefix", ['Tim: "', " a \n", "<think>\nHe", ""])
@pytest.mark.parametrize("name", [*TEMPLATES, "qwen"])
def test_a_prefix_is_continued_exactly(tokenizer: Any, name: str, prefix: str) -> None:
    tokenizer.chat_template = TEMPLATES.get(name, CHAT_TEMPLATE)
    for head in ([], [S("s")], [U("u")], [S("s"), U("u")], [S("s"), A("a"), U("u")], [U("u"), A("a")]):
        assert render_text(tokenizer, [*head, A("x")]).removesuffix("x") + prefix == render_text(
            tokenizer, [*head, A(prefix)]
        )


def test_what_a_template_accepts_is_left_as_it_is(write: Write) -> None:
    messages = [A("a"), S("s"), S("t"), U("u"), U("v")]
    assert write("phi-4", messages) == (
        "<|im_start|>assistant<|im_sep|>a<|im_end|><|im_start|>system<|im_sep|>s<|im_end|>"
        "<|im_start|>system<|im_sep|>t<|im_end|><|im_start|>user<|im_sep|>u<|im_end|>"
        "<|im_start|>user<|im_sep|>v<|im_end|><|im_start|>assistant<|im_sep|>"
    )


def test_a_system_text_without_a_role_of_its_own_opens_the_first_user_turn(write: Write) -> None:
    assert write("gemma", [S("s"), U("u")]) == "<s><start_of_turn>user\ns\n\nu<end_of_turn>\n<start_of_turn>model\n"
    assert write("mistral-v0.1", [S("s"), U("u"), A("x")]) == "<s>[INST] s\n\nu [/INST]x"


def test_a_system_text_that_is_left_out_without_a_word_is_put_into_the_user_turn(write: Write) -> None:
    assert write("phi-3-small", [S("s"), U("u")]) == "<|user|>\ns\n\nu<|end|>\n<|assistant|>\n"
    assert write("mistral-v0.3", [S("s"), U("u")]) == "<s>[INST] s\n\nu[/INST]"
    assert write("mistral-v0.3", [S("s"), U("u"), A("x")]) == "<s>[INST] s\n\nu[/INST] x", "its own rule loses the text"


def test_system_texts_alone_become_the_users_where_the_template_loses_them(write: Write) -> None:
    assert write("llama-2", [S("s")]) == "<s>[INST] s [/INST]"
    assert write("llama-3", [S("s")]).startswith("<s><|start_header_id|>system<|end_header_id|>\n\ns<|eot_id|>")


def test_of_several_system_texts_none_is_lost(write: Write) -> None:
    assert write("deepseek-r1", [S("s"), S("t"), U("u"), A("x")]) == "<s>s\n\nt<｜User｜>u<｜Assistant｜>x"


def test_a_later_system_text_is_the_users_at_its_place(write: Write) -> None:
    assert write("llama-2", [S("s"), U("u"), A("a"), S("t"), U("v")]) == (
        "<s>[INST] <<SYS>>\ns\n<</SYS>>\n\nu [/INST] a </s><s>[INST] t\n\nv [/INST]"
    )


def test_successive_messages_of_a_role_are_one(write: Write) -> None:
    assert write("gemma", [U("u"), U("v"), A("a"), A("x")]) == (
        "<s><start_of_turn>user\nu\n\nv<end_of_turn>\n<start_of_turn>model\na\n\nx"
    )


@pytest.mark.parametrize(
    ("greeting", "reply", "quoted"),
    [
        ("Hi, sailor.", "Hello.", "You opened the conversation with these words:\nHi, sailor.\n\nThe reply to them:"),
        ("水手，你好。", "你好。", "你用下面的话开始了这场对话：\n水手，你好。\n\n对方的回答："),
    ],
)  # fmt: skip
def test_a_greeting_is_quoted_where_the_user_must_speak_first(
    write: Write, greeting: str, reply: str, quoted: str
) -> None:
    expected = f"{quoted}\n\n{reply}"
    assert write("command-r", [S("s"), A(greeting), U(reply)]) == (
        "<s><|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>s<|END_OF_TURN_TOKEN|>"
        f"<|START_OF_TURN_TOKEN|><|USER_TOKEN|>{expected}<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"
    )
    assert f"user\ns\n\n{expected}<" in write("gemma", [S("s"), A(greeting), U(reply)])


def test_a_prefix_alone_comes_after_an_empty_turn_where_the_user_must_speak_first(write: Write) -> None:
    assert write("gemma", [A("x")]) == "<s><start_of_turn>user\n<end_of_turn>\n<start_of_turn>model\nx"
    assert write("gemma", [S("s"), A("x")]) == "<s><start_of_turn>user\ns<end_of_turn>\n<start_of_turn>model\nx"


def test_a_prefix_follows_the_generation_prompt_where_the_last_turn_must_be_the_users(write: Write) -> None:
    assert write("user-last", [U("u"), A(" x")]) == "<user>u</s><assistant> x"
    only_users = "{% for m in messages if m.role == 'user' %}<{{ m.content }}>{% endfor %}"
    assert write(only_users + "{% if add_generation_prompt %}:{% endif %}", [U("u"), A("x")]) == "<u>:x"


def test_thoughts_are_left_out_of_earlier_replies_as_the_template_does(write: Write) -> None:
    messages = [U("u"), A("<think>Hm.</think>a"), U("v")]
    assert write("deepseek-r1", messages) == (
        "<s><｜User｜>u<｜Assistant｜>a<｜end▁of▁sentence｜><｜User｜>v<｜Assistant｜><think>\n"
    )


def test_a_role_mark_in_a_reply_stays_text(tiny_qwen: Path) -> None:
    """DeepSeek's marks are not flagged as special; a reply may come from a file."""
    from tokenizers import AddedToken
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_qwen)
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    tokenizer.add_tokens([AddedToken("<｜User｜>", special=False)])
    tokenizer.chat_template = TEMPLATES["deepseek-r1"]
    ids = encode(tokenizer, [U("u"), A("a<｜User｜>b"), U("v")])
    assert ids.count(tokenizer.convert_tokens_to_ids("<｜User｜>")) == 2


def test_without_a_system_message_qwen_has_its_own(write: Write) -> None:
    assert write(CHAT_TEMPLATE, [A("x")]) == (
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
        "<|im_start|>assistant\nx"
    )
    assert "You are Qwen" not in write(CHAT_TEMPLATE, [S("s"), A("x")])


@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("gemma", "<end_of_turn>"),
        ("mistral-v0.3", "</s>"),
        ("phi-3", "<|end|>"),
        ("chatglm", "<|user|>"),
        ("deepseek-r1", "<｜end▁of▁sentence｜>"),
        ("user-last", "</s>"),
    ],
)
def test_a_reply_ends_at_what_follows_it_in_the_template(tokenizer: Any, name: str, token: str) -> None:
    tokenizer.chat_template = TEMPLATES[name]
    assert end_of_turn_id(tokenizer) == tokenizer.convert_tokens_to_ids(token)


def test_a_template_that_renders_a_part_of_the_messages_at_most_is_an_error(write: Write) -> None:
    with pytest.raises(ModelError, match="leaves out a part of these messages; use --no-template"):
        write("{{ messages[-1].content }}{{ messages[0].nothing }}", [U("u"), A("a"), U("v")])


def test_a_form_is_looked_for_once(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    rendering = type(tokenizer).apply_chat_template
    monkeypatch.setattr(
        type(tokenizer), "apply_chat_template", lambda *args, **options: calls.append(1) or rendering(*args, **options)
    )
    tokenizer.chat_template = TEMPLATES["gemma"] + "{# looked for once #}"
    encode(tokenizer, [S("s"), U("u")])
    assert len(calls) > 1
    calls.clear()
    encode(tokenizer, [S("another"), U("text")])
    assert len(calls) == 1
