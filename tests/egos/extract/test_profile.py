"""Profiles: lines of fields about a role become its card as they are written, without a model."""

from __future__ import annotations

import pytest

from egosrag import load_chat_model
from egosrag.assemble.roles import extract_step
from egosrag.egos.extract.profile import profile_statements
from egosrag.egos.extract.static import Extract
from egosrag.models.scripted import ScriptedChatModel

ZH = """姓名：吕子乔
性别：男
昵称：吕小布、子乔君
爱好：下飞行棋、开派对
口头禅：山寨机就是牛
人物关系：陈美嘉（妻子）、唐悠悠（小姨妈）
人物经历：早年混迹江湖，常用化名。第五季中成为负责任的父亲。"""
EN = """# Ann Lee

**Age:** 34
**Occupation:** Nurse at St. Mary's
- Personality: calm, stubborn
Likes:
- tea
- rain
Catchphrase: "Well, well."
Husband: Bob Lee
"""


def stated(text: str, name: str) -> list[tuple[str, str]]:
    found = profile_statements("a.txt", text, name)
    for item in found:
        (place,) = item.statement.evidence
        assert text[place.start : place.end] == place.quote and item.statement.text.endswith(place.quote)
    return [(item.label, item.statement.text) for item in found]


def test_each_field_is_a_statement_under_the_heading_of_its_name() -> None:
    assert stated(EN, "Ann Lee") == [
        ("background", "Age: 34"),
        ("background", "Occupation: Nurse at St. Mary's"),
        ("personality", "Personality: calm, stubborn"),
        ("personality", "Likes: tea"),
        ("personality", "Likes: rain"),
        ("speaking_style", 'Catchphrase: "Well, well."'),
        ("relations", "Husband: Bob Lee"),
    ]
    assert stated(ZH, "吕子乔") == [
        ("background", "性别：男"),
        ("background", "昵称：吕小布、子乔君"),
        ("personality", "爱好：下飞行棋、开派对"),
        ("speaking_style", "口头禅：山寨机就是牛"),
        ("relations", "人物关系：陈美嘉（妻子）、唐悠悠（小姨妈）"),
        ("background", "人物经历：早年混迹江湖，常用化名。第五季中成为负责任的父亲。"),
    ]


def test_a_long_value_is_cut_into_sentences() -> None:
    life = "".join(f"第{n}年他在城里修了一座桥，又在山上种了一片树。" for n in range(9))
    assert stated(f"{ZH}\n经历：{life}", "吕子乔")[-1] == (
        "background",
        "经历：第8年他在城里修了一座桥，又在山上种了一片树。",
    )


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (EN, "Bob Lee"),  # somebody else's
        (ZH, "陈美嘉"),
        ("Ann: Hello.\nBob: Who is it?\nAnn: Me.\nBob: Come in.\nAnn: Thanks.", "Ann"),  # a transcript
        ("Ann: Hello.\nBob: Who is it?\nCarl: Me.\nDan: Come in.", "Ann"),
        ("Ann Lee came home. It was late: ten.\nShe slept.\nNobody saw her.\nAge: unknown", "Ann Lee"),  # prose
        ("Age: 34\nJob: nurse\nHome: Leeds\nPet: a cat", "Ann Lee"),  # of whom?
    ],
)
def test_what_is_no_profile_of_the_role_gives_nothing(text: str, name: str) -> None:
    assert not stated(text, name)


@pytest.mark.parametrize("name", ["药老", "药尘", "药尘先生"])
def test_a_role_may_be_named_by_its_other_names_and_by_a_longer_one(name: str) -> None:
    text = "姓名：药尘\n性别：男\n昵称：药老、药尊者\n工作：炼药师"
    assert ("background", "工作：炼药师") in stated(text, name)
    assert (("background", "姓名：药尘") in stated(text, name)) == (name != "药尘")


def test_the_embedded_model_quotes_it_too() -> None:
    role = extract_step(load_chat_model("pocket")).invoke(([("p.txt", ZH)], "吕子乔"))
    assert "爱好：下飞行棋、开派对" in [s.text for s in role.personality] and len(role.background) == 3


def test_extract_quotes_a_profile_and_reads_the_other_sources_with_the_model() -> None:
    role = Extract(ScriptedChatModel(responses=[])).invoke(([("p.txt", ZH)], "吕子乔"))
    assert [s.text for s in role.personality] == ["爱好：下飞行棋、开派对"] and len(role.background) == 3
    model = ScriptedChatModel(responses=["背景：吕子乔救了一只猫。"])
    both = Extract(model).invoke(([("p.txt", ZH), ("b.txt", "吕子乔在雨里救了一只猫。")], "吕子乔"))
    assert len(model.calls) == 1 and "吕子乔救了一只猫。" in [s.text for s in both.background]
    assert set(role.background) < set(both.background)
