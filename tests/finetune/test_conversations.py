"""Conversations of other trainers: what is learned, what is context, and what is left out and counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from egosrag.prompts.encode import encode, end_of_turn_id
from finetune.data.args import DataArgs
from finetune.data.shapes import Example
from finetune.data.tokenization import IGNORED, StopTokens, tokenize
from tests.conftest import ROOT
from tests.finetune.conftest import write_jsonl
from tests.finetune.test_data import labelled_text, load
from tests.prompts.chat_templates import TEMPLATES
from tests.prompts.test_fit import MARKS

Make = Callable[..., Any]
END = "<|im_end|>"
USER, ASSISTANT = "<|im_start|>user\n", "<|im_start|>assistant\n"
CASES = ROOT.parent / "shared" / "cases" / "datasets"


@pytest.fixture()
def trained(settings: Make, tmp_path: Path) -> Callable[..., tuple[str, str, dict[str, int], list[str]]]:
    """The text of one row, what of it is learned, what was left out, and what was skipped."""

    def run(row: dict[str, Any], **changes: Any) -> tuple[str, str, dict[str, int], list[str]]:
        good = {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}
        if "conversations" in row:
            good = {"conversations": [{"from": "human", "value": "x"}, {"from": "gpt", "value": "y"}]}
        if "instruction" in row:
            good = {"instruction": "x", "output": "y"}
        data, tokenizer, _ = load(settings(data=[str(write_jsonl(tmp_path / "r.jsonl", [row, good]))], **changes))
        texts = [tokenizer.decode(one["input_ids"]) for one in data.rows]
        learned = [labelled_text(one, tokenizer) for one in data.rows]
        return texts[0], learned[0], dict(data.counts.left_out), data.counts.skipped

    return run


def message(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def test_the_history_of_an_alpaca_row_becomes_turns_whose_replies_are_learned(trained: Any) -> None:
    row = {
        "instruction": "And your trade?",
        "input": "",
        "output": "Clocks.",
        "history": [["Who are you?", "Ilka."], ["Where?", "Vadren."]],
        "system": "Be dry.",
    }
    text, learned, left_out, _ = trained(row)
    turns = f"{USER}Who are you?{END}\n{ASSISTANT}Ilka.{END}\n{USER}Where?{END}\n{ASSISTANT}Vadren.{END}\n"
    assert text == (f"<|im_start|>system\nBe dry.{END}\n{turns}{USER}And your trade?{END}\n{ASSISTANT}Clocks.{END}")
    assert learned == f"Ilka.{END}Vadren.{END}Clocks.{END}" and not left_out


@pytest.mark.parametrize("history", [None, [], "", '[["A", "B"]]', [["A", "B"], ["C", ""]], [["A", "B"], ["", None]]])
def test_a_history_may_be_absent_json_text_or_have_an_empty_pair(trained: Any, history: Any) -> None:
    _, learned, left_out, skipped = trained({"instruction": "Q", "output": "R", "history": history})
    assert learned == (f"B{END}" if history else "") + f"R{END}" and not skipped
    assert left_out == ({"empty exchanges": 1} if isinstance(history, list) and len(history) == 2 else {})


@pytest.mark.parametrize("history", ["A and B", [["A"]], [["A", 1]], "[[", {"A": "B"}, ["AB"]])
def test_a_history_that_is_no_list_of_pairs_is_a_bad_row(trained: Any, history: Any) -> None:
    *_, skipped = trained({"instruction": "Q", "output": "R", "history": history})
    assert skipped[0].startswith("r.jsonl:1: history ")


def test_an_alpaca_row_may_have_its_question_in_input_alone(trained: Any) -> None:
    text, *_ = trained({"instruction": "", "input": "Why?", "output": "R"})
    assert f"{USER}Why?{END}" in text


@pytest.mark.parametrize(
    "weight", [{"weight": 0}, {"weight": 0.0}, {"weight": "0"}, {"train": False}, {"loss_weight": 0}]
)
def test_a_reply_of_weight_0_is_context(trained: Any, weight: dict[str, Any]) -> None:
    row = {"messages": [message("user", "A"), message("assistant", "B", **weight), message("user", "C"),
                        message("assistant", "D", weight=1)]}  # fmt: skip
    text, learned, left_out, _ = trained(row)
    assert learned == f"D{END}" and f"{ASSISTANT}B{END}" in text and left_out == {"replies of weight 0": 1}


def test_what_follows_the_last_learned_reply_is_left_out(trained: Any) -> None:
    row = {"messages": [message("user", "A"), message("assistant", "B"), message("user", "C"),
                        message("assistant", "D", weight=0), message("user", "E")]}  # fmt: skip
    text, learned, left_out, _ = trained(row)
    assert learned == f"B{END}" and text.endswith(f"{ASSISTANT}B{END}")
    assert left_out == {"messages after the last learned reply": 3}


def test_a_row_without_a_learned_reply_is_bad_and_says_why(trained: Any) -> None:
    *_, skipped = trained({"messages": [message("user", "A"), message("assistant", "B", weight=0)]})
    assert skipped == [
        "r.jsonl:1: messages has no question with a reply to learn "
        "(messages after the last learned reply, messages after the last learned reply)"
    ]


def test_tool_calls_are_learned_and_tool_results_are_context(trained: Any) -> None:
    row = {
        "conversations": [
            {"from": "human", "value": "Weather?"},
            {"from": "function_call", "value": '{"name": "get", "arguments": {"city": "Vadren"}}'},
            {"from": "observation", "value": '{"t": 7}'},
            {"from": "gpt", "value": "Seven degrees."},
        ],
        "tools": "[]",
    }
    text, learned, left_out, _ = trained(row)
    call = '<tool_call>\n{"name": "get", "arguments": {"city": "Vadren"}}\n</tool_call>'
    assert learned == f"{call}{END}Seven degrees.{END}" and left_out == {"tools": 1}
    assert f'{USER}<tool_response>\n{{"t": 7}}\n</tool_response>{END}\n{ASSISTANT}Seven' in text


def test_openai_tool_calls_have_no_content_of_their_own(trained: Any) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "get", "arguments": '{"city": "Vadren"}'}}
    row = {"messages": [message("user", "Weather?"), message("assistant", None, tool_calls=[call]),
                        message("tool", "7", tool_call_id="1"), message("assistant", "Seven.")]}  # fmt: skip
    _, learned, left_out, _ = trained(row)
    expected = '<tool_call>\n{"name": "get", "arguments": {"city": "Vadren"}}\n</tool_call>'
    assert learned == f"{expected}{END}Seven.{END}" and not left_out


def test_a_greeting_before_the_first_question_is_left_out_and_counted(trained: Any) -> None:
    row = {"conversations": [{"from": "system", "value": "S"}, {"from": "gpt", "value": "Hi!"},
                             {"from": "human", "value": "A"}, {"from": "gpt", "value": "B"}]}  # fmt: skip
    text, learned, left_out, _ = trained(row)
    assert learned == f"B{END}" and "Hi!" not in text and left_out == {"greetings": 1}
    assert text.startswith(f"<|im_start|>system\nS{END}\n{USER}A{END}")


def test_contents_may_be_parts(trained: Any) -> None:
    parts = [{"type": "text", "text": "A "}, {"type": "text", "text": "too"}]
    text, learned, *_ = trained({"messages": [message("user", parts), message("assistant", ["B"])]})
    assert f"{USER}A too{END}" in text and learned == f"B{END}"
    image = [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "what is it?"}]
    *_, skipped = trained({"messages": [message("user", image), message("assistant", "B")]})
    assert skipped == ["r.jsonl:1: messages has a part that is not text (image_url): leave such rows out"]


@pytest.mark.parametrize(("question", "reply"), [("C", ""), ("", "D"), ("C", None), (" ", "\n")])
def test_an_exchange_with_an_empty_turn_is_left_out_and_the_others_are_learned(
    trained: Any, question: Any, reply: Any
) -> None:
    row = {"messages": [message("user", "A"), message("assistant", "B"), message("user", question),
                        message("assistant", reply), message("user", "E"), message("assistant", "F")]}  # fmt: skip
    text, learned, left_out, skipped = trained(row)
    assert learned == f"B{END}F{END}" and not skipped and left_out == {"empty exchanges": 1}
    assert f"{ASSISTANT}B{END}\n{USER}E{END}" in text


def test_two_replies_in_a_row_are_both_learned(trained: Any) -> None:
    row = {"messages": [message("user", "A"), message("assistant", "B"), message("assistant", "C"),
                        message("user", "D"), message("assistant", "E")]}  # fmt: skip
    assert trained(row)[1] == f"B{END}C{END}E{END}"


@pytest.mark.parametrize("weight", [1, 0])
def test_two_replies_at_the_end_stay_two(trained: Any, weight: int) -> None:
    row = {"messages": [message("user", "A"), message("assistant", "B", weight=weight), message("assistant", "C")]}
    text, learned, *_ = trained(row)
    assert text.endswith(f"{USER}A{END}\n{ASSISTANT}B{END}\n{ASSISTANT}C{END}")
    assert learned == (f"B{END}" if weight else "") + f"C{END}"
    assert trained(row, template=False)[0] == "A\nB\nC<|endoftext|>"


def test_a_call_after_a_reply_and_the_results_of_two_tools(trained: Any) -> None:
    row = {"conversations": [{"from": "human", "value": "Weather?"}, {"from": "gpt", "value": "Let me look."},
                             {"from": "function_call", "value": '{"name": "f", "arguments": {}}'},
                             {"from": "observation", "value": "7"}, {"from": "observation", "value": "rain"},
                             {"from": "gpt", "value": "Wet."}]}  # fmt: skip
    text, learned, *_ = trained(row)
    call = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'
    results = "<tool_response>\n7\n</tool_response>\n<tool_response>\nrain\n</tool_response>"
    assert learned == f"Let me look.{END}{call}{END}Wet.{END}"
    assert f"{ASSISTANT}Let me look.{END}\n{ASSISTANT}{call}{END}\n{USER}{results}{END}" in text


def test_openais_function_call_of_before_tools_is_a_tool_call(trained: Any) -> None:
    call = {"name": "f", "arguments": '{"a": 1}'}
    row = {"messages": [message("user", "A"), message("assistant", None, function_call=call)]}
    assert trained(row)[1] == f'<tool_call>\n{{"name": "f", "arguments": {{"a": 1}}}}\n</tool_call>{END}'


def test_tool_calls_have_the_models_own_tokens_and_those_of_others_stay_text(tiny_qwen: Path) -> None:
    from tokenizers import AddedToken
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_qwen)
    own = ["<tool_call>", "</tool_call>"]
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in own])
    tokenizer.chat_template += f"{{# {' '.join(own)} #}}"
    stops = StopTokens(*tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"]))
    call = "<tool_call>\n{}\n</tool_call>"
    prompt = (SystemMessage(call), HumanMessage(call), AIMessage(call), HumanMessage(call))
    (row,), _, unlabelled = tokenize(Example("r", prompt, call), DataArgs(data=["-"]), tokenizer, stops)
    for token in tokenizer.convert_tokens_to_ids(own):
        assert row.ids.count(token) == row.labels.count(token) == 2 and not unlabelled
    assert tokenizer.decode(row.ids).count("<tool_call>") == 5


@pytest.mark.parametrize("end", ["\U0001f680", "\U000f0000", "x", "x\U0001f680", "\U0001f680x"])
def test_a_reply_is_learned_whatever_its_first_and_last_tokens_are(trained: Any, end: str) -> None:
    row = {"messages": [message("user", "A"), message("assistant", end), message("user", "C"),
                        message("assistant", "D")]}  # fmt: skip
    _, learned, left_out, _ = trained(row)
    assert learned == f"{end}{END}D{END}" and not left_out


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_replies_are_learned_in_the_templates_of_other_models(tiny_qwen: Path, name: str) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_qwen)
    tokenizer.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>"})
    tokenizer.add_tokens([*MARKS, "<end_of_turn>"], special_tokens=True)
    tokenizer.chat_template = TEMPLATES[name]
    turn = end_of_turn_id(tokenizer)
    stops = StopTokens(tokenizer.eos_token_id if turn is None else turn, tokenizer.eos_token_id)
    prompt = (SystemMessage("S"), HumanMessage("ask"), AIMessage("B b."), HumanMessage("ask again"), AIMessage("C"),
              HumanMessage("last " * 30))  # fmt: skip
    (row,), truncated, unlabelled = tokenize(Example("r", prompt, "D"), DataArgs(data=["-"]), tokenizer, stops)
    stop = tokenizer.decode([stops.turn])
    learned = "".join(tokenizer.decode([label]) for label in row.labels if label != IGNORED)
    assert learned.replace(" ", "") == f"Bb.{stop}C{stop}D{stop}" and not truncated and not unlabelled
    # A shorter limit cuts the question only: the template is as serving writes it.
    full, emptied = encode(tokenizer, prompt[-1:]), encode(tokenizer, [HumanMessage("last")])
    args = DataArgs(data=["-"], max_length=(len(full) + len(emptied)) // 2)
    (short,), truncated, _ = tokenize(Example("r", prompt[-1:], "D"), args, tokenizer, stops)
    assert truncated and len(short.ids) <= args.max_length < len(full)
    text = tokenizer.decode(short.ids)
    assert text.startswith(tokenizer.decode(emptied).split("last")[0])
    assert text.endswith(tokenizer.decode(emptied).split("last")[1] + "D" + stop)


def test_what_is_left_out_is_in_the_summary_and_in_the_record(settings: Make, tmp_path: Path) -> None:
    row = {"messages": [message("assistant", "Hi"), message("user", "A"), message("assistant", "B")]}
    args = settings(data=[str(write_jsonl(tmp_path / "r.jsonl", [row, row]))])
    data = load(args)[0]
    assert data.record(args)["left_out"] == {"greetings": 2}
    assert data.counts.summary().endswith("0 skipped; left out: 2 greetings")


@pytest.mark.parametrize("escape", [r"\ud800", r"\udc00 text", r"\udfff\ud800"])
@pytest.mark.parametrize("template", [True, False])
def test_half_of_a_surrogate_pair_is_a_bad_row_in_every_place(
    settings: Make, tmp_path: Path, escape: str, template: bool
) -> None:
    lines = [
        f'{{"instruction": "Q", "output": "A{escape}"}}',
        f'{{"instruction": "{escape}", "output": "A"}}',
        f'{{"instruction": "Q", "output": "A", "history": [["a", "{escape}"]]}}',
        f'{{"instruction": "Q", "output": "A", "{escape}": 1}}',
        '{"instruction": "Q", "output": "A\\ud83d\\ude00"}',
    ]
    (tmp_path / "s.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "s.json").write_text(f"[{','.join(lines)}]", encoding="utf-8")
    for name in ("s.jsonl", "s.json"):
        counts = load(settings(data=[str(tmp_path / name)], template=template))[0].counts
        assert (counts.examples, len(counts.skipped)) == (1, 4)
        assert all("half of a character" in problem for problem in counts.skipped)


def test_half_of_a_surrogate_pair_in_json_within_a_row_is_a_bad_row(settings: Make, tmp_path: Path) -> None:
    call = {"conversations": [{"from": "human", "value": "A"}, {"from": "function_call", "value": '{"a": "\\ud83d"}'}]}
    good = {"conversations": [{"from": "human", "value": "A"}, {"from": "gpt", "value": "B"}]}
    (tmp_path / "h.csv").write_text(
        'instruction,output,history\nQ,R,"[[""a"", ""\\ud83d""]]"\nQ,R,\n', encoding="utf-8"
    )
    for file in (write_jsonl(tmp_path / "c.jsonl", [call, good]), tmp_path / "h.csv"):
        counts = load(settings(data=[str(file)]))[0].counts
        assert counts.examples == 1 and ["half of a character" in problem for problem in counts.skipped] == [True]


def test_the_cases_that_went_wrong(settings: Make) -> None:
    if not CASES.is_dir():
        pytest.skip("the cases are not beside this checkout: ../shared/cases is absent")
    data, tokenizer, _ = load(settings(data=[str(CASES / "alpaca_hist.jsonl"), str(CASES / "lone.jsonl")]))
    assert labelled_text(data.rows[0], tokenizer) == f"Ilka.{END}Vadren.{END}Clocks.{END}"
    assert len(data.rows) == 1 and data.counts.skipped[0].startswith("lone.jsonl:1: half of a character")
    assert json.dumps(data.counts.skipped, ensure_ascii=False).encode()
