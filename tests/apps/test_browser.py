"""The pages in a real Chromium, against a real server."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("streamlit", reason="the extra app is not installed")

from egosrag import assemble
from tests.apps.browser import (
    browser,
    choose_files,
    click,
    find,
    free_port,
    missing,
    press,
    requests_to_other_hosts,
    script,
    server,
    text_of,
    type_in,
    until,
    wait_for_texts,
)
from tests.apps.use import Use
from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"no browser: {missing()}")

GREETING = "Wipe your feet, sailor."
RESPONSES = ('A good name for a cat."', 'Pablo is a fine name, sailor."', 'Sit down by the stove."', 'Have some soup."')
LONG_LINE = (
    "I came by boat in the rain last night. The waves came over the side again and again, and I could see nothing but "
    "your lamp. The oars broke one after the other, and I thought of the warm kitchen, of bread and of dry socks."
)
# A prompt budget so small that the first turns are left out, and are recalled when a message asks for them.
SMALL = {"EGOSRAG_MEMORY": "dynamic", "EGOSRAG_KEEP_TURNS": "1", "EGOSRAG_PROMPT_TOKENS": "300"}


@pytest.fixture
def driver(use: Use) -> Any:
    """The browser of a new visitor, who has requested nothing yet."""
    use.driver.get_log("performance")
    return use.driver


def say(driver: Any, message: str, reply: str) -> None:
    type_in(driver, '[data-testid="stChatInput"] textarea', message + "\n")
    wait_for_texts(driver, message, reply)


def tab(driver: Any, name: str) -> None:
    css = f"//*[@role='tab' and normalize-space()='{name}']"
    driver.execute_script("arguments[0].click()", until(lambda: driver.find_elements("xpath", css))[0])


def meet(driver: Any, address: str, role: str = "edda", greeting: str = GREETING) -> None:
    """Choose a role in the gallery."""
    driver.get(address)
    click(driver, f'[class*="st-key-talk-{role}"] button')
    wait_for_texts(driver, greeting)


def toggle(driver: Any, name: str) -> None:
    css = f"//label[contains(., '{name}')]//input"
    driver.execute_script("arguments[0].click()", until(lambda: driver.find_elements("xpath", css))[0])


def test_a_conversation_continues_after_a_restart_of_the_server(driver: Any, tmp_path: Path) -> None:
    port, environment = free_port(), {**script(tmp_path, *RESPONSES), **SMALL}
    with server(tmp_path, port=port, **environment) as address:
        meet(driver, address)
        say(driver, "My cat is called Pablo.", "A good name for a cat.")
        press(driver, "refresh")
        wait_for_texts(driver, "Pablo is a fine name, sailor.", "2/2")
        say(driver, LONG_LINE, "Sit down by the stove.")
        assert requests_to_other_hosts(driver) == []
    with server(tmp_path, port=port, **environment) as address:
        driver.get(address)
        wait_for_texts(driver, "My cat is called Pablo.", "Pablo is a fine name, sailor.", "Sit down by the stove.")
        toggle(driver, "What the model saw")
        wait_for_texts(driver, "Send a message to see its prompt")
        say(driver, "What is my cat called?", "A good name for a cat.")
        wait_for_texts(
            driver, "Me: My cat is called Pablo."
        )  # in the panel, as a recalled turn: the transcript shows no name
        assert requests_to_other_hosts(driver) == []


def test_two_visitors_see_nothing_of_each_other(driver: Any, tmp_path: Path) -> None:
    with server(tmp_path, **script(tmp_path, 'One."', 'Two."', 'Three."')) as address, browser(tmp_path) as other:
        for one in (driver, other):
            meet(one, address)
        say(driver, "My secret is blue.", "One.")
        say(other, "Mine is green.", "Two.")
        say(driver, "And purple.", "Three.")
        other.refresh()
        wait_for_texts(other, "Mine is green.", "Two.")
        assert not any(word in text_of(other) for word in ("blue", "purple", "One.", "Three."))
        assert not any(word in text_of(driver) for word in ("green", "Two."))
        cookies = [one.get_cookie("egosrag_visitor") for one in (driver, other)]
        assert cookies[0]["value"] != cookies[1]["value"]
        assert all(cookie["httpOnly"] and cookie["sameSite"] == "Strict" for cookie in cookies)


FULL = os.environ.get("EGOSRAG_TEST_PROFILE") == "full"
# A manual, a question, words of the page that answers it, and its page number.
SAMPLE = (assemble.sample("manual.en.pdf"), "Which battery does the key need?", "CR2032", 2)
REAL = ROOT.parent / "shared/data/carmanual/manual_rebuilt.pdf"  # 354 pages
LONG = (REAL, "如何打开前机舱盖？", "前机舱盖开启拉手", 307)


def test_a_citation_of_an_uploaded_manual_opens_its_page(use: Use, driver: Any, tmp_path: Path) -> None:
    manual, question, quote, page = LONG if FULL and LONG[0].is_file() else SAMPLE
    upload = tmp_path / "mine.pdf"
    upload.write_bytes(manual.read_bytes() + b"\n")  # not the same content as the sample, which is in the list already
    driver.get(f"{use.address}/manual")
    wait_for_texts(driver, "manual.en.pdf")
    choose_files(driver, upload)
    wait_for_texts(driver, "mine.pdf")
    until(lambda: "manual.en.pdf" not in text_of(driver))
    type_in(driver, '[data-testid="stChatInput"] textarea', question + "\n")
    press(driver, f"p. {page}")
    picture = find(driver, '[data-testid="stImage"] img')
    until(lambda: driver.execute_script("return arguments[0].naturalWidth > 0", picture))
    marked = "return [...document.querySelectorAll('mark')].map(m => m.textContent).join(' ')"
    until(lambda: quote in driver.execute_script(marked))
    assert requests_to_other_hosts(driver) == []


HOSTILE = {
    "name": "<img src=http://evil.example/n.png onerror=alert(1)> ![n](http://evil.example/m.png)",
    "greeting": "<script>alert(1)</script> ![g](http://evil.example/g.png) [a](http://evil.example)",
    "background": [
        "<iframe src=http://evil.example></iframe>",
        "../../etc/passwd",
        "see http://evil.example/x :material/home:",
    ],
}


def test_a_hostile_card_is_shown_as_text_and_nothing_is_requested_from_other_hosts(driver: Any, tmp_path: Path) -> None:
    card = tmp_path / "card.json"
    card.write_text(json.dumps(HOSTILE), encoding="utf-8")
    with server(tmp_path, **script(tmp_path, '<b>Hi</b> ![r](http://evil.example/r.png)"')) as address:
        driver.get(f"{address}/roles")
        wait_for_texts(driver, "She is afraid of fog.")
        tab(driver, "Upload")
        find(driver, 'input[type="file"]').send_keys(str(card))
        wait_for_texts(driver, *HOSTILE["background"], HOSTILE["greeting"])
        press(driver, "chatChat")
        wait_for_texts(driver, HOSTILE["greeting"])
        say(driver, "<i>Who</i> are you?", "<b>Hi</b> ![r](http://evil.example/r.png)")
        count = "return document.querySelectorAll('script[src*=evil],img[src*=evil],a[href*=evil],iframe').length"
        assert driver.execute_script(count) == 0
        assert requests_to_other_hosts(driver) == []
