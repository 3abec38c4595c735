"""Static Extract: cards whose every statement has evidence in the source."""

from __future__ import annotations

from typing import Any

import pytest

from egosrag.egos.extract.static import Extract
from egosrag.errors import RoleError, SourceError
from egosrag.models.scripted import ScriptedChatModel
from egosrag.traits import Traits
from tests.egos.extract.sources import EN, ZH, assert_evidence_matches, model, texts


class Refining(ScriptedChatModel):
    """A model that was trained on prompts with what is known already: it reads whole chunks, one after the other."""

    @property
    def traits(self) -> Traits:
        return Traits(single_turn=True, prompts="pocket")


def test_a_short_english_source_becomes_a_card() -> None:
    said = (
        "Background: Ann Lee is a sailor from Hull.\nBackground: Ann Lee was born in 1931.\n"
        "Personality: Ann Lee is brave and proud.\nSpeaking style: Ann speaks in short sentences.\n"
        "Relations: Tom is her brother."
    )
    role = Extract(model(said)).invoke(([("a.txt", EN)], "Ann Lee"))
    assert texts(role, "background") == ["Ann Lee is a sailor from Hull.", "Ann Lee was born in 1931."]
    assert texts(role, "personality") == ["Ann Lee is brave and proud."]
    assert texts(role, "speaking_style") == ["Ann speaks in short sentences."]
    assert texts(role, "relations") == ["Tom is her brother."]
    assert [(line.speaker, line.text) for line in role.sample_dialogue] == [("Ann Lee", "I never lost a ship")]
    assert role.personality[0].evidence[0].quote == "She is brave and a little proud."
    assert role.language == "en"
    assert_evidence_matches(role, [("a.txt", EN)])


def test_a_short_chinese_source_becomes_a_card() -> None:
    said = "**背景**：顾青禾是修钟匠。\n背景: 顾青禾出生在白石村。\n- 性格：细心，固执。\n"
    said += "说话方式：说话慢条斯理。\n人物关系：老秦是他的棋友。\n无"
    role = Extract(model(said)).invoke(([("a.txt", ZH)], "顾青禾"))
    assert texts(role, "background") == ["顾青禾是修钟匠。", "顾青禾出生在白石村。"]
    assert texts(role, "personality") == ["细心，固执。"]
    assert texts(role, "speaking_style") == ["说话慢条斯理。"]
    assert texts(role, "relations") == ["老秦是他的棋友。"]
    assert [line.text for line in role.sample_dialogue] == ["坏了的东西都能修好。"]
    assert role.language == "zh"
    assert_evidence_matches(role, [("a.txt", ZH)])


@pytest.mark.parametrize(
    ("source", "name", "unsupported"),
    [
        (EN, "Ann Lee", "Ann Lee was born in 1932."),
        (EN, "Ann Lee", "Ann Lee is a sailor from Leeds."),
        (EN, "Ann Lee", "Ann Lee is a dentist."),
        (EN, "Tom", "Tom is shy."),
        (EN, "Ann Lee", "Bisces is a sailor from Hull, brave and proud."),
        (EN, "Ann Lee", "Sailor from Hull. Rorys sailor."),
        (EN, "Ann Lee", "Ann Lee is a sailor from Hull with seven ships."),
        (EN, "Tom", "Tom keeps two shops and a shop."),
        (ZH, "顾青禾", "顾青禾今年47岁。"),
        (ZH, "顾青禾", "顾青禾今年四十七岁。"),
        (ZH, "顾青禾", "李明华是云岭镇的修钟匠。"),
        (ZH, "顾青禾", "约翰·史密斯是云岭镇的修钟匠。"),
        (ZH, "顾青禾", "Tom是云岭镇的修钟匠。"),
        (ZH, "顾青禾", "顾青禾是铁路的站长。"),
    ],
)
def test_unsupported_statements_are_left_out_of_the_card(source: str, name: str, unsupported: str) -> None:
    label = "Background: " if source is EN else "背景："
    role = Extract(model(label + unsupported)).invoke(([("a.txt", source)], name))
    assert unsupported not in texts(role, "background")
    assert role.background, "sentences of the source are quoted where no statement is supported"
    assert all(statement.evidence[0].quote in source for statement in role.background)
    assert_evidence_matches(role, [("a.txt", source)])


@pytest.mark.parametrize(
    ("source", "name", "said"),
    [
        (EN, "Ann Lee", "Brave and a little proud."),
        (EN, "Ann Lee", "Lives in Hull as a sailor."),
        (EN, "Ann Lee", "Sailor from Hull."),
        ("Ann has seven ships and 3 sons.", "Ann", "Ann has 7 ships and three sons."),
        ("Lee Ann has seven ships.", "Ann", "Lee Ann’s seven ships."),
        ("Ann loved lighting the lamps.", "Ann", "Lighted the lamps."),
        (ZH, "顾青禾", "云岭镇的修钟匠。"),
        ("顾青禾有两个徒弟，今年四十六岁。", "顾青禾", "有2个徒弟，四十六岁。"),
        ("我们都认识Gatsby先生，他是富翁。", "Gatsby", "Gatsby是富翁。"),
    ],
)
def test_paraphrased_statements_are_kept(source: str, name: str, said: str) -> None:
    label = "背景：" if source.startswith(("顾", "我")) else "Background: "
    role = Extract(model(label + said)).invoke(([("a.txt", source)], name))
    assert texts(role, "background")[0] == said or texts(role, "personality")[0] == said
    assert_evidence_matches(role, [("a.txt", source)])


def test_sentences_that_the_model_skips_are_quoted_under_the_heading_that_fits() -> None:
    role = Extract(model("Relations: Tom is her brother.")).invoke(([("a.txt", EN)], "Ann Lee"))
    assert texts(role, "background") == ["Ann Lee is a sailor from Hull.", "Ann Lee was born in 1931."]
    assert texts(role, "personality") == ["Ann Lee is brave and a little proud."]
    assert texts(role, "speaking_style") == ["Ann Lee speaks in short sentences."]
    assert texts(role, "relations") == ["Tom is her brother."]
    assert_evidence_matches(role, [("a.txt", EN)])


def test_a_statement_under_a_heading_that_its_words_contradict_is_moved() -> None:
    said = "Background: Ann Lee is brave and proud.\nBackground: Ann Lee speaks in short sentences."
    role = Extract(model(said)).invoke(([("a.txt", EN)], "Ann Lee"))
    assert texts(role, "personality") == ["Ann Lee is brave and proud."]
    assert texts(role, "speaking_style") == ["Ann Lee speaks in short sentences."]


def test_a_statement_that_is_part_of_another_is_left_out() -> None:
    source = "阿铁待人热情，却不爱受人夸奖。他害怕打雷。"
    said = "性格：阿铁待人热情，却不爱受人夸奖。他害怕打雷。\n性格：阿铁待人热情，却不爱受人夸奖。"
    role = Extract(model(said)).invoke(([("a.txt", source)], "阿铁"))
    assert texts(role, "personality") == ["阿铁待人热情，却不爱受人夸奖。他害怕打雷。"]


def test_a_statement_that_is_made_twice_keeps_both_places() -> None:
    sources = [("a.txt", "Ann Lee is a sailor."), ("b.txt", "We know that Ann Lee is a sailor.")]
    role = Extract(model(*["Background: Ann Lee is a sailor."] * 2)).invoke((sources, "Ann Lee"))
    assert texts(role, "background") == ["Ann Lee is a sailor."]
    assert [place.source for place in role.background[0].evidence] == ["a.txt", "b.txt"]


def test_a_model_that_refines_reads_later_chunks_with_the_statements_found_so_far() -> None:
    llm = Refining(responses=["Background: Ann Lee is a sailor."] * 2)
    Extract(llm).invoke(([("a.txt", "Ann Lee is a sailor."), ("b.txt", "Ann Lee came back.")], "Ann Lee"))
    assert "Ann Lee is a sailor.\nSource:\nAnn Lee came back." in str(llm.calls[1].messages[1].text)


def test_a_card_takes_only_its_share_of_the_window() -> None:
    facts = [
        f"Ann Lee has a friend called {word}."
        for word in ["Abe", "Bea", "Cid", "Dot", "Eli", "Fay", "Gus", "Hal", "Ida", "Jem", "Kit", "Lou"]
    ]  # noqa: SIM905
    llm = model("\n".join("Background: " + fact for fact in facts), context_window=1000, max_new_tokens=150)
    role = Extract(llm, card_share=0.1).invoke(([("a.txt", " ".join(facts))], "Ann Lee"))
    from egosrag.prompts import render

    assert 0 < len(role.relations) < len(facts)
    assert llm.count_tokens(render.card(role, "en")) <= 85


@pytest.mark.parametrize(
    ("sources", "name", "error", "message"),
    [
        ([], "Ann", SourceError, "no text"),
        ([("a.txt", " \n")], "Ann", SourceError, "no text"),
        ([("a.txt", EN)], "Zoe", SourceError, "no source names Zoe"),
        ([("a.txt", EN)], " ", RoleError, "no name"),
    ],
)
def test_input_that_cannot_be_extracted_raises_an_error(
    sources: Any, name: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Extract(model()).invoke((sources, name))
