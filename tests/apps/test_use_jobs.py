"""Long work: extraction, indexing and downloads show their progress, go on after a reload, and can be cancelled."""

from __future__ import annotations

import pytest

pytest.importorskip("streamlit", reason="the extra app is not installed")

from tests.apps.browser import click, find, missing, press, until, wait_for_texts
from tests.apps.use import Use, tab

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"no browser: {missing()}")


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
