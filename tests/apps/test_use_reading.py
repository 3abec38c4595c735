"""Everything shows where one looks: who one talks with, the newest line, what is beside an answer; keys, languages."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("streamlit", reason="the extra app is not installed")

from tests.apps.browser import click, find, missing, requests_to_other_hosts, text_of, until, wait_for_texts
from tests.apps.use import GREETING, LONG, Use

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"no browser: {missing()}")


def test_the_first_start_says_what_this_is_and_with_whom_one_talks(use: Use) -> None:
    wait_for_texts(use.driver, "EGOS-RAG lets you", "pocket, a tiny demonstration model", "Get a real model")
    assert use.has(".card img") and "keeper of the lighthouse" in text_of(use.driver)
    use.meet()
    until(lambda: use.is_visible(".head img") and use.is_visible(".head h1"))
    assert "keeper of the lighthouse" in find(use.driver, ".head p").text
    use.click("hint-who")
    assert use.wait_for_messages(3)[1] == "Who are you?"
    assert requests_to_other_hosts(use.driver) == []


def test_a_role_without_a_greeting_has_a_hint(use: Use, tmp_path: Path) -> None:
    card = tmp_path / "tim.json"
    card.write_text(json.dumps({"name": "Tim", "background": ["Tim bakes bread."]}), encoding="utf-8")
    click(use.driver, '[data-testid="stMainBlockContainer"] [data-testid="stExpander"]:last-of-type summary')
    find(use.driver, 'input[type="file"]').send_keys(str(card))
    wait_for_texts(use.driver, "Tim waits for you to begin.", "Who are you?", "Tim bakes bread.")


def test_greetings_are_swiped_before_the_first_line(use: Use, tmp_path: Path) -> None:
    card = tmp_path / "tim.json"
    card.write_text(
        json.dumps({"name": "Tim", "greeting": "Bread?", "alternate_greetings": ["Cake?", "Tea?"]}), encoding="utf-8"
    )
    click(use.driver, '[data-testid="stMainBlockContainer"] [data-testid="stExpander"]:last-of-type summary')
    find(use.driver, 'input[type="file"]').send_keys(str(card))
    wait_for_texts(use.driver, "Bread?", "1/3")
    use.click("chevron_right")
    wait_for_texts(use.driver, "Cake?", "2/3")
    use.click("chevron_right")
    wait_for_texts(use.driver, "Tea?", "3/3")
    use.say("Yes, please.")
    assert use.wait_for_messages(3)[:2] == ["Tea?", "Yes, please."]


def test_the_page_follows_the_newest_line_unless_the_reader_scrolled_up(use: Use) -> None:
    use.driver.set_window_size(1200, 600)
    use.model.words, use.model.pause = LONG[:2000], 0.02
    use.meet()
    use.choose_model("openai:slow")
    use.say_and_wait_for("Tell me everything.", "word60")
    assert use.is_visible('[data-testid="stBottom"]')
    until(lambda: use.driver.execute_script("return window.egosrag.distance()") < 60)
    until(lambda: scroll_up(use) and use.has("#newest:not([hidden])"))
    use.wait_for_messages(3)
    assert use.driver.execute_script("return window.egosrag.distance()") > 300, "the reader stays where they are"
    find(use.driver, "#newest").click()
    until(lambda: use.driver.execute_script("return window.egosrag.distance()") < 60)
    use.model.reset()
    use.say("And now?", "Sit down")
    assert use.driver.execute_script("return window.egosrag.distance()") < 60


def scroll_up(use: Use) -> bool:
    """Turn the wheel of the mouse towards the beginning."""
    use.driver.execute_script(
        "const e = window.egosrag.scroller();"
        "e.dispatchEvent(new WheelEvent('wheel', {bubbles: true, deltaY: -900})); e.scrollTop = 0"
    )
    time.sleep(0.4)
    return True


def test_what_the_model_saw_is_in_view_beside_a_long_conversation(use: Use) -> None:
    use.meet()
    for number in range(4):
        use.say(f"Who are you, number {number}?")
        use.wait_for_messages(3 + 2 * number)
    for width in (1200, 390):
        use.driver.set_window_size(width, 844)
        use.driver.execute_script(
            "const e = [...document.querySelectorAll('label')].find(e => e.innerText.includes('What the model saw'));"
            "e.querySelector('input').click()"
        )
        until(lambda: use.has(".st-key-beside"))
        until(lambda: use.is_visible(".st-key-beside h3, .st-key-beside [data-testid='stHeading']"))
        use.click("close-beside")
        until(lambda: not use.has(".st-key-beside"))


def test_the_keyboard_is_enough(use: Use) -> None:
    """The walk of somebody who never touches the mouse once the conversation is open."""
    from selenium.webdriver.common.keys import Keys

    use.model.words, use.model.pause = LONG, 0.05
    use.meet()
    use.choose_model("openai:slow")
    use.open("", GREETING)
    until(lambda: has_focus(use))
    active(use).send_keys("Tell me everything." + Keys.ENTER)
    wait_for_texts(use.driver, "word3")
    active(use).send_keys(Keys.ESCAPE)
    until(lambda: use.has('[class*="st-key-swipe"] button') and has_focus(use))
    use.model.reset()
    active(use).send_keys(Keys.ARROW_RIGHT)
    wait_for_texts(use.driver, "2/2", "Sit down, sailor.")
    use.settle()
    until(lambda: has_focus(use))
    active(use).send_keys(Keys.ARROW_LEFT)
    wait_for_texts(use.driver, "1/2")
    use.settle()
    until(lambda: has_focus(use))
    active(use).send_keys(Keys.ARROW_UP)
    until(lambda: use.has('[data-testid="stForm"] textarea'))


def active(use: Use) -> Any:
    return use.driver.switch_to.active_element


def has_focus(use: Use) -> bool:
    script = "return document.activeElement === document.querySelector(arguments[0])"
    return bool(use.driver.execute_script(script, '[data-testid="stChatInputTextArea"]'))


def test_everything_is_in_chinese_when_chinese_is_chosen(use: Use) -> None:
    click(use.driver, '[class*="st-key-choices"] summary')
    click(
        use.driver, '.st-key-language [data-testid="stRadioOption"]:nth-of-type(2), .st-key-language input[value="1"]'
    )
    wait_for_texts(use.driver, "你想和谁聊聊？")
    use.open("manual", "manual.zh.pdf")
    click(use.driver, '[data-testid="stMainBlockContainer"] summary')
    wait_for_texts(use.driver, "上传", "每个文件最大")
    assert "Upload" not in text_of(use.driver) and "per file" not in text_of(use.driver)
