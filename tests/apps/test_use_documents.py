"""Questions about documents: each one is answered or explained, and its page is beside the answer."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("streamlit", reason="the extra app is not installed")

from tests.apps.browser import find, missing, type_in, until, wait_for_texts
from tests.apps.use import INPUT, Use

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"no browser: {missing()}")


def test_one_bad_document_is_named_and_the_others_answer(use: Use, tmp_path: Path) -> None:
    bad, good, empty = tmp_path / "bad.pdf", tmp_path / "boat.txt", tmp_path / "empty.txt"
    bad.write_bytes(b"%PDF-1.4 nothing")
    good.write_text("The engine takes SAE 30 oil. Change it once a year.", encoding="utf-8")
    empty.write_text("", encoding="utf-8")
    use.open("manual", "manual.en.pdf")
    use.settle()  # nobody chooses files before the page is whole
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
