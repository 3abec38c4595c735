"""Extract: a card whose every statement stands in its sources, from sources of any length, resumable."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from egosrag.egos.extract.chunks import chosen, cut, sentences
from egosrag.egos.extract.dialogue import spoken
from egosrag.egos.extract.evidence import labelled
from egosrag.egos.extract.static import Extract
from egosrag.errors import ModelError, RoleError, SourceError
from egosrag.models.scripted import ScriptedChatModel
from egosrag.schema import Role
from egosrag.traits import Traits

EN = (
    "Ann Lee is a sailor from Hull. She is brave and a little proud. She was born in 1931.\n\n"
    "“I never lost a ship,” said Ann. Her brother Tom keeps a shop. Mr. Fox is a clerk, and he is shy.\n\n"
    "Ann Lee speaks in short sentences. “Sit down,” said Mr. Fox."
)
ZH = (
    "顾青禾是云岭镇的修钟匠。他出生在白石村，今年46岁。他细心而固执。\n"
    "顾青禾道：“坏了的东西都能修好。”老秦是他的棋友。\n顾青禾说话慢条斯理。阿铁说：“师傅好。”"
)


def model(*responses: str, **settings: Any) -> ScriptedChatModel:
    return ScriptedChatModel(responses=list(responses), **settings)


def texts(role: Role, part: str) -> list[str]:
    return [statement.text for statement in getattr(role, part)]


def assert_stands(role: Role, sources: list[tuple[str, str]]) -> None:
    by_name = dict(sources)
    parts = (role.background, role.personality, role.speaking_style, role.relations, role.sample_dialogue)
    for statement in (s for part in parts for s in part):
        assert statement.evidence
        for place in statement.evidence:
            assert by_name[place.source][place.start : place.end] == place.quote


def test_card_of_a_short_source() -> None:
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
    assert_stands(role, [("a.txt", EN)])


def test_card_of_a_chinese_source() -> None:
    said = "**背景**：顾青禾是修钟匠。\n背景: 顾青禾出生在白石村。\n- 性格：细心，固执。\n"
    said += "说话方式：说话慢条斯理。\n人物关系：老秦是他的棋友。\n无"
    role = Extract(model(said)).invoke(([("a.txt", ZH)], "顾青禾"))
    assert texts(role, "background") == ["顾青禾是修钟匠。", "顾青禾出生在白石村。"]
    assert texts(role, "personality") == ["细心，固执。"]
    assert texts(role, "speaking_style") == ["说话慢条斯理。"]
    assert texts(role, "relations") == ["老秦是他的棋友。"]
    assert [line.text for line in role.sample_dialogue] == ["坏了的东西都能修好。"]
    assert role.language == "zh"
    assert_stands(role, [("a.txt", ZH)])


@pytest.mark.parametrize(
    ("source", "name", "lie"),
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
def test_what_the_source_does_not_tell_is_left_out(source: str, name: str, lie: str) -> None:
    label = "Background: " if source is EN else "背景："
    role = Extract(model(label + lie)).invoke(([("a.txt", source)], name))
    assert lie not in texts(role, "background")
    assert role.background, "sentences of the source stand in where the model found nothing"
    assert all(statement.evidence[0].quote in source for statement in role.background)
    assert_stands(role, [("a.txt", source)])


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
def test_what_is_told_in_other_words_is_kept(source: str, name: str, said: str) -> None:
    label = "背景：" if source.startswith(("顾", "我")) else "Background: "
    role = Extract(model(label + said)).invoke(([("a.txt", source)], name))
    assert texts(role, "background") == [said]
    assert_stands(role, [("a.txt", source)])


def test_statement_that_is_told_twice_keeps_both_places() -> None:
    sources = [("a.txt", "Ann Lee is a sailor."), ("b.txt", "We know that Ann Lee is a sailor.")]
    role = Extract(model(*["Background: Ann Lee is a sailor."] * 2)).invoke((sources, "Ann Lee"))
    assert texts(role, "background") == ["Ann Lee is a sailor."]
    assert [place.source for place in role.background[0].evidence] == ["a.txt", "b.txt"]


class Weak(ScriptedChatModel):
    """States that it reads worse than what it reads, as pocket does."""

    @property
    def traits(self) -> Traits:
        return Traits(single_turn=True, extractive_only=True, revises_drafts=True)


def test_sentences_speak_for_themselves_beside_what_a_weak_model_found() -> None:
    role = Extract(Weak(responses=["Background: Ann Lee is a Hull sailor."])).invoke(([("a.txt", EN)], "Ann Lee"))
    assert texts(role, "background") == ["Ann Lee is a sailor from Hull.", "Ann Lee was born in 1931."]
    assert "Ann Lee is brave and a little proud." in texts(role, "personality")
    assert texts(role, "speaking_style") == ["Ann Lee speaks in short sentences."]
    assert not any("Fox" in statement for statement in texts(role, "background") + texts(role, "personality"))
    assert_stands(role, [("a.txt", EN)])
    role = Extract(Weak(responses=["背景：顾青禾是白石村的修钟匠。"])).invoke(([("a.txt", ZH)], "顾青禾"))
    assert {"顾青禾是云岭镇的修钟匠。", "顾青禾出生在白石村，今年46岁。"} <= set(texts(role, "background"))
    assert "顾青禾说话慢条斯理。" in texts(role, "speaking_style")
    assert "顾青禾是白石村的修钟匠。" not in texts(role, "background")  # the sentence it stands on tells it better
    assert_stands(role, [("a.txt", ZH)])


def test_later_pieces_are_read_with_what_is_known() -> None:
    asked = model(*["Background: Ann Lee is a sailor."] * 2)
    Extract(asked).invoke(([("a.txt", "Ann Lee is a sailor."), ("b.txt", "Ann Lee came back.")], "Ann Lee"))
    assert "Ann Lee is a sailor.\nSource:\nAnn Lee came back." in str(asked.calls[1].messages[1].text)


def novel(paragraphs: int) -> str:
    rng_names = ["Nick", "Daisy", "Tom", "Jordan"]
    parts = []
    for n in range(paragraphs):
        who = "Gatsby" if n % 9 == 0 else rng_names[n % 4]
        parts.append(f"{who} walked along the shore on day {n}, and the lights went out one after another.")
        parts.append("Nobody knew where the road went, and nobody asked.")
    return "\n\n".join(parts)


def test_source_far_over_the_window_is_read_where_it_names_the_role() -> None:
    told: list[tuple[str, int, int]] = []
    text = novel(1200)
    asked = model(*["Background: Gatsby walked along the shore."] * 24, context_window=512)
    step = Extract(asked, progress=lambda *step: told.append(step))
    role = step.invoke(([("novel.txt", text)], "Gatsby"))
    assert [done for _, done, _ in told] == list(range(25))
    assert all(total == 24 and re.search(r"24 of \d+ pieces", what) for what, _, total in told)
    pieces = [str(call.messages[1].text).split("Source:\n")[1] for call in asked.calls]
    assert all("Gatsby" in piece for piece in pieces)
    places = [text.index(piece) for piece in pieces]
    assert places == sorted(places)
    assert places[0] < len(text) / 8
    assert places[-1] > len(text) * 7 / 8
    assert texts(role, "background") == ["Gatsby walked along the shore."]
    assert_stands(role, [("novel.txt", text)])
    assert asked.count_tokens(str(role)) > 0


def test_interrupted_work_is_resumed_and_leaves_no_file(tmp_path: Path) -> None:
    file = tmp_path / "role.json.progress"
    sources = [(f"{n}.txt", f"Ann Lee is a sailor with {n} ships.") for n in range(4)]

    class Failing(ScriptedChatModel):
        def _next(self, messages: Any, stop: Any) -> str:
            if len(self.calls) == 2:
                raise ModelError("the server is down")
            return super()._next(messages, stop)

    said = [f"Background: Ann Lee has {n} ships." for n in range(4)]
    with pytest.raises(ModelError, match="down"):
        Extract(Failing(responses=said), progress_file=file).invoke((sources, "Ann Lee"))
    assert len(file.read_text(encoding="utf-8").splitlines()) == 3
    with file.open("a", encoding="utf-8") as cut_off:
        cut_off.write('[["background", {"te')
    rest = Failing(responses=said[2:])
    done: list[int] = []
    role = Extract(rest, progress_file=file, progress=lambda _, n, __: done.append(n)).invoke((sources, "Ann Lee"))
    assert done == [2, 3, 4]
    assert texts(role, "background") == [line.removeprefix("Background: ") for line in said]
    assert not file.exists()
    assert_stands(role, sources)


def test_work_that_was_killed_goes_on(tmp_path: Path) -> None:
    """SIGKILL in the middle of the third piece: nothing of the first two is asked again."""
    code = """if True:
        import os, signal, sys
        from egosrag.egos.extract.static import Extract
        from egosrag.models.scripted import ScriptedChatModel

        class Dying(ScriptedChatModel):
            def _next(self, messages, stop):
                if len(self.calls) == 2:
                    os.kill(os.getpid(), signal.SIGKILL)
                return super()._next(messages, stop)

        sources = [(f"{n}.txt", f"Ann Lee is a sailor with {n} ships.") for n in range(4)]
        said = [f"Background: Ann Lee has {n} ships." for n in range(4)]
        Extract(Dying(responses=said), progress_file=sys.argv[1]).invoke((sources, "Ann Lee"))
    """
    file = tmp_path / "progress"
    assert subprocess.run([sys.executable, "-c", code, str(file)], check=False).returncode == -signal.SIGKILL
    asked = model(*[f"Background: Ann Lee has {n} ships." for n in (2, 3)])
    asked = type("Dying", (ScriptedChatModel,), {})(responses=asked.responses)  # the plan names the model's class
    sources = [(f"{n}.txt", f"Ann Lee is a sailor with {n} ships.") for n in range(4)]
    role = Extract(asked, progress_file=file).invoke((sources, "Ann Lee"))
    assert texts(role, "background") == [f"Ann Lee has {n} ships." for n in range(4)]
    assert len(asked.calls) == 2
    assert not file.exists()


def test_progress_of_other_sources_is_not_used(tmp_path: Path) -> None:
    file = tmp_path / "p"
    file.write_text('"another plan"\n[["background", {"text": "a lie", "evidence": []}, 1.0]]\n', encoding="utf-8")
    role = Extract(model("None"), progress_file=file).invoke(([("a.txt", EN)], "Ann Lee"))
    assert "a lie" not in texts(role, "background")
    with pytest.raises(RoleError, match="progress file"):
        Extract(model("None"), progress_file=tmp_path / "no" / "p").invoke(([("a.txt", EN)], "Ann Lee"))


def test_card_leaves_the_window_room_for_talk() -> None:
    facts = [
        f"Ann Lee has a friend called {word}."
        for word in ["Abe", "Bea", "Cid", "Dot", "Eli", "Fay", "Gus", "Hal", "Ida", "Jem", "Kit", "Lou"]
    ]  # noqa: SIM905
    asked = model("\n".join("Background: " + fact for fact in facts), context_window=400, max_new_tokens=150)
    role = Extract(asked).invoke(([("a.txt", " ".join(facts))], "Ann Lee"))
    from egosrag.prompts import render

    assert 0 < len(role.background) < len(facts)
    assert asked.count_tokens(render.card(role, "en")) <= 100


@pytest.mark.parametrize(
    ("sources", "name", "error", "says"),
    [
        ([], "Ann", SourceError, "no text"),
        ([("a.txt", " \n")], "Ann", SourceError, "no text"),
        ([("a.txt", EN)], "Zoe", SourceError, "no source names Zoe"),
        ([("a.txt", EN)], " ", RoleError, "no name"),
    ],
)
def test_what_cannot_be_extracted_is_said(sources: Any, name: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        Extract(model()).invoke((sources, name))


def test_labels_are_read_as_models_write_them() -> None:
    said = "Sure! Here it is:\n1. **Background**: a baker\n- born in Hull\n"
    said += "## Personality Traits:\n* kind\nRelationships - none\n说话风格: 话不多\nNone"
    assert labelled(said) == [
        ("background", "a baker"), ("background", "born in Hull"), ("personality", "kind"),
        ("personality", "Relationships - none"), ("speaking_style", "话不多"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "name", "lines"),
    [
        ("“Come in,” said Gatsby. “Who is it?” asked Nick.", "Gatsby", ["Come in"]),
        ('Gatsby said: "Come in, old sport." He left.', "Gatsby", ["Come in, old sport."]),
        ('Nick: "Who is it?"\nGatsby: "It is me."', "Gatsby", ["It is me."]),
        ("阿虚:「现在就开始？」\n春日:「那里就很好」(指向操场)", "春日", ["那里就很好"]),
        ("悟空道：“师父莫怕。”八戒笑道：“猴哥！”", "悟空", ["师父莫怕。"]),
        ("“我们走吧。”悟空说。", "悟空", ["我们走吧。"]),
        ("八戒道：“猴哥！”悟空道：“莫怕莫怕。”那悟空笑道：“你这呆子。”", "悟空", ["莫怕莫怕。", "你这呆子。"]),
        ("他对悟空说：“师父有难。”", "悟空", []),
        ('Nick said to Gatsby: "Come in now." “Go!” Gatsby: "I will go."', "Gatsby", ["I will go."]),
        ("Leonard to Sheldon:「Agreed then.」", "Sheldon", []),
        ("佟湘玉：展堂。（下楼）老邢。\n老邢：你来得正好。", "佟湘玉", ["展堂。（下楼）老邢。"]),
    ],
)
def test_lines_of_the_role_are_found_by_rule(text: str, name: str, lines: list[str]) -> None:
    found = spoken([("a", text)], name)
    assert [line.text for line in found] == lines
    assert all(text[place.start : place.end] == place.quote for line in found for place in line.evidence)


def test_sentences_cover_the_text_in_order() -> None:
    text = "Mr. Fox left. “Stop!” he cried. "
    text += "A long line of a novel that was broken by hand for its width goes\non here.\n\n第一句。“第二句！”第三句"
    found = [text[a:b] for a, b in sentences(text)]
    assert found[:3] == ["Mr. Fox left.", "“Stop!” he cried.", found[2]]
    assert found[2].endswith("goes\non here.")
    assert found[3:] == ["第一句。", "“第二句！”", "第三句"]


def test_pieces_are_whole_sentences_that_fit() -> None:
    counted = model().count_tokens
    text = novel(40) + "\n\n" + "verylongword" * 400
    pieces = cut([("a", text)], 60, counted)
    assert all(counted(piece.text) <= 60 and text[piece.start : piece.end] == piece.text for piece in pieces)
    covered = "".join(piece.text for piece in pieces)
    assert re.sub(r"\s", "", covered) == re.sub(r"\s", "", text)


def test_neighbours_are_read_where_there_is_room() -> None:
    pieces = cut([("a", novel(40))], 40, model().count_tokens)
    naming = [piece for piece in pieces if "Gatsby" in piece.text]
    read = chosen(pieces, "Gatsby", len(naming) + 2)
    assert len(read) == len(naming) + 2
    assert {piece.start for piece in naming} < {piece.start for piece in read}


def test_real_sources_give_cards_whose_evidence_stands(shared_data: Path) -> None:
    novel_text = (shared_data / "texts" / "gatsby.txt").read_text(encoding="utf-8")
    for sources, name in (
        ([("gatsby.txt", novel_text)], "Gatsby"),
        (
            [
                (p.name, p.read_text(encoding="utf-8"))
                for p in (shared_data / "chatharuhi" / "haruhi" / "texts").iterdir()
            ],
            "春日",
        ),
    ):
        role = Extract(model(*["None"] * 24, context_window=1024)).invoke((sources, name))
        assert role.background
        assert role.sample_dialogue
        assert_stands(role, sources)
