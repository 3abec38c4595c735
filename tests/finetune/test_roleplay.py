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


@pytest.mark.parametrize(
    ("written", "learned"),
    [
        ('As I always say: "Trust no one." That is my rule.', "As I always say: 'Trust no one.' That is my rule.\""),
        ("春日:「他说“好”，然后「走」了」", "他说‘好’，然后「走」了”"),
        ('春日:“什么啊"', "什么啊”"),
        ("春日:「走」他说:「好」", "春日:「走」他说:「好」”"),
    ],
)
def test_speech_with_quotation_marks_in_it_is_whole(written: str, learned: str) -> None:
    row = {"agent_role": "春日" if "春日" in written else "Tim", "user_question": "Hm", "agent_response": written}
    (one,) = roleplay_examples(row, "here", Cast())
    assert one.answer == learned
    generated = 'I say: "Yes."'
    (same,) = roleplay_examples({"role": "Tim", "question": "Hm?", "generated": generated}, "here", Cast())
    assert same.answer == "I say: 'Yes.'\""


@pytest.mark.parametrize(
    ("role", "speaker", "other"),
    [
        ("春日", "春日", "春日的妈妈"),
        ("凉宫春日", "春日", "阿虚"),
        ("春日的妈妈", "春日的妈妈", "春日"),
        ("春日", "凉宫春日", "阿虚"),
        ("Ann", "Ann", "Annabel"),
        ("Ann Lee", "Ann", "Annabel"),
        ("Ann", "Ann Lee", "Joanna"),
    ],
)
def test_a_transcripts_speaker_is_the_role_under_a_part_of_its_name(role: str, speaker: str, other: str) -> None:
    (one,) = roleplay_examples({"text": f'{other}:"one"\n{speaker}:"two"\n{other}:"three"'}, "here", Cast(role=role))
    assert one.answer[:-1] == "two"


def test_a_role_that_may_be_several_speakers_is_a_bad_row() -> None:
    text = 'Bo:"one"\nAnn Lee:"two"\nBo:"three"\nAnn Ray:"four"'
    with pytest.raises(BadRow, match="Ann may be any of Ann Lee, Ann Ray: give --role with one of these names"):
        roleplay_examples({"text": text}, "here", Cast(role="Ann"))


def test_too_long_a_dialogue_loses_whole_turns(tiny_qwen: Path) -> None:
    from transformers import AutoTokenizer

    from finetune.data.args import DataArgs
    from finetune.data.tokenization import StopTokens, tokenize

    tokenizer = AutoTokenizer.from_pretrained(tiny_qwen)
    stops = StopTokens(*tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"]))
    row = {**roleplay(1)[0], "scenes": ["Ann has lost her key."]}
    last = roleplay_examples(row, "here", Cast())[-1]
    lines = last.prompt[-2].text.split("\n")
    kept = set()
    for length in range(1, 900):
        try:
            (tokenized,), truncated, _ = tokenize(last, DataArgs(data=["-"], max_length=length), tokenizer, stops)
        except BadRow:
            continue
        text = tokenizer.decode(tokenized.ids)
        user = text.split("<|im_start|>user\n")[1].split("<|im_end|>")[0]
        assert user.split("\n") == lines[-len(user.split("\n")) :] and truncated == (user != last.prompt[-2].text)
        kept.add(len(user.split("\n")))
    assert kept == {1, 2, 3, len(lines)}


def test_what_a_row_has_besides_is_counted_once() -> None:
    card = {"spec": "chara_card_v2", "data": {"name": "Tim", "description": "Drives a tram.",
            "post_history_instructions": "Be brief."}}  # fmt: skip
    turns = [*roleplay(1)[0]["turns"], {"speaker": "Ann", "text": None}, {"speaker": "Tim", "text": "Well?"}]
    examples = roleplay_examples({"role": card, "turns": turns, "scenes": [{"text": "A key."}, None]}, "here", Cast())
    assert [one.left_out for one in examples] == [("empty turns", "lorebooks and notes of cards"), ()]
    assert "Drives a tram." in examples[0].prompt[0].text and "1. A key.\n" in examples[0].prompt[-2].text


@pytest.mark.parametrize("row", [{"role": "\0", "question": "Q", "generated": "A"}, {**ZH, "scenes": [1]},
                                 {**ZH, "spoken": " "}, {**ZH, "role": {"data": {"name": 3}}}])  # fmt: skip
def test_what_is_no_role_scene_or_line_is_a_bad_row(row: dict[str, Any]) -> None:
    with pytest.raises(BadRow):
        roleplay_examples(row, "here", Cast())


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
    (tmp_path / "desc.json").write_text(
        json.dumps({"Ann": "She is a nurse.", "老默": {"工作": "鱼贩子", "家人": {"女儿": ["瑶瑶"]}, "年龄": None}})
    )
    (tmp_path / "v2.json").write_text(
        json.dumps({"spec": "chara_card_v2", "data": {"name": "Bo", "description": "B."}})
    )
    cast = load_cast(str(tmp_path), None, True)
    assert len(cast.cards) == 4 and cast.card("Bo").background[0].text == "B."
    background = {name: cast.card(name).background[0].text for name in ("tim", "Ann", "老默")}
    assert background == {
        "tim": "Tim drives a tram.",
        "Ann": "She is a nurse.",
        "老默": "工作：鱼贩子；家人：女儿: 瑶瑶",
    }
    assert cast.card("Nobody").background == ()


def test_unusable_profiles_are_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    for path in (tmp_path / "none.json", tmp_path / "list.json", tmp_path / "deep.json"):
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


def test_a_folder_of_transcripts_is_read_file_by_file(settings: Make, tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    for n in range(3):
        (folder / f"{n}.txt").write_text('Ann:"Who?"\nTim:"Me."', encoding="utf-8")
    counts = load(settings(data=[str(folder)], shape="roleplay", role="Tim"))[0].counts
    assert (counts.rows, counts.examples) == (3, 3)


def test_transcripts_of_a_real_character(settings: Make, shared_data: Path) -> None:
    args = settings(data=[str(shared_data / "chatharuhi" / "haruhi")], shape="roleplay", role="凉宫春日", max_rows=20)
    data, tokenizer, _ = load(args)
    assert data.counts.examples > 15
    assert all(labelled_text(row, tokenizer).endswith("”") for row in data.rows)
