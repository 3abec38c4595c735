"""The roles page, and the page that compares two ways to play a role."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

pytest.importorskip("streamlit", reason="the extra app is not installed")

from streamlit.testing.v1 import AppTest

from apps.parts.jobs import background_jobs
from egosrag.host import cards
from egosrag.schema import Role
from tests.apps.test_roleplay_page import Open, open_page, say, shown, visitor  # noqa: F401  (open_page is a fixture)

HOSTILE = {
    "name": "<script>alert(1)</script>",
    "greeting": "![x](http://evil.example/x.png)",
    "background": ["<img src=x onerror=alert(1)>", "../../etc/passwd"],
}


@pytest.fixture
def open_roles(open_page: Open) -> Callable[..., AppTest]:  # noqa: F811
    return lambda *responses: open_page(*responses).switch_page("roles.py").run()


def press(page: AppTest, label: str) -> AppTest:
    return next(button for button in page.button if button.label == label).click().run()


def texts(page: AppTest) -> list[str]:
    return [text.value for text in page.text]


def test_an_edited_sample_card_becomes_an_own_role(open_roles: Callable[..., AppTest]) -> None:
    page = open_roles()
    assert not page.exception
    assert "She is afraid of fog." in texts(page)
    page.toggle(key="edit role").set_value(True).run()
    next(area for area in page.text_area if area.label == "Personality").set_value("She likes fog.")
    press(page, "Save")
    page.toggle(key="edit role").set_value(False).run()
    assert "She likes fog." in texts(page) and "She is afraid of fog." not in texts(page)
    assert cards.list_roles(visitor(), "en")[0].is_own


def test_an_uploaded_card_is_stored_and_shown_as_text(open_roles: Callable[..., AppTest]) -> None:
    page = open_roles()
    page.file_uploader[0].upload("tim.json", json.dumps(HOSTILE).encode(), "application/json").run()
    assert not page.exception and not page.error
    assert HOSTILE["greeting"] in shown(page)
    assert {*HOSTILE["background"]} <= set(texts(page))
    assert all("<" not in shown.value.replace("\\<", "") for shown in (*page.subheader, *page.toast))
    press(page, "Delete the role")
    assert not cards.list_roles(visitor(), "en")[0].is_own


def test_an_invalid_card_is_an_error_with_a_reason(open_roles: Callable[..., AppTest]) -> None:
    page = open_roles()
    page.file_uploader[0].upload("no.png", b"\x89PNG\r\n\x1a\nxx", "image/png").run()
    assert not page.exception
    (error,) = page.error
    assert "no\\.png" in error.value and "damaged" in error.value and str(visitor().folder) not in error.value


def test_a_role_is_extracted_with_its_evidence(open_roles: Callable[..., AppTest]) -> None:
    page = open_roles("Background: Tim bakes bread.\n")
    next(field for field in page.text_input if field.label == "Name of the role").set_value("Tim")
    next(area for area in page.text_area if "paste" in area.label).set_value("Tim bakes bread in Hull every day.")
    press(page, "Make the role")
    while background_jobs().find(visitor().key, "extract"):
        page.run()
    assert not page.exception and not page.error
    assert cards.list_roles(visitor(), "en")[0].name == "Tim"
    assert any(box.label.startswith("Source: ") for box in page.expander)
    assert "Tim bakes bread in Hull every day." in texts(page)


def test_texts_without_the_roles_name_are_an_error(open_roles: Callable[..., AppTest]) -> None:
    page = open_roles()
    next(field for field in page.text_input if field.label == "Name of the role").set_value("Tim")
    next(area for area in page.text_area if "paste" in area.label).set_value("Nobody is here.")
    press(page, "Make the role")
    while background_jobs().find(visitor().key, "extract"):
        page.run()
    assert [error.value for error in page.error] and not page.exception


def test_a_chat_starts_from_the_roles_page(open_page: Open) -> None:  # noqa: F811
    page = open_page()
    cards.add(visitor(), Role(name="Tim", language="en", greeting="Bread?"))
    page.switch_page("roles.py").run()
    press(page, "Chat")
    assert shown(page) == ["Bread?"]


def test_two_systems_get_the_same_message(open_page: Open) -> None:  # noqa: F811
    page = open_page('One."', "Two.\n").switch_page("compare.py").run()
    page.toggle(key="b quote").set_value(False).run()
    page.chat_input(key="message to both").set_value("Who are you?").run()
    assert not page.exception and not page.error
    assert [text for text in shown(page) if text in ("One.", "Two.")] == ["One.", "Two."]
    assert shown(page).count("Who are you?") == 2
    assert sum("Reply: " in caption.value for caption in page.caption) == 2
