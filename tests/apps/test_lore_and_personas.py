"""Personas and lorebooks on the pages: chosen for a conversation, edited, and shown where they took part."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("streamlit", reason="the extra app is not installed")

from streamlit.testing.v1 import AppTest

from egosrag.host import cards, conversations, lorebooks
from egosrag.host.personas import personas_of, save_persona
from egosrag.schema import Lorebook, Persona, Role
from egosrag.settings import Settings
from tests.apps.test_roleplay_page import Open, click, meet, open_page, say, shown, visitor  # noqa: F401  (a fixture)
from tests.apps.test_roles_pages import press, texts

BOOK = Lorebook.model_validate(
    {
        "name": "The *bakery*",
        "entries": [{"keys": ["oven"], "content": "The oven belongs to {{user}}.", "name": "<b>oven"}],
    }
)


def box(page: AppTest, label: str) -> Any:
    return next(box for box in page.selectbox if box.label == label)


def field(page: AppTest, label: str) -> Any:
    return next(field for field in (*page.text_input, *page.text_area) if field.label == label)


def press_in(page: AppTest, form: str) -> AppTest:
    """Press the "Save" of a form whose key begins so."""
    return next(b for b in page.button if b.label == "Save" and b.form_id.startswith(form)).click().run()


def turns(page: AppTest) -> list[str]:
    session = page.session_state["session"]
    transcript = conversations.load_transcript(Settings.load(), visitor(), session)
    return [turn.speaker for turn in transcript.turns]


def test_a_persona_is_added_chosen_edited_and_deleted(open_page: Open) -> None:  # noqa: F811
    page = open_page('Ann."', 'You."', 'Nobody."')
    field(page, "Your name").set_value("Ann")
    field(page, "What the role knows of you").set_value("A *sailor* from Hull.")
    press(page, "Save")
    assert not page.exception and not page.error
    assert personas_of(visitor()).all() == [Persona(name="Ann", description="A *sailor* from Hull.")]
    assert box(page, "Who you are").value == "Ann"
    say(page, "Who am I?")
    assert turns(page)[-2] == "Ann"
    field(page, "Your name").set_value("Bea")
    press(page, "Save")
    assert (box(page, "Who you are").value, box(page, "Who you are").options) == (
        "Bea",
        ["Nobody in particular", "Bea"],
    )
    say(page, "And now?")
    assert turns(page)[-2] == "Bea"
    box(page, "Who you are").select("").run()
    say(page, "And now?")
    assert turns(page)[-2] == "Me"
    box(page, "Persona").select("Bea").run()
    press(page, "Delete this persona")
    assert not page.exception and not page.error
    assert personas_of(visitor()).all() == []


def test_each_conversation_has_its_own_persona(open_page: Open) -> None:  # noqa: F811
    save_persona(visitor(), "Ann", "a cook")
    save_persona(visitor(), "Bea", "")
    tim = cards.add(visitor(), Role(name="Tim", language="en", greeting="Hello, {{user}}."))
    page = open_page('Hm."')
    first = page.session_state["session"]
    box(page, "Who you are").select("Bea").run()
    meet(page, tim.id)
    assert box(page, "Who you are").value == ""
    box(page, "Who you are").select("Ann").run()
    assert shown(page) == ["Hello, Ann."]
    page.sidebar.toggle(key="show prompt").set_value(True).run()
    say(page, "Who am I?")
    assert any("a cook" in text for text in texts(page))
    assert conversations.choices_of(visitor(), first).persona == "Bea"


def test_a_persona_without_a_name_or_with_one_twice_is_an_error(open_page: Open) -> None:  # noqa: F811
    save_persona(visitor(), "Ann", "")
    page = open_page()
    press(page, "Save")
    assert "name" in page.error[0].value
    field(page, "Your name").set_value("ann")
    press(page, "Save")
    assert "already" in page.error[0].value and not page.exception


def test_the_entries_that_fired_are_shown_with_the_reply(open_page: Open) -> None:  # noqa: F811
    book = lorebooks.save(visitor(), BOOK)
    page = open_page('Yes."', 'Hm."')
    conversations.choose(visitor(), page.session_state["session"], lorebooks=[book.id])
    page.sidebar.toggle(key="show prompt").set_value(True).run()
    say(page, "Is the oven hot?")
    assert any(c.value.startswith("From the lorebook: ") and r"\<b\>oven" in c.value for c in page.caption)
    assert "Lorebook entries: 1" in [caption.value for caption in page.caption]
    assert any(text.startswith("• <b>oven: The oven belongs to ") for text in texts(page))


def test_a_lorebook_is_uploaded_for_a_conversation_and_its_entries_edited(open_page: Open) -> None:  # noqa: F811
    page = open_page('Yes."')
    data = {"entries": {"0": {"key": ["stove"], "content": "The stove is cold."}}}
    page.file_uploader[0].upload("bakery.json", json.dumps(data).encode(), "application/json").run()
    assert not page.exception and not page.error
    (book,) = lorebooks.list_lorebooks(visitor())
    assert conversations.choices_of(visitor(), page.session_state["session"]).lorebooks == (book.id,)
    assert box(page, "Lorebook").options == ["bakery"]

    field(page, "Keys").set_value("oven\n/st.{1,3}ve/\n")
    field(page, "Text that the model sees").set_value("The <i>oven</i> is old.")
    press_in(page, "entry")
    assert not page.exception and not page.error
    (entry,) = lorebooks.load(book).entries
    assert (entry.keys, entry.content) == (("oven", "/st.{1,3}ve/"), "The <i>oven</i> is old.")

    box(page, "Entry").select(1).run()
    field(page, "Keys").set_value("flour")
    field(page, "Text that the model sees").set_value("Flour is white.")
    next(toggle for toggle in page.toggle if toggle.label == "In use").set_value(False)
    press_in(page, "entry")
    assert [(e.keys, e.enabled) for e in lorebooks.load(book).entries][1:] == [(("flour",), False)]
    page.sidebar.toggle(key="show prompt").set_value(True).run()
    say(page, "Is the oven hot? And the flour?")
    assert any(text.endswith(": The <i>oven</i> is old.") for text in texts(page))
    assert not any("Flour is white." in text for text in texts(page) if text.startswith("•"))

    box(page, "Entry").select(1).run()
    press(page, "Delete this entry")
    assert len(lorebooks.load(book).entries) == 1
    page.multiselect(key=f"lorebooks of {page.session_state['session']}").set_value([]).run()
    assert conversations.choices_of(visitor(), page.session_state["session"]).lorebooks == ()
    press(page, "Delete this lorebook")
    assert not page.exception and not page.error
    assert lorebooks.list_lorebooks(visitor()) == []


def test_a_file_that_is_no_lorebook_is_an_error(open_page: Open) -> None:  # noqa: F811
    page = open_page()
    page.file_uploader[0].upload("no.json", b"{}", "application/json").run()
    assert not page.exception
    (error,) = page.error
    assert "no\\.json" in error.value and str(visitor().folder) not in error.value
