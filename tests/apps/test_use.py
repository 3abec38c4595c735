"""The app used as a person does, in Chromium: nothing that was written is lost, and everything shows where one looks.

One server and one browser for all tests; each test is a new visitor.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("streamlit", reason="the extra app is not installed")

from tests.apps.browser import browser, missing, server, text_of, type_in, until
from tests.apps.model_server import ModelServer, model_server
from tests.apps.test_browser import click, find, press, requests_to_other_hosts, wait_for_texts

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"no browser: {missing()}")

INPUT = '[data-testid="stChatInput"] textarea'
GREETING = "Wipe your feet, sailor."
LONG = " ".join(f"word{n}" for n in range(400))


class Use:
    """A visitor with a browser.

    Attributes:
        driver: the browser.
        address: of the app.
        model: the server of the model; without a slow one, the embedded model replies.
    """

    def __init__(self, driver: Any, address: str, model: ModelServer) -> None:
        self.driver, self.address, self.model = driver, address, model

    def open(self, page: str = "", *texts: str) -> None:
        self.driver.get(f"{self.address}/{page}")
        wait_for_texts(self.driver, *texts)
        self.settle()

    def settle(self) -> None:
        """Wait until the page's script has ended."""
        time.sleep(0.2)
        css = '[data-testid="stApp"][data-test-script-state="notRunning"]'
        until(lambda: self.driver.find_elements("css selector", css))

    def meet(self, role: str = "edda", greeting: str = GREETING) -> None:
        click(self.driver, f'[class*="st-key-talk-{role}"] button')
        wait_for_texts(self.driver, greeting)
        self.settle()

    def click(self, key: str) -> None:
        """Click the button in the element with this key, as a person does."""
        self.settle()
        find(self.driver, f'[class*="st-key-{key}"] button:not([disabled])')
        click(self.driver, f'[class*="st-key-{key}"] button:not([disabled])')
        self.settle()

    def say(self, line: str, *replies: str) -> None:
        type_in(self.driver, INPUT, line + "\n")
        wait_for_texts(self.driver, line, *replies)
        if replies:
            until(lambda: not self.has(".generating"))
            self.settle()

    def say_and_wait_for(self, line: str, text: str) -> None:
        """Say a line, and wait for a text while the reply is still being written."""
        type_in(self.driver, INPUT, line + "\n")
        wait_for_texts(self.driver, line, text)

    def messages(self) -> list[str]:
        script = "return [...document.querySelectorAll('.said')].map(e => e.innerText.trim())"
        said: list[str] = self.driver.execute_script(script)
        return said

    def wait_for_messages(self, count: int) -> list[str]:
        until(
            lambda: len(self.messages()) >= count and not self.has(".generating"), lambda: text_of(self.driver)[-1500:]
        )
        self.settle()
        return self.messages()

    def has(self, css: str) -> bool:
        return bool(self.driver.find_elements("css selector", css))

    def is_visible(self, css: str) -> bool:
        """Whether an element is in the window, and not covered."""
        script = """
        const e = [...document.querySelectorAll(arguments[0])].at(-1)
        if (!e) return false
        const box = e.getBoundingClientRect()
        const x = Math.max(1, Math.min(innerWidth - 1, box.x + box.width / 2))
        const y = box.y + Math.min(box.height / 2, 20)
        const top = document.elementFromPoint(x, y)
        return box.height > 0 && y > 0 && y < innerHeight && !!top && (e.contains(top) || top.contains(e))"""
        return bool(self.driver.execute_script(script, css))

    def choose_model(self, name: str) -> None:
        """Write the name of a model, and wait until it is loaded or failed."""
        click_option(self, ".st-key-model", name)


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with model_server() as running:
        yield running


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory, model: ModelServer) -> Iterator[tuple[Any, str]]:
    folder = tmp_path_factory.mktemp("app")
    with server(folder, OPENAI_BASE_URL=model.address) as address, browser(folder) as driver:
        yield driver, address


@pytest.fixture
def use(parts: tuple[Any, str], model: ModelServer) -> Use:
    """A new visitor with the embedded model."""
    driver, address = parts
    model.reset()
    driver.get(f"{address}/_stcore/health")
    driver.delete_all_cookies()
    driver.execute_script("sessionStorage.clear()")
    driver.set_window_size(1200, 900)
    use = Use(driver, address, model)
    use.open("", "Edda")
    return use


def test_every_choice_of_a_conversation_and_of_a_role_counts(use: Use) -> None:
    use.meet()
    use.say("My boat is red.")
    use.wait_for_messages(3)
    use.click("new")
    use.meet("juno", "Mind the third step")
    use.say("My ship is blue.")
    use.wait_for_messages(3)
    for shown, other in (("red", "blue"), ("blue", "red")) * 2:
        name = "Edda" if shown == "red" else "Juno"
        open_row(use, name)
        wait_for_conversation(use, shown, other)
    use.open("roles", "She is afraid of fog.")
    for role, line in (
        ("Juno", "Juno Varley"),
        ("Edda", "Edda Marlow"),
        ("Juno", "Juno Varley"),
        ("Edda", "Edda Marlow"),
    ):
        use.settle()
        click_option(use, ".st-key-shown-role", role)
        wait_for_texts(use.driver, line)


def open_row(use: Use, name: str) -> None:
    xpath = f"//*[contains(@class, 'st-key-row-')]//button[contains(., '{name}')]"
    use.driver.execute_script("arguments[0].click()", until(lambda: use.driver.find_elements("xpath", xpath))[0])


def wait_for_conversation(use: Use, shown: str, other: str) -> None:
    until(lambda: shown in " ".join(use.messages()) and other not in " ".join(use.messages()))


def click_option(use: Use, css: str, option: str) -> None:
    """Write into a select box, and click what it offers."""
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver.common.keys import Keys

    def offered() -> Any:
        use.settle()
        folded = f"document.querySelector(`{css}`)?.closest('details:not([open])')"
        use.driver.execute_script(f"{folded}?.querySelector('summary').click()")
        field = find(use.driver, f"{css} input")
        use.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", field)
        try:
            field.click()
            field.send_keys(option)
        except WebDriverException:  # the page was just drawn anew
            return []
        time.sleep(0.3)
        options = use.driver.find_elements("xpath", f"//*[@role='option' and contains(., '{option}')]")
        if not options:
            field.send_keys(Keys.ESCAPE)
        return options

    until(offered)[0].click()
    use.settle()


def test_a_deleted_conversation_alone_is_deleted_and_can_be_brought_back(use: Use) -> None:
    for line in ("The first.", "The second."):
        use.click("new")
        use.meet()
        use.say(line)
        use.wait_for_messages(3)
    use.click("menu-")
    find(use.driver, ".st-key-delete button").click()
    wait_for_texts(use.driver, "was deleted", "Who do you want to talk with?")
    use.settle()
    assert not use.has(".st-key-delete button"), "no menu is open that aims at another conversation"
    assert len(use.driver.find_elements("css selector", '[class*="st-key-open-"] button')) == 1
    use.click("undo-deletion")
    wait_for_texts(use.driver, "The second.")
    assert len(use.driver.find_elements("css selector", '[class*="st-key-open-"] button')) == 2


def test_a_new_conversation_has_the_chosen_role_alone(use: Use) -> None:
    use.meet()
    use.click("new")
    use.meet("juno", "Mind the third step")
    assert find(use.driver, ".head h1").text == "Juno"
    use.click("new")
    use.meet()
    assert find(use.driver, ".head h1").text == "Edda"


@pytest.mark.parametrize("width", [1200, 390])
def test_an_edited_line_is_kept_however_quickly_it_is_saved(use: Use, width: int) -> None:
    from selenium.webdriver.common.keys import Keys

    use.driver.set_window_size(width, 844)
    use.meet()
    use.say("I came by boat.")
    use.wait_for_messages(3)
    for number in range(3):
        use.click("edit-last")
        area = find(use.driver, '[data-testid="stForm"] textarea')
        area.send_keys(Keys.CONTROL + "a")
        area.send_keys(f"I came by train {number}.")
        find(use.driver, '[data-testid="stForm"] [data-testid="stBaseButton-primaryFormSubmit"]').click()
        until(lambda: f"I came by train {number}." in use.messages())  # noqa: B023


def test_a_line_to_a_model_that_cannot_load_is_kept_with_the_reason(use: Use) -> None:
    use.meet()
    use.choose_model("no-such-folder/model")
    use.say("Are you there?")
    wait_for_texts(use.driver, "Send again", "no-such-folder")
    time.sleep(3)
    assert "Are you there?" in use.messages() and "Send again" in text_of(use.driver)
    use.driver.refresh()
    wait_for_texts(use.driver, "Are you there?", "Send again")
    use.choose_model("pocket")
    use.click("send-again")
    assert use.wait_for_messages(3)[1] == "Are you there?"
    assert use.messages().count("Are you there?") == 1


def test_the_model_and_the_documents_outlast_a_reload_and_another_model_is_announced(use: Use) -> None:
    use.meet()
    use.say("Hello.")
    use.wait_for_messages(3)
    use.choose_model("openai:slow")
    wait_for_texts(use.driver, "Until now pocket has replied here", "openai:")
    use.driver.refresh()
    wait_for_texts(use.driver, "Until now pocket has replied here")
    use.click("use-before")
    until(lambda: "Until now" not in text_of(use.driver))
    use.open("manual", "manual.en.pdf")
    click_option(use, ".st-key-manual_pick", "manual.zh.pdf")
    wait_for_texts(use.driver, "manual.en.pdf · manual.zh.pdf")
    use.driver.refresh()
    wait_for_texts(use.driver, "manual.en.pdf · manual.zh.pdf")


def test_questions_and_comparisons_outlast_a_reload_and_are_in_no_other_list(use: Use) -> None:
    use.open("manual", "manual.en.pdf")
    use.say("Which battery does the key need?", "CR2032")
    use.open("compare", "First", "Second")
    use.say("Who are you?")
    until(lambda: text_of(use.driver).count("Reply: ") == 2)
    use.driver.refresh()
    until(lambda: use.messages().count("Who are you?") == 2)
    use.open("manual", "Which battery does the key need?", "CR2032")
    use.open("", "Who do you want to talk with?")
    assert not use.has('[class*="st-key-open-"]')


def test_after_stop_the_page_can_be_used_at_once(use: Use) -> None:
    use.model.words, use.model.pause = LONG, 0.05
    use.meet()
    use.choose_model("openai:slow")
    use.say_and_wait_for("Tell me everything.", "word3")
    click(use.driver, '[data-testid="stChatInputStopButton"]')
    until(lambda: use.has('[class*="st-key-swipe"] button'))
    assert "word3" in use.messages()[-1] and "word399" not in use.messages()[-1]
    use.model.reset()
    use.say("Go on.", "Sit down, sailor.")


def test_a_reload_in_the_middle_of_a_reply_or_an_answer_loses_nothing(use: Use) -> None:
    use.model.words, use.model.pause = LONG, 0.05
    use.meet()
    use.choose_model("openai:slow")
    use.say_and_wait_for("Tell me everything.", "word3")
    use.driver.refresh()
    wait_for_texts(use.driver, "Tell me everything.", "word3")
    until(lambda: use.has('[class*="st-key-swipe"] button, .st-key-send-again button'))
    use.model.reset()
    use.model.thinks = 5.0
    use.open("manual", "manual.en.pdf")
    use.say_and_wait_for("Which battery does the key need?", "Reading")
    use.driver.refresh()
    wait_for_texts(use.driver, "Which battery does the key need?", "Ask again")
    use.model.thinks = 0.0
    use.click("ask-again")
    wait_for_texts(use.driver, "CR2032")
    assert use.messages().count("Which battery does the key need?") == 1


def test_one_bad_document_is_named_and_the_others_answer(use: Use, tmp_path: Path) -> None:
    bad, good, empty = tmp_path / "bad.pdf", tmp_path / "boat.txt", tmp_path / "empty.txt"
    bad.write_bytes(b"%PDF-1.4 nothing")
    good.write_text("The engine takes SAE 30 oil. Change it once a year.", encoding="utf-8")
    empty.write_text("", encoding="utf-8")
    use.open("manual", "manual.en.pdf")
    find(use.driver, '.st-key-manual_files input[type="file"]').send_keys(f"{bad}\n{good}\n{empty}")
    wait_for_texts(use.driver, "bad.pdf cannot be used", "empty.txt is empty")
    use.settle()
    use.say("Which oil does the engine take?", "SAE 30")


def test_a_cited_page_opens_beside_the_answer_wherever_that_is(use: Use) -> None:
    use.open("manual", "manual.en.pdf")
    for question in ("Which battery does the key need?", "How do I change a tyre?", "What does the red lamp mean?"):
        use.say(question)
        until(lambda: not use.has(".generating"))
        use.settle()
    for width in (1200, 390):
        use.driver.set_window_size(width, 844)
        use.settle()
        until(lambda: use.has(".cite"))
        chip = use.driver.find_elements("css selector", ".cite")[-1]
        use.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", chip)
        use.driver.execute_script("arguments[0].click()", chip)
        until(lambda: use.is_visible('.st-key-beside [data-testid="stImage"] img'))
        if width > 900:
            assert use.is_visible(".cite"), "the answer is still in view"
        use.click("close-beside")
        until(lambda: not use.has(".st-key-beside"))


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


def test_waiting_for_an_answer_shows_the_steps_and_in_talk_a_sign_of_typing(use: Use) -> None:
    use.model.thinks = 2.0
    use.meet()
    use.choose_model("openai:slow")
    use.say("Hello?")
    until(lambda: use.is_visible(".typing"))
    use.wait_for_messages(3)
    use.open("manual", "manual.en.pdf")
    type_in(use.driver, INPUT, "Which battery does the key need?\n")
    wait_for_texts(use.driver, "Found p. ", "Reading")
    use.model.thinks = 0.0
    until(lambda: not use.has(".generating"))


def test_the_first_start_says_what_this_is_and_with_whom_one_talks(use: Use) -> None:
    wait_for_texts(use.driver, "EGOS-RAG lets you", "pocket, a tiny demonstration model", "Get a real model")
    assert use.has(".card img") and "keeper of the lighthouse" in text_of(use.driver)
    use.meet()
    assert use.is_visible(".head img") and use.is_visible(".head h1")
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


def test_a_lost_server_is_announced_and_the_line_is_kept(
    use: Use, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from tests.apps.browser import free_port

    port = free_port()
    with server(tmp_path, port=port) as address:
        own = Use(use.driver, address, use.model)
        own.open("", "Edda")
        own.meet()
        type_in(own.driver, INPUT, "A long letter that I do not want to write twice.")
    until(lambda: own.has("#offline:not([hidden])"))
    with server(tmp_path, port=port):
        until(lambda: not own.has("#offline:not([hidden])"))
        own.settle()
        assert "twice" in find(own.driver, INPUT).get_attribute("value")
        own.driver.refresh()
        until(lambda: "twice" in find(own.driver, INPUT).get_attribute("value"))


def test_extraction_goes_on_after_a_reload_and_can_be_cancelled(use: Use) -> None:
    use.model.words, use.model.thinks = "Background: Tim bakes bread.", 30.0
    use.choose_model("openai:slow")
    for cancelled in (True, False):
        use.open("roles", "She is afraid of fog.")
        tab(use, "Make from a text")
        find(use.driver, '[class*="st-key-extract-name"] input').send_keys("Tim")
        find(use.driver, '[class*="st-key-extract-text"] textarea').send_keys("Tim bakes bread in Hull every day.")
        press(use.driver, "Make the role")
        wait_for_texts(use.driver, "Reading about Tim")
        use.driver.refresh()
        if not cancelled:
            wait_for_texts(use.driver, "Tim bakes bread.")
            continue
        wait_for_texts(use.driver, "She is afraid of fog.")
        tab(use, "Make from a text")
        wait_for_texts(use.driver, "Reading about Tim")
        click(use.driver, '[class*="st-key-cancel-extract"] button')
        until(lambda: use.has('[class*="st-key-extract-name"] input'))
        use.model.thinks = 1.0


def tab(use: Use, name: str) -> None:
    use.settle()
    xpath = f"//*[@role='tab' and normalize-space()='{name}']"
    use.driver.execute_script("arguments[0].click()", until(lambda: use.driver.find_elements("xpath", xpath))[0])
