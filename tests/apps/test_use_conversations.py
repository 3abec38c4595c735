"""What is written to a role is never lost, whatever happens to model, page or server; every choice counts."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

pytest.importorskip("streamlit", reason="the extra app is not installed")

from tests.apps.browser import click, find, free_port, missing, server, text_of, type_in, until, wait_for_texts
from tests.apps.use import INPUT, LONG, Use, click_option

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"no browser: {missing()}")


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
    use.model.pause = 4.0  # a reply is stopped at its next word: long after the page is drawn again
    use.driver.refresh()
    wait_for_texts(use.driver, "Tell me everything.", "word3")
    until(lambda: use.has('[class*="st-key-swipe"] button, .st-key-send-again button'))
    until(lambda: is_enabled(use))
    assert value_of_input(use) == ""
    use.model.reset()
    use.model.thinks = 5.0
    use.open("manual", "manual.en.pdf")
    use.say_and_wait_for("Which battery does the key need?", "Reading")
    use.driver.refresh()
    wait_for_texts(use.driver, "Which battery does the key need?", "Ask again")
    until(lambda: is_enabled(use))
    assert value_of_input(use) == ""
    use.model.thinks = 0.0
    use.click("ask-again")
    wait_for_texts(use.driver, "CR2032")
    assert use.messages().count("Which battery does the key need?") == 1


def test_a_lost_server_is_announced_and_the_line_is_kept(
    use: Use, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
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
        until(lambda: "twice" in value_of_input(own))


def is_enabled(use: Use) -> bool:
    use.settle()
    return use.has('[data-testid="stChatInputTextArea"]:not([disabled])')


def value_of_input(use: Use) -> str:
    return str(use.driver.execute_script("return document.querySelector(arguments[0])?.value ?? ''", INPUT))


# The head of a conversation, which says its id, is not found until a second after the field.
LATE_HEAD = """
const find = Document.prototype.querySelector
let since
Document.prototype.querySelector = function (css) {
  since ??= find.call(this, "[data-testid=stChatInputTextArea]:not([disabled])") ? Date.now() : undefined
  return css === "#talk" && !(Date.now() - since > 1000) ? null : find.call(this, css)
}
setInterval(() => document.body?.append(document.createComment("")), 100)
"""


def test_a_line_is_kept_where_the_field_appears_before_its_conversation_is_known(use: Use) -> None:
    use.meet()
    type_in(use.driver, INPUT, "Kept.")
    until(lambda: use.driver.execute_script("return Object.values(sessionStorage).includes('Kept.')"))
    script = use.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": LATE_HEAD})
    try:
        use.driver.refresh()
        until(lambda: value_of_input(use) == "Kept.")
    finally:
        use.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


def test_a_line_of_one_page_is_not_shown_on_another(use: Use) -> None:
    use.meet()
    use.say("My boat is red.")
    use.wait_for_messages(3)
    type_in(use.driver, INPUT, "To Edda.")
    use.open("manual")
    until(lambda: is_enabled(use))
    assert value_of_input(use) == ""
    use.open("")
    until(lambda: value_of_input(use) == "To Edda.")
    use.driver.find_element("css selector", INPUT).send_keys("\ue007")
    use.wait_for_messages(5)
    until(lambda: is_enabled(use))
    assert value_of_input(use) == ""
    use.driver.refresh()
    until(lambda: is_enabled(use))
    assert value_of_input(use) == ""
