"""The page: a role that answers, a manual that cites, errors as one line, words shown as words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("streamlit", reason="the extra app is not installed")

import streamlit
from streamlit.testing.v1 import AppTest

PAGE = str(Path(__file__).resolve().parents[2] / "apps" / "chat.py")


@pytest.fixture
def open_page(monkeypatch: pytest.MonkeyPatch, script: Callable[..., str]) -> Callable[..., AppTest]:
    """``open_page("one", "two")``: the page with a model that says so."""

    streamlit.cache_resource.clear()  # models are kept by the server, which all tests share

    def page(*responses: str) -> AppTest:
        monkeypatch.setenv("EGOSRAG_MODEL", script(*responses))
        return AppTest.from_file(PAGE, default_timeout=60).run()

    return page


def shown(page: AppTest) -> list[str]:
    return [text.value for message in page.chat_message for text in message.text]


def test_it_opens_with_a_sample_role_and_no_error(open_page: Callable[..., AppTest]) -> None:
    page = open_page()
    assert not page.exception
    assert not page.error
    assert shown(page)[0] == "Wipe your feet, sailor. There is soup."


def test_a_line_gets_a_reply_that_stays(open_page: Callable[..., AppTest]) -> None:
    page = open_page('I am Edda."', 'Soup."')
    page.chat_input(key="line").set_value("Who are you?").run()
    assert shown(page)[1:] == ["Who are you?", "I am Edda."]
    page.chat_input(key="line").set_value("What is there?").run()
    assert shown(page)[1:] == ["Who are you?", "I am Edda.", "What is there?", "Soup."]


def test_a_new_conversation_forgets(open_page: Callable[..., AppTest]) -> None:
    page = open_page('I am Edda."')
    page.chat_input(key="line").set_value("Who are you?").run()
    page.button[0].click().run()
    assert shown(page) == ["Wipe your feet, sailor. There is soup."]


def test_the_manual_answers_with_its_page(open_page: Callable[..., AppTest]) -> None:
    page = open_page("It is of the type CR2032. [1]")
    page.chat_input(key="question").set_value("Which battery does the key need?").run()
    assert not page.error
    assert any(box.label.startswith("p. 2 ") for box in page.expander)
    assert any("CR2032" in text.value for box in page.expander for text in box.text)


def test_chinese_is_a_click_away(open_page: Callable[..., AppTest]) -> None:
    page = open_page("我是顾青禾。”")
    page.sidebar.radio[0].set_value("zh").run()
    page.chat_input(key="line").set_value("你是谁？").run()
    assert shown(page)[1:] == ["你是谁？", "我是顾青禾。"]


def test_words_are_shown_as_words(open_page: Callable[..., AppTest]) -> None:
    page = open_page('<b>I</b> am *Edda* ![x](http://x)."')
    page.chat_input(key="line").set_value("<script>alert(1)</script>").run()
    assert shown(page)[1:] == ["<script>alert(1)</script>", "<b>I</b> am *Edda* ![x](http://x)."]
    assert not page.markdown


def test_an_error_is_one_line_on_the_page(open_page: Callable[..., AppTest]) -> None:
    page = open_page()
    page.chat_input(key="line").set_value("Who are you?").run()
    assert not page.exception
    assert len(page.error) == 1
    assert "script" in page.error[0].value


def test_a_reply_shows_what_its_prompt_cost(open_page: Callable[..., AppTest]) -> None:
    page = open_page('I am Edda."')
    page.chat_input(key="line").set_value("Who are you?").run()
    (table,) = page.table
    assert {"card", "history", "line", "reply"} <= set(table.value.columns)
    assert int(table.value["card"].iloc[0]) > 0


def test_a_system_of_the_report_is_chosen_by_name(
    open_page: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)
    page = open_page()
    page.sidebar.selectbox[0].select("EGOS-Large").run()
    assert not page.exception
    assert any("DEEPSEEK_API_KEY" in error.value for error in page.error)
