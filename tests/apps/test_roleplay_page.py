"""The chat page: replies, alternatives, edits, stored conversations, and untrusted text shown as text."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import pytest

pytest.importorskip("streamlit", reason="the extra app is not installed")

import streamlit
from streamlit.testing.v1 import AppTest

from egosrag.host import cards, conversation_catalog, conversations, visits
from egosrag.host.visitors import Visitor, visitor_of
from egosrag.schema import Role
from egosrag.sessions.catalog import archive_of, restore
from egosrag.sessions.store import open_store
from egosrag.settings import Settings
from tests.roles.test_timeline import MARA

MAIN = str(Path(__file__).resolve().parents[2] / "apps" / "main.py")
TOKEN = "a" * 32
GREETING = "Wipe your feet, sailor. There is soup."

Open = Callable[..., AppTest]


@pytest.fixture
def open_page(monkeypatch: pytest.MonkeyPatch, script: Callable[..., str]) -> Open:
    """``open_page("one", "two")`` opens the app with a scripted model that gives these responses."""
    streamlit.cache_resource.clear()  # models are cached in this process, which all tests share

    def page(*responses: str, token: str = TOKEN) -> AppTest:
        monkeypatch.setenv("EGOSRAG_MODEL", script(*responses))
        test = AppTest.from_file(MAIN, default_timeout=200)
        test.session_state["token"] = token
        if "session" not in visits.recall(visitor(token)):  # in place of a choice in the gallery
            test.session_state["session"] = conversations.new_session(visitor(token), ["edda.en"])
        return test.run()

    return page


def visitor(token: str = TOKEN) -> Visitor:
    return visitor_of(token, Settings.load().data_dir)


def shown(page: AppTest) -> list[str]:
    """What is said in the messages, as text."""
    html = [element.value for message in page.chat_message for element in message.get("html")]
    return [unescape(re.sub("<[^>]*>", "", value)).strip() for value in html if value.startswith('<div class="said')]


def say(page: AppTest, message: str) -> AppTest:
    return page.chat_input(key="message").set_value(message).run()


def press(page: AppTest, key: str) -> AppTest:
    """Click the button with this key, or the first whose key begins so."""
    buttons = [button for button in page.button if (button.key or "").startswith(key)]
    return next((button for button in buttons if button.key == key), buttons[0]).click().run()


def meet(page: AppTest, role: str) -> AppTest:
    """Begin a new conversation with a role of the gallery."""
    return press(press(page, "new"), f"talk {role}")


def test_yesterdays_conversations_are_below_their_day(open_page: Open) -> None:
    page = say(open_page("Good day."), "Hello")
    meet(page, "edda")
    say(page, "Good evening")
    assert "Yesterday" not in [caption.value for caption in page.caption]
    settings = Settings.load()
    older = conversation_catalog.list_conversations(settings, visitor())[-1].session
    with open_store(settings.session_store) as store:
        archive = archive_of(store, older)
        yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
        turns = tuple(turn.model_copy(update={"at": yesterday}) for turn in archive.turns)
        store.delete_thread(older)
        restore(store, archive.model_copy(update={"turns": turns}), older)
    page.run()
    assert "Yesterday" in [caption.value for caption in page.caption]


def start_scene(page: AppTest, *roles: str) -> AppTest:
    """Begin a new conversation with several roles."""
    press(page, "new")
    box = next(box for box in page.multiselect if box.key.startswith("scene"))
    for role in roles:
        box = box.select(role)
    box.run()
    return press(page, "start scene")


def click(page: AppTest, icon: str, at: int = -1) -> AppTest:
    """Click one of the icon buttons of the turns; by default the last one."""
    buttons = [button for button in page.button if button.label == f":material/{icon}:"]
    return buttons[at].click().run()


def test_it_opens_with_a_sample_role_and_no_error(open_page: Open) -> None:
    page = open_page()
    assert not page.exception
    assert not page.error
    assert shown(page) == [GREETING]


def test_a_message_gets_a_reply(open_page: Open) -> None:
    page = say(open_page('I am Edda."', 'Soup."'), "Who are you?")
    assert shown(page) == [GREETING, "Who are you?", "I am Edda."]
    assert shown(say(page, "What is there?"))[3:] == ["What is there?", "Soup."]


def test_a_reply_is_regenerated_and_both_alternatives_can_be_chosen(open_page: Open) -> None:
    page = say(open_page('One."', 'Two."'), "Who are you?")
    click(page, "refresh")
    assert shown(page)[-1] == "Two."
    assert "2/2" in [caption.value for caption in page.caption]
    click(page, "chevron_left")
    assert shown(page)[-1] == "One."
    click(page, "chevron_right")
    assert shown(page)[-1] == "Two."


def test_any_message_can_be_edited_and_deleted(open_page: Open) -> None:
    page = say(open_page('One."'), "Who are you?")
    page.sidebar.toggle(key="edit messages").set_value(True).run()
    click(page, "edit", 1)
    next(area for area in page.text_area if area.key.startswith("text ")).set_value("Who <b>else</b>?")
    next(button for button in page.button if button.label == "Save").click().run()
    assert shown(page) == [GREETING, "Who <b>else</b>?", "One."]
    click(page, "delete", 0)
    assert shown(page) == ["Who <b>else</b>?", "One."]


def test_an_edit_can_be_cancelled(open_page: Open) -> None:
    page = say(open_page('One."'), "Who are you?")
    page.sidebar.toggle(key="edit messages").set_value(True).run()
    click(page, "edit", 1)
    next(button for button in page.button if button.label == "Cancel").click().run()
    assert shown(page)[1] == "Who are you?"


def test_conversations_are_listed_continued_and_started(open_page: Open) -> None:
    page = say(open_page('One."'), "Who are you?")
    again = open_page()  # another visit of the same visitor
    assert shown(again) == [GREETING, "Who are you?", "One."]
    assert "Who are you?" not in shown(meet(again, "gu.zh"))
    press(again, "open ")
    assert "Who are you?" in shown(again)
    assert not page.exception and not again.exception


def test_another_visitor_does_not_see_the_conversation(open_page: Open) -> None:
    say(open_page('One."'), "A secret.")
    other = open_page(token="b" * 32)
    assert shown(other) == [GREETING]
    assert not [button for button in other.button if (button.key or "").startswith("open ")]


def test_a_conversation_is_downloaded_and_deleted(open_page: Open) -> None:
    page = say(open_page('One."'), "Who are you?")
    assert {button.label for button in page.download_button} >= {
        "Download everything (JSON)",
        "Download to read (Markdown)",
    }
    press(page, "delete")
    assert shown(page) == [] and conversation_catalog.list_conversations(Settings.load(), visitor()) == []
    press(page, "undo deletion")
    assert shown(page) == [GREETING, "Who are you?", "One."]


def test_several_roles_take_turns_in_a_conversation(open_page: Open) -> None:
    page = open_page('Here."', 'Me too."')
    tim = cards.add(visitor(), Role(name="Tim *x*", language="en"))
    start_scene(page, "edda.en", tim.id)
    say(page, "Where are you?")
    next(button for button in page.button if button.label == "Continue").click().run()
    assert shown(page)[-2:] == ["Here.", "Me too."]
    names = [element.value for message in page.chat_message for element in message.get("html")]
    assert '<span class="speaker">Tim *x*</span>' in names


def test_the_panel_shows_what_the_model_saw(open_page: Open) -> None:
    page = open_page('I am Edda."')
    page.sidebar.toggle(key="show prompt").set_value(True).run()
    say(page, "Who are you?")
    labels = {box.label.split(" · ")[0]: box for box in page.expander}
    assert {"Instructions", "Role card", "Earlier messages", "Last message"} <= set(labels)
    assert [text.value for text in labels["Last message"].text] == ['Me: "Who are you?"']
    assert any(caption.value.startswith("Prompt: ") for caption in page.caption)


def test_the_settings_change_the_prompt(open_page: Open) -> None:
    page = open_page("I am Edda.\n")
    page.sidebar.toggle(key="chat quote").set_value(False).run()
    page.sidebar.toggle(key="show prompt").set_value(True).run()
    say(page, "Who are you?")
    (line,) = [text.value for box in page.expander if box.label.startswith("Last message") for text in box.text]
    assert line == "Me: Who are you?"


def test_a_preset_of_the_report_can_be_chosen(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)
    page = open_page()
    page.sidebar.selectbox(key="chat preset").select("EGOS-Large").run()
    say(page, "Who are you?")
    assert not page.exception
    assert any("DEEPSEEK" in error.value for error in page.error)


def test_the_language_can_be_switched_to_chinese(open_page: Open) -> None:
    page = open_page("我是顾青禾。”")
    page.sidebar.radio[0].set_value("zh").run()
    meet(page, "gu.zh")
    assert shown(say(page, "你是谁？"))[-2:] == ["你是谁？", "我是顾青禾。"]


def test_html_and_pictures_are_shown_as_text_and_actions_are_emphasized(open_page: Open) -> None:
    page = say(open_page('<b>I</b> am *Edda* ![x](http://x)."'), "<script>alert(1)</script>")
    assert shown(page)[1:] == ["<script>alert(1)</script>", "<b>I</b> am Edda ![x](http://x)."]
    said = page.chat_message[-1].get("html")[-1].value
    assert "<em>Edda</em>" in said and not re.search("<(b|img|a|script)[ >]", said) and not page.markdown


def test_an_error_is_shown_in_one_line(open_page: Open) -> None:
    page = say(open_page(), "Who are you?")
    assert not page.exception
    assert len(page.error) == 1
    assert "script" in page.error[0].value


def test_a_conversation_can_be_read_after_its_role_was_deleted(open_page: Open) -> None:
    tim = cards.add(visitor(), Role(name="Tim", language="en"))
    page = meet(open_page('Hi."'), tim.id)
    say(page, "Hello.")
    cards.delete(visitor(), tim)
    say(page, "And now?")
    assert shown(page)[:2] == ["Hello.", "Hi."]
    assert any("no longer exists" in error.value for error in page.error)


def test_what_is_remembered_is_listed_corrected_and_forgotten(open_page: Open) -> None:
    page = say(open_page('Aye."', 'Aye."'), "Remember this: my boat is called Tern")
    (area,) = [area for area in page.text_area if area.key.startswith("text of memory")]
    assert area.value == "my boat is called Tern." and "my boat is called Tern" in area.help
    page = area.set_value("My boat is called <b>Gull</b>").run()
    (area,) = [area for area in page.text_area if area.key.startswith("text of memory")]
    assert area.value == "My boat is called <b>Gull</b>."
    page = say(page, "What is it called?")
    assert not page.exception
    page = press(page, "forget memory")
    assert not [area for area in page.text_area if area.key.startswith("text of memory")]


def test_a_role_speaks_as_of_the_chapter_that_the_visitor_chooses(open_page: Open) -> None:
    stored = cards.add(visitor(), MARA)
    page = open_page('Hull."', 'Skerry."')
    page.session_state["session"] = session = conversations.new_session(visitor(), [stored.id])
    page = page.run()
    slider = page.select_slider[0]
    assert list(slider.options) == ["Chapter 1", "Chapter 2", "Chapter 3", "The end"] and slider.value == "The end"
    page = slider.set_value("Chapter 1").run()
    page.session_state["show prompt"] = True
    page = say(page, "Where do you live?")
    settings = Settings.load()
    assert conversations.load_transcript(settings, visitor(), session).until == "Chapter 1"
    texts = "\n".join(text.value for text in page.text)
    assert "Hull" in texts and "Skerry" not in texts, "what the model saw"
    page = page.select_slider[0].set_value("The end").run()
    assert conversations.load_transcript(settings, visitor(), session).until == ""


def test_the_prompt_says_how_much_was_cached_and_why_not_more(open_page: Open) -> None:
    page = say(open_page('Aye."'), "Good evening")
    page.session_state["show prompt"] = True
    page = page.run()
    assert any("this is the first prompt" in caption.value for caption in page.caption)
