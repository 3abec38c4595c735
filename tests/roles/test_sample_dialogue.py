"""The spoken lines of a card's sample dialogue, in the layouts of programs and writers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from egosrag.prompts import render
from egosrag.roles import cards
from egosrag.roles.sample_dialogue import lines_of
from egosrag.schema import Persona, Role

USER, CHAR = "{{user}}", "{{char}}"


@pytest.mark.parametrize(
    ("example", "lines"),
    [
        ("<START>\n{{user}}: Open?\n{{char}}: Always.\n<start>{{char}}: No.",
         [(USER, "Open?"), (CHAR, "Always."), (CHAR, "No.")]),
        ("{{user}}:\nOpen?\n\n{{char}}:\nAlways.\nOn Sundays too.",
         [(USER, "Open?"), (CHAR, "Always.\nOn Sundays too.")]),
        ("{{char}}: One.\n{{char}}:\n{{user}}: Two.", [(CHAR, "One."), (USER, "Two.")]),
        ("You: Open?\nIlka: Always.\nDr. Bo: Hm.", [(USER, "Open?"), ("Ilka", "Always."), ("Dr. Bo", "Hm.")]),
        ("You:\nOpen?\nIlka:\nAlways.", [(USER, "Open?"), ("Ilka", "Always.")]),
        ("{{random_user_1}}: Open?\nEND_OF_DIALOG\n{{char}}: Always.\nEND_OF_DIALOG",
         [(USER, "Open?"), (CHAR, "Always.")]),
        ("**{{user}}:** Open?\n**{{char}}**: Always.\n> {{user}}: And?\n- {{char}}: Yes.\n[{{char}}: So.]",
         [(USER, "Open?"), (CHAR, "Always."), (USER, "And?"), (CHAR, "Yes."), (CHAR, "So.")]),
        ("### Example\n{{user}}: a\n***\n{{char}}: b", [(USER, "a"), (CHAR, "b")]),
        ("{{char}}: We meet.\nAt the clock, 10:30.\nAt 10:30.\nSee\nhttps://a.b/c\nShe was sure of one thing: gears.",
         [(CHAR, "We meet.\nAt the clock, 10:30.\nAt 10:30.\nSee\nhttps://a.b/c\nShe was sure of one thing: gears.")]),
        ("Ilka mends. Time: 10:30.", [(CHAR, "Ilka mends. Time: 10:30.")]),
        ("{{char}} (angry): No.", [("{{char}} (angry)", "No.")]),
        ("{{user}}：开着吗？\n伊尔卡：总是。", [(USER, "开着吗？"), ("伊尔卡", "总是。")]),
        ("{{char}}: ...\n{{char}}: \"Yes: no.\"", [(CHAR, "..."), (CHAR, '"Yes: no."')]),
        ("", []),
    ],
)  # fmt: skip
def test_lines_have_their_speakers(example: str, lines: list[tuple[str, str]]) -> None:
    assert [(line["speaker"], line["text"]) for line in lines_of(example, "Ilka")] == lines


def test_a_role_named_you_says_its_own_lines() -> None:
    assert lines_of("You: hi", "You") == [{"speaker": "You", "text": "hi"}]


def test_the_user_of_the_dialogue_has_the_personas_name_in_the_prompt() -> None:
    card = {"char_name": "Ilka", "char_persona": "Ilka mends clocks.", "example_dialogue": "You: hi\nIlka: Mind."}
    role = Role.model_validate(cards.role_fields(card))
    assert 'Ann: "hi" Ilka: "Mind."' in render.card(role, "en", Persona(name="Ann"))
    assert 'Me: "hi" Ilka: "Mind."' in render.card(role, "en")
    assert cards.card_from_role(role, 2)["data"]["mes_example"] == "You: hi\nIlka: Mind."


@given(st.text(alphabet="ab:：*-[]{}<>#\n .You", max_size=60))
def test_any_text_is_read_and_no_words_are_lost(text: str) -> None:
    lines = lines_of(text, "Ilka")
    assert all(line["speaker"] and line["text"] for line in lines)


@pytest.mark.parametrize(
    "text", [" ", "a ", "{{char}} ", "-", "[(", "{{char}}(", "a.", "a: ", "{{char}}:\n", "END_OF_DIALOG "]
)
def test_hostile_texts_are_read_in_a_moment(text: str) -> None:
    assert len(lines_of(text * 100_000 + "x")) <= 1
