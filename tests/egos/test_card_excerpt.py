"""A card that is long for the window: its most important statements stay, the others are looked up, no line is lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from egosrag.egos.card_excerpt import excerpt_of
from egosrag.egos.organize import Organize
from egosrag.egos.view import ConversationView
from egosrag.models.load import load_chat_model
from egosrag.models.scripted import ScriptedChatModel
from egosrag.schema import Persona, Role, Turn
from egosrag.sessions.conversation import Conversation
from egosrag.sessions.group import GroupChat

COUNT = ScriptedChatModel(responses=[]).count_tokens
THINGS = ("clock", "organ", "bridge", "well", "mill", "lantern", "gate", "boat", "bell", "roof")
FACTS = [f"In the year {1700 + n} {{{{char}}}} mended the {THINGS[n % 10]} of the town." for n in range(60)]
ILKA = Role.model_validate({
    "name": "Ilka",
    "background": ["Ilka is a clockmaker in Vadren. " + " ".join(FACTS),
                   "Her dog, who follows her to every shop and bridge in the town, is called Pebble."],
    "personality": ["dry", "patient"],
    "speaking_style": ["short sentences"],
    "relations": ["Bram is her brother."],
    "sample_dialogue": [{"speaker": "{{user}}", "text": "Open?"}, {"speaker": "{{char}}", "text": "Always."}],
})  # fmt: skip
BRIDGES = "".join(f"{1700 + n}年他修过第{n}座桥。" for n in range(90))
LUO = Role.model_validate(
    {"name": "罗师傅", "background": [f"罗师傅在镇上修钟表。{BRIDGES}他的狗叫石头。"], "personality": ["话不多"]}
)


def view_of(role: Role, *lines: str) -> ConversationView:
    return ConversationView(role, tuple(Turn(speaker="Me", text=line) for line in lines))


def test_a_card_that_fits_stays_whole() -> None:
    organize = Organize(COUNT, 8000)
    assert organize.card_report(ILKA) == ""
    assert "Pebble" in next(p.text for p in organize.run(view_of(ILKA, "Hi.")).parts if p.name == "card")


@pytest.mark.parametrize(
    ("role", "line", "found", "stays"),
    [(ILKA, "What is your dog called?", "Pebble", "clockmaker"), (LUO, "你的狗叫什么？", "石头", "修钟表")],
    ids=["en", "zh"],
)
def test_what_a_line_needs_is_looked_up(role: Role, line: str, found: str, stays: str) -> None:
    organize = Organize(COUNT, 640)
    report = organize.card_report(role)
    assert "the window 640" in report and "are looked up for each line" in report and "\n" not in report
    composed = organize.run(view_of(role, line))
    parts = {part.name: part.text for part in composed.parts}
    assert composed.tokens <= 640
    assert stays in parts["card"] and found not in parts["card"] and found in parts["lore"]
    assert composed.view.source_hits[0].source == "role card"
    other = organize.run(view_of(role, "Hm." if role is ILKA else "嗯。"))
    assert found not in "".join(part.text for part in other.parts)
    assert next(p.text for p in other.parts if p.name == "card") == parts["card"], "the card stays the same"


def test_macros_are_filled_in_what_is_looked_up() -> None:
    view = replace(view_of(ILKA, "Tell me of the organ in 1741."), persona=Persona(name="Ann"), user="Ann")
    composed = Organize(COUNT, 640).run(view)
    assert "In the year 1741 Ilka mended the organ" in next(p.text for p in composed.parts if p.name == "lore")
    assert "{{" not in "".join(part.text for part in composed.parts)


def test_an_excerpt_keeps_every_word_once() -> None:
    excerpt = excerpt_of(ILKA, 100, COUNT)
    kept = [s.text for s in (*excerpt.role.background, *excerpt.role.personality, *excerpt.role.speaking_style)]
    words = " ".join([*kept, *(s.text for s in excerpt.role.relations), *(p.quote for p in excerpt.places)]).split()
    expected = [s.text for s in (*ILKA.background, *ILKA.personality, *ILKA.speaking_style, *ILKA.relations)]
    assert sorted(w for w in words if w not in ("{{user}}:", "{{char}}:", "Open?", "Always.")) == sorted(
        " ".join(expected).split()
    )
    assert excerpt.role.name == "Ilka" and kept[0].startswith("Ilka is a clockmaker")
    whole = "\n".join(place.quote for place in excerpt.places)
    assert all(whole[place.start : place.end] == place.quote for place in excerpt.places)


def test_a_text_without_sentences_is_divided_too() -> None:
    role = Role.model_validate({"name": "Tim", "background": ["word " * 3000], "personality": ["kind"]})
    composed = Organize(COUNT, 400).run(view_of(role, "Hi."))
    assert composed.tokens <= 400 and "kind" in composed.parts[1].text


@pytest.mark.parametrize("history", ["single", "multiple"])
def test_a_long_conversation_with_a_long_card_goes_on(history: str) -> None:
    model = ScriptedChatModel(responses=[f'Yes, {n}."' for n in range(12)])
    notes: list[str] = []
    talk = Conversation(model, ILKA, window=640, memory="none", history=history, notify=notes.append)  # type: ignore[arg-type]
    assert "looked up for each line" in notes[0]
    for n in range(12):
        assert talk.say(f"Line {n}: what is your dog called?").text == f"Yes, {n}."
    assert len(talk.turns()) == 24


def test_each_role_of_a_scene_may_have_a_long_card() -> None:
    model = ScriptedChatModel(responses=['One."', 'Two."'])
    scene = GroupChat(model, [ILKA, ILKA.model_copy(update={"name": "Bram"})], window=640, memory="none")
    assert [scene.say("Ilka, your dog?").speaker, scene.say("Bram, your dog?").speaker] == ["Ilka", "Bram"]


def test_the_embedded_model_talks_with_a_card_of_a_thousand_tokens() -> None:
    model = load_chat_model("pocket")
    notes: list[str] = []
    talk = Conversation(model, ILKA, notify=notes.append, session="long")
    assert "looked up for each line" in notes[0]
    reply = talk.say("What is your dog called?")
    assert reply.text and reply.ledger.prompt <= 768
    assert [turn.text for turn in talk.turns()][-2] == "What is your dog called?"
