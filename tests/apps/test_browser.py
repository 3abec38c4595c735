"""The pages in a real Chromium, against a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("streamlit", reason="the extra app is not installed")

from egosrag import assemble
from tests.apps.browser import asked_for, browser, free_port, missing, script, server, text_of, type_in, until
from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"no browser to drive: {missing()}")

GREETING = "Wipe your feet, sailor."
SAID = ('A good name for a cat."', 'Pablo is a fine name, sailor."', 'Sit down by the stove."', 'Have some soup."')
# A window so small that the first lines leave it, and come back when a line asks for them.
SMALL = {"EGOSRAG_MEMORY": "dynamic", "EGOSRAG_KEEP_TURNS": "1", "EGOSRAG_PROMPT_TOKENS": "265"}


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with browser(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


def find(driver: Any, css: str) -> Any:
    return until(lambda: driver.find_elements("css selector", css))[0]


def reads(driver: Any, *texts: str) -> None:
    until(lambda: all(text in text_of(driver) for text in texts))


def say(driver: Any, line: str, reply: str) -> None:
    type_in(driver, '[data-testid="stChatInput"] textarea', line + "\n")
    reads(driver, line, reply)


def press(driver: Any, name: str) -> None:
    """Clicks the button of that name, or of that icon."""
    css = f"//button[normalize-space()='{name}' and not(@disabled)]"
    until(lambda: driver.find_elements("xpath", css))
    driver.execute_script("arguments[0].click()", driver.find_elements("xpath", css)[0])


def tab(driver: Any, name: str) -> None:
    css = f"//*[@role='tab' and normalize-space()='{name}']"
    driver.execute_script("arguments[0].click()", until(lambda: driver.find_elements("xpath", css))[0])


def toggle(driver: Any, name: str) -> None:
    css = f"//label[contains(., '{name}')]//input"
    driver.execute_script("arguments[0].click()", until(lambda: driver.find_elements("xpath", css))[0])


def outside(driver: Any) -> list[str]:
    """What was asked of other machines; a page of an earlier test may still call for its server on this one."""
    inside = ("data", "blob", "about", "chrome")
    asked = [(address, urlsplit(address)) for address in asked_for(driver)]
    return [address for address, url in asked if url.scheme not in inside and url.hostname != "127.0.0.1"]


def test_a_talk_goes_on_after_the_server_was_started_anew(driver: Any, tmp_path: Path) -> None:
    port, environment = free_port(), {**script(tmp_path, *SAID), **SMALL}
    with server(tmp_path, port=port, **environment) as address:
        driver.get(address)
        reads(driver, GREETING)
        say(driver, "My cat is called Pablo.", "A good name for a cat.")
        press(driver, "refresh")
        reads(driver, "Pablo is a fine name, sailor.", "2/2")
        say(driver, "I came by boat in the rain last night.", "Sit down by the stove.")
        assert outside(driver) == []
    with server(tmp_path, port=port, **environment) as address:
        driver.get(address)
        reads(driver, "My cat is called Pablo.", "Pablo is a fine name, sailor.", "Sit down by the stove.")
        toggle(driver, "What the model saw")
        reads(driver, "Say a line")
        say(driver, "What is my cat called?", "A good name for a cat.")
        reads(driver, "Me: My cat is called Pablo.")  # in the panel, as a memory: the record has it without a name
        assert outside(driver) == []


def test_two_browsers_at_once_see_nothing_of_each_other(driver: Any, tmp_path: Path) -> None:
    with server(tmp_path, **script(tmp_path, 'One."', 'Two."', 'Three."')) as address, browser(tmp_path) as other:
        for one in (driver, other):
            one.get(address)
        for one in (driver, other):
            reads(one, GREETING)
        say(driver, "My secret is blue.", "One.")
        say(other, "Mine is green.", "Two.")
        say(driver, "And red.", "Three.")
        other.refresh()
        reads(other, "Mine is green.", "Two.")
        assert not any(word in text_of(other) for word in ("blue", "red", "One.", "Three."))
        assert not any(word in text_of(driver) for word in ("green", "Two."))
        cookies = [one.get_cookie("egosrag_visitor") for one in (driver, other)]
        assert cookies[0]["value"] != cookies[1]["value"]
        assert all(cookie["httpOnly"] and cookie["sameSite"] == "Strict" for cookie in cookies)


# A manual, what is asked of it, words of the page that tells it, and which page that is.
SAMPLE = (assemble.sample("manual.en.pdf"), "Which battery does the key need?", "CR2032", 2)
REAL = ROOT.parent / "shared/data/carmanual/manual_rebuilt.pdf"  # of 354 pages
LONG = (REAL, "如何打开前机舱盖？", "前机舱盖开启拉手", 307)


def test_a_citation_of_an_uploaded_manual_opens_its_page(driver: Any, tmp_path: Path) -> None:
    manual, question, told, page = LONG if LONG[0].is_file() else SAMPLE
    given = tmp_path / "given.pdf"
    given.write_bytes(manual.read_bytes() + b"\n")  # another file than the sample, which is there already
    with server(tmp_path) as address:
        driver.get(f"{address}/manual")
        reads(driver, "manual.en.pdf")
        find(driver, 'input[type="file"]').send_keys(str(given))
        reads(driver, "given.pdf")
        until(lambda: "manual.en.pdf" not in text_of(driver))
        type_in(driver, '[data-testid="stChatInput"] textarea', question + "\n")
        press(driver, f"find_in_pagep. {page}")
        picture = find(driver, '[data-testid="stImage"] img')
        until(lambda: driver.execute_script("return arguments[0].naturalWidth > 0", picture))
        marked = "return [...document.querySelectorAll('mark')].map(m => m.textContent).join(' ')"
        until(lambda: told in driver.execute_script(marked))
        assert outside(driver) == []


HOSTILE = {
    "name": "<img src=http://evil.example/n.png onerror=alert(1)> ![n](http://evil.example/m.png)",
    "greeting": "<script>alert(1)</script> ![g](http://evil.example/g.png) [a](http://evil.example)",
    "background": [
        "<iframe src=http://evil.example></iframe>",
        "../../etc/passwd",
        "see http://evil.example/x :material/home:",
    ],
}


def test_a_hostile_card_is_text_and_nothing_is_asked_of_elsewhere(driver: Any, tmp_path: Path) -> None:
    card = tmp_path / "card.json"
    card.write_text(json.dumps(HOSTILE), encoding="utf-8")
    with server(tmp_path, **script(tmp_path, '<b>Hi</b> ![r](http://evil.example/r.png)"')) as address:
        driver.get(f"{address}/roles")
        reads(driver, "She is afraid of fog.")
        tab(driver, "Upload")
        find(driver, 'input[type="file"]').send_keys(str(card))
        reads(driver, *HOSTILE["background"], HOSTILE["greeting"])
        press(driver, "chatTalk")
        reads(driver, HOSTILE["greeting"])
        say(driver, "<i>Who</i> are you?", "<b>Hi</b> ![r](http://evil.example/r.png)")
        found = "return document.querySelectorAll('script[src*=evil],img[src*=evil],a[href*=evil],iframe').length"
        assert driver.execute_script(found) == 0
        assert outside(driver) == []
