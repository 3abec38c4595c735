"""Role-play rows become exactly the prompts of Generate, with labels on the speech up to the closing quotation mark."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from egosrag.errors import TrainingError
from egosrag.schema import Role
from finetune.data.roleplay import Cast, load_cast, roleplay_examples
from finetune.data.shapes import BadRow
from tests.finetune.conftest import roleplay, write_jsonl
from tests.finetune.test_data import labelled_text, load

Make = Callable[..., Any]
ZH = {
    "role": {"name": "悟空"},
    "turns": [{"speaker": "唐僧", "text": "你是谁？"}, {"speaker": "悟空", "text": "俺是‘行者’。"}],
}


@pytest.mark.parametrize("quote", [True, False])
@pytest.mark.parametrize(("row", "mark"), [(roleplay(1)[0], '"'), (ZH, "”")], ids=["en", "zh"])
def test_prompts_are_those_of_a_session(row: dict[str, Any], mark: str, quote: bool) -> None:
    from egosrag.models.scripted import ScriptedChatModel
    from egosrag.sessions.conversation import Conversation

    role = Role.model_validate(row["role"])
    replies = [turn["text"] for turn in row["turns"] if turn["speaker"] == role.name]
    lines = [turn["text"] for turn in row["turns"] if turn["speaker"] != role.name]
    model = ScriptedChatModel(responses=[reply + mark * quote for reply in replies])
    session = Conversation(model, role, quote=quote)
    for line in lines:
        session.say(line)
    trained = [example.prompt for example in roleplay_examples(row, "here", Cast(quote=quote))]
    served = [[(m.type, m.text) for m in call.messages] for call in model.calls]
    assert [[(m.type, m.text) for m in prompt] for prompt in trained] == served


def test_only_the_speech_up_to_the_closing_quote_has_labels(settings: Make, tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "r.jsonl", [*roleplay(1), ZH])
    data, tokenizer, stops = load(settings(data=[str(file)]))
    assert [labelled_text(row, tokenizer) for row in data.rows] == [
        'No, it is two."',
        'The last one."',
        "俺是‘行者’。”",
    ]
    text = tokenizer.decode(data.rows[1]["input_ids"])
    assert text.endswith(
        'Me: "Is it one?"\nTim: "No, it is two."\nMe: "What \'far\' stop is it?"<|im_end|>\n'
        '<|im_start|>assistant\nTim: "The last one."'
    )
    assert "我：“你是谁？”<|im_end|>" in tokenizer.decode(data.rows[2]["input_ids"])


def test_without_quotes_the_stop_token_ends_the_speech(settings: Make, tmp_path: Path) -> None:
    data, tokenizer, _ = load(settings(data=[str(write_jsonl(tmp_path / "r.jsonl", roleplay(1)))], quote=False))
    assert labelled_text(data.rows[0], tokenizer) == " No, it is two.<|im_end|>"


@pytest.mark.parametrize(
    ("row", "line", "answer"),
    [
        ({"role": "Tim", "question": "Who?", "generated": ["Me.", "Not me."]}, 'Me: "Who?"', 'Me."'),
        ({"agent_role": "春日", "user_role": "阿虚", "user_question": "阿虚:「喂」",
          "agent_response": "春日:「什么啊」"},
         "我：“喂”", "什么啊”"),
        ({"text": "旁白:雨停了\n阿虚:「喂 春日」\n春日:「什么啊」"}, "我：“喂 春日”", "什么啊”"),
    ],
)  # fmt: skip
def test_row_formats_of_other_projects(row: dict[str, Any], line: str, answer: str) -> None:
    (one,) = roleplay_examples(row, "here", Cast(role="凉宫春日"))
    assert one.prompt[-2].text.endswith(line) and one.answer == answer and not one.closed


def test_three_speakers_keep_their_names() -> None:
    row = {"role": "Tim", "turns": [{"speaker": name, "text": name.lower()} for name in ("Ann", "Bob", "Tim")]}
    (one,) = roleplay_examples(row, "here", Cast())
    assert one.prompt[-2].text == 'Ann: "ann"\nBob: "bob"'


def test_of_a_row_with_a_true_next_line_that_line_alone_is_trained() -> None:
    turns = [{"speaker": name, "text": f"{name} says {n}."} for n, name in enumerate(("Ann", "Tim", "Ann"))]
    (one,) = roleplay_examples({"role": "Tim", "turns": turns, "spoken": "True."}, "here", Cast())
    assert one.answer == 'True."' and one.prompt[-2].text.endswith('Tim: "Tim says 1."\nMe: "Ann says 2."')
    (first,) = roleplay_examples({"role": "Tim", "turns": turns[:1], "spoken": "True.", "reference": "?"}, "", Cast())
    assert first.answer == 'True."'
    assert len(roleplay_examples({"role": "Tim", "turns": turns[:2], "spoken": None}, "here", Cast())) == 1
    for spoken, before in (("True.", []), ("True.", turns[:2]), (7, turns)):
        with pytest.raises(BadRow):
            roleplay_examples({"role": "Tim", "turns": before, "spoken": spoken}, "here", Cast())


def test_scenes_are_at_the_beginning_of_the_prompt() -> None:
    row = {**roleplay(1)[0], "scenes": ["Ann has lost her key."]}
    assert "Ann has lost her key." in roleplay_examples(row, "here", Cast())[0].prompt[-2].text.split("Me:")[0]


def test_profiles_are_role_files_or_descriptions(tmp_path: Path) -> None:
    (tmp_path / "tim.json").write_text(json.dumps({"name": "Tim", "background": ["Tim drives a tram."]}))
    (tmp_path / "desc.json").write_text(json.dumps({"Ann": "She is a nurse.", "老默": {"工作": "鱼贩子"}}))
    cast = load_cast(str(tmp_path), None, True)
    background = {name: cast.card(name).background[0].text for name in ("tim", "Ann", "老默")}
    assert background == {"tim": "Tim drives a tram.", "Ann": "She is a nurse.", "老默": "工作：鱼贩子"}
    assert cast.card("Nobody").background == ()


def test_unusable_profiles_are_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[1]")
    for path in (tmp_path / "none.json", tmp_path / "list.json"):
        with pytest.raises(TrainingError, match="cannot use the profiles"):
            load_cast(str(path), None, True)


def test_rows_without_a_reply_of_the_role_are_skipped(settings: Make, tmp_path: Path) -> None:
    silent = {"role": "Tim", "turns": [{"speaker": "Tim", "text": "Hello."}]}
    rows = [silent, {"role": {"no": 1}, "turns": []}, *roleplay(1)]
    counts = load(settings(data=[str(write_jsonl(tmp_path / "r.jsonl", rows))]))[0].counts
    assert counts.examples == 2 and [problem.split(": ")[1] for problem in counts.skipped] == [
        "Tim answers no other speaker in it",
        "role is not a card, or turns are not speakers with texts",
    ]


def test_transcripts_of_a_real_character(settings: Make, shared_data: Path) -> None:
    args = settings(data=[str(shared_data / "chatharuhi" / "haruhi")], shape="roleplay", role="凉宫春日", max_rows=20)
    data, tokenizer, _ = load(args)
    assert data.counts.examples > 15
    assert all(labelled_text(row, tokenizer).endswith("”") for row in data.rows)
