"""Questions about documents: each one is answered or explained, and its page is beside the answer."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

pytest.importorskip("streamlit", reason="the extra app is not installed")

from tests.apps.browser import choose_files, click, find, missing, server, type_in, until, wait_for_texts
from tests.apps.use import INPUT, Use

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"no browser: {missing()}")


def test_one_bad_document_is_named_and_the_others_answer(use: Use, tmp_path: Path) -> None:
    bad, good, empty = tmp_path / "bad.pdf", tmp_path / "boat.txt", tmp_path / "empty.txt"
    bad.write_bytes(b"%PDF-1.4 nothing")
    good.write_text("The engine takes SAE 30 oil. Change it once a year.", encoding="utf-8")
    empty.write_text("", encoding="utf-8")
    use.open("manual", "manual.en.pdf")
    choose_files(use.driver, bad, good, empty)
    wait_for_texts(use.driver, "bad.pdf cannot be used", "empty.txt is empty")
    use.settle()
    use.say("Which oil does the engine take?", "SAE 30")


_SLOW = """
import time
from egosrag.host import visits
remember = visits.remember

def slowly(*arguments, **changes):
    time.sleep(2 * ("widgets" in changes))
    return remember(*arguments, **changes)

visits.remember = slowly
"""


def test_an_upload_is_kept_when_the_run_that_selects_it_is_cut_off(use: Use, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(_SLOW, encoding="utf-8")
    (tmp_path / "boat.txt").write_text("The engine takes SAE 30 oil.", encoding="utf-8")
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    with server(tmp_path, PYTHONPATH=paths) as address:
        slow = Use(use.driver, address)
        slow.open("manual", "manual.en.pdf")
        choose_files(use.driver, tmp_path / "boat.txt")
        click(use.driver, ".st-key-manual_alone input")
        time.sleep(1)
        click(use.driver, ".st-key-manual_alone input")
        wait_for_texts(use.driver, "boat.txt")
        slow.settle()
        assert "manual.en.pdf" not in find(use.driver, '[data-testid="stMainBlockContainer"]').text


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
