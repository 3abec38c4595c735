"""Static Extract: cards whose every statement has evidence, from sources of any length, resumable."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from egosrag.egos.extract.chunks import select_chunks, source_sentences, split_sources
from egosrag.egos.extract.dialogue import role_lines
from egosrag.egos.extract.evidence import parse_labelled_lines
from egosrag.egos.extract.questions import questions
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


class Refining(ScriptedChatModel):
    """A model that was trained on prompts with what is known already: it reads whole chunks, one after the other."""

    @property
    def traits(self) -> Traits:
        return Traits(single_turn=True, prompts="pocket")


def texts(role: Role, part: str) -> list[str]:
    return [statement.text for statement in getattr(role, part)]


def assert_evidence_matches(role: Role, sources: list[tuple[str, str]]) -> None:
    by_name = dict(sources)
    parts = (role.background, role.personality, role.speaking_style, role.relations, role.sample_dialogue)
    for statement in (s for part in parts for s in part):
        assert statement.evidence
        for place in statement.evidence:
            assert by_name[place.source][place.start : place.end] == place.quote


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


def novel(paragraphs: int) -> str:
    names = ["Nick", "Daisy", "Tom", "Jordan"]
    parts = []
    for n in range(paragraphs):
        who = "Gatsby" if n % 9 == 0 else names[n % 4]
        parts.append(f"{who} walked along the shore on day {n}, and the lights went out one after another.")
        parts.append("Nobody knew where the road went, and nobody asked.")
    return "\n\n".join(parts)


def test_a_source_far_over_the_window_is_read_where_it_mentions_the_role() -> None:
    steps: list[tuple[str, int, int]] = []
    text = novel(1200)
    questions = 15
    llm = model(*["Background: Gatsby walked along the shore."] * 24, *["None."] * 6 * questions)
    step = Extract(llm, max_chunks=24, progress=lambda *step: steps.append(step))
    role = step.invoke(([("novel.txt", text)], "Gatsby"))
    assert [done for _, done, _ in steps] == list(range(31))
    assert all(total == 30 and re.search(r"24 of \d+ chunks", what) for what, _, total in steps)
    chunks = [str(call.messages[-1].text).split("Passage:\n")[1] for call in llm.calls[:24]]
    assert all("Gatsby" in chunk for chunk in chunks)
    chapters = {str(call.messages[-1].text).split("Text:\n")[1].rpartition("\n\n")[0] for call in llm.calls[24:]}
    assert len(chapters) == 6 and all("Gatsby" in chapter for chapter in chapters)
    places = [text.index(chunk) for chunk in chunks]
    assert places == sorted(places)
    assert places[0] < len(text) / 8
    assert places[-1] > len(text) * 7 / 8
    assert texts(role, "background") == ["Gatsby walked along the shore."]
    assert_evidence_matches(role, [("novel.txt", text)])
    assert llm.count_tokens(str(role)) > 0


STORY = [
    "The boat was to leave at nine, and at half past nine Ann Lee came along the pier with a bag of chestnuts.",
    "“Sit down, cargo,” said Ann. “It is ladders that frighten me, because a ladder has neither hull nor engine.”",
    "“Are you never late?” asked the clerk. He was the only passenger, and he held his hat with both hands.",
    "“I promised the lamp-lighter's girl her letter for today, and today has twelve hours left,” said Ann.",
    "“Below us is the town: the harbour, the market, and the shop of umbrellas where nobody waves,” said the clerk.",
    "A long grey ship overtook them. On its bridge Captain Hale lifted his hat, so that they could see it.",
] * 2  # fmt: skip


class Answering(ScriptedChatModel):
    """Finds nothing in passages, and answers some of the questions."""

    answers: dict[str, str]

    def _next(self, messages: Any, stop: Any) -> str:
        question = str([m for m in messages if m.type == "human"][-1].text).splitlines()[-1]
        return next((answer for start, answer in self.answers.items() if question.startswith(start)), "None.")


def test_a_story_is_asked_one_question_at_a_time() -> None:
    text = "\n\n".join(STORY)
    answers = {
        "What frightens Ann Lee": "Ann is afraid of ladders.",
        "What has Ann Lee promised": "Ann promised the lamp-lighter's girl her letter for today.",
        "What does Ann Lee call": 'Ann calls the clerk "cargo".',
        "How long": "Ann is twelve years old.",
        "Who belongs": "Ann Lee is Ann's mother.",
        "Who is Ann Lee's rival": "Pike is Ann's rival.",
        "What does Ann Lee like": "Ann calls her friends “ballast”.",
        "What is Ann Lee's work": "The clerk was the only passenger.",
    }
    role = Extract(Answering(responses=[], answers=answers)).invoke(([("story.txt", text)], "Ann Lee"))
    stated = [*texts(role, "background"), *texts(role, "personality"), *texts(role, "speaking_style")]
    assert stated == [
        "Ann promised the lamp-lighter's girl her letter for today.",
        "Ann is afraid of ladders.",
        'Ann calls the clerk "cargo".',
    ]
    assert role.speaking_style[0].evidence[0].quote.startswith("Sit down, cargo")
    assert not role.relations
    assert_evidence_matches(role, [("story.txt", text)])


@pytest.mark.parametrize(("language", "name"), [("en", "Ann Lee"), ("zh", "顾青禾")])
def test_the_questions_name_the_role_and_nobody_of_the_examples(language: str, name: str) -> None:
    asked = questions(language, name)
    assert len(asked) == 15 == len(set(asked))
    assert all(name in question and "Otto" not in question and "方守一" not in question for question in asked)


def test_an_interrupted_extraction_resumes_and_leaves_no_file(tmp_path: Path) -> None:
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
    resumed = Failing(responses=said[2:])
    done: list[int] = []
    role = Extract(resumed, progress_file=file, progress=lambda _, n, __: done.append(n)).invoke((sources, "Ann Lee"))
    assert done == [2, 3, 4]
    assert texts(role, "background") == [line.removeprefix("Background: ") for line in said]
    assert not file.exists()
    assert_evidence_matches(role, sources)


def test_an_extraction_that_was_killed_resumes(tmp_path: Path) -> None:
    """After SIGKILL in the third chunk, the first two chunks are not read again."""
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
        responses = [f"Background: Ann Lee has {n} ships." for n in range(4)]
        Extract(Dying(responses=responses), progress_file=sys.argv[1]).invoke((sources, "Ann Lee"))
    """
    file = tmp_path / "progress"
    assert subprocess.run([sys.executable, "-c", code, str(file)], check=False).returncode == -signal.SIGKILL
    llm = model(*[f"Background: Ann Lee has {n} ships." for n in (2, 3)])
    # The key of the progress file contains the name of the model's class.
    llm = type("Dying", (ScriptedChatModel,), {})(responses=llm.responses)
    sources = [(f"{n}.txt", f"Ann Lee is a sailor with {n} ships.") for n in range(4)]
    role = Extract(llm, progress_file=file).invoke((sources, "Ann Lee"))
    assert texts(role, "background") == [f"Ann Lee has {n} ships." for n in range(4)]
    assert len(llm.calls) == 2
    assert not file.exists()


def test_the_progress_of_other_sources_is_not_used(tmp_path: Path) -> None:
    file = tmp_path / "p"
    file.write_text(
        '"a key of other inputs"\n[["background", {"text": "a lie", "evidence": []}, 1.0]]\n', encoding="utf-8"
    )
    role = Extract(model("None"), progress_file=file).invoke(([("a.txt", EN)], "Ann Lee"))
    assert "a lie" not in texts(role, "background")
    with pytest.raises(RoleError, match="progress file"):
        Extract(model("None"), progress_file=tmp_path / "no" / "p").invoke(([("a.txt", EN)], "Ann Lee"))


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


def test_labels_are_parsed_in_the_forms_that_models_write() -> None:
    said = "Sure! Here it is:\n1. **Background**: a baker\n- born in Hull\n"
    said += "## Personality Traits:\n* kind\nRelationships - none\n说话风格: 话不多\nNone"
    assert parse_labelled_lines(said) == [
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
def test_lines_of_the_role_are_found_by_patterns(text: str, name: str, lines: list[str]) -> None:
    found = role_lines([("a", text)], name)
    assert [line.text for line in found] == lines
    assert all(text[place.start : place.end] == place.quote for line in found for place in line.evidence)


def test_sentences_join_wrapped_lines_and_what_follows_a_quotation() -> None:
    text = "Mr. Fox left. “Stop!” he cried. "
    text += "A long line of a novel that was broken by hand for its width goes\non here.\n\n第一句。“第二句！”第三句"
    found = [text[a:b] for a, b in source_sentences(text)]
    assert found[:3] == ["Mr. Fox left.", "“Stop!” he cried.", found[2]]
    assert found[2].endswith("goes\non here.")
    assert found[3:] == ["第一句。", "“第二句！”", "第三句"]


def test_chunks_cover_the_text_and_fit_the_budget() -> None:
    counted = model().count_tokens
    text = novel(40) + "\n\n" + "verylongword" * 400
    chunks = split_sources([("a", text)], 60, counted)
    assert all(counted(chunk.text) <= 60 and text[chunk.start : chunk.end] == chunk.text for chunk in chunks)
    covered = "".join(chunk.text for chunk in chunks)
    assert re.sub(r"\s", "", covered) == re.sub(r"\s", "", text)


def test_a_passage_ends_with_a_paragraph_where_it_can() -> None:
    text = "\n".join(f'"I have {n} ships. They are old," said Ann. "I never lost one."' for n in range(20, 40))
    chunks = split_sources([("a", text)], 70, model().count_tokens, paragraphs=True)
    assert len(chunks) > 2
    assert all(chunk.text.startswith('"I have') and chunk.text.endswith('lost one."') for chunk in chunks)
    torn = split_sources([("a", text)], 70, model().count_tokens)
    assert not all(chunk.text.startswith('"I have') for chunk in torn)


def test_passages_are_read_at_once_and_the_card_has_them_in_their_order() -> None:
    class Reader(ScriptedChatModel):
        """Repeats its passage, the first one last."""

        def _next(self, messages: Any, stop: Any) -> str:
            super()._next(messages, stop)
            said = str(messages[-1].text).split("Passage:\n")[1]
            if "ship 0" in said:
                others.wait(timeout=10)
            elif "ship 3" in said:
                others.set()
            return f"Background: {said}"

    others = threading.Event()
    sources = [(f"{n}.txt", f"Ann Lee sailed on ship {n}.") for n in range(4)]
    role = Extract(Reader(responses=["-"] * 4), workers=4).invoke((sources, "Ann Lee"))
    assert texts(role, "background") == [text for _, text in sources]


def test_neighbouring_chunks_fill_the_limit() -> None:
    chunks = split_sources([("a", novel(40))], 40, model().count_tokens)
    naming = [chunk for chunk in chunks if "Gatsby" in chunk.text]
    read = select_chunks(chunks, "Gatsby", len(naming) + 2)
    assert len(read) == len(naming) + 2
    assert {chunk.start for chunk in naming} < {chunk.start for chunk in read}


def test_cards_of_real_sources_have_matching_evidence(shared_data: Path) -> None:
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
        role = Extract(model(*["None"] * (24 + 6 * 15)), max_chunks=24).invoke((sources, name))
        assert role.background
        assert role.sample_dialogue
        assert_evidence_matches(role, sources)
