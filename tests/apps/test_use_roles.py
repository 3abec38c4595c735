"""Characters of one's own: made from a pasted page, given a lorebook, and met."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("streamlit", reason="the extra app is not installed")

from tests.apps.browser import find, missing, press, until, wait_for_texts
from tests.apps.use import Use

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"no browser: {missing()}")


def test_a_character_is_made_from_a_pasted_page_and_given_a_lorebook(use: Use, tmp_path: Path) -> None:
    book = tmp_path / "hull.json"
    entries = [{"keys": ["harbour"], "content": "The harbour of Hull freezes in January.", "comment": "The harbour"}]
    book.write_text(json.dumps({"name": "Hull", "entries": entries}), encoding="utf-8")
    use.model.words = "Background: Tim bakes bread."
    use.choose_model("openai:slow")
    use.click("make-role")
    find(use.driver, '[class*="st-key-extract-name"] input').send_keys("Tim")
    find(use.driver, '[class*="st-key-extract-text"] textarea').send_keys("Tim bakes bread in Hull every day.")
    press(use.driver, "Make the role")
    wait_for_texts(use.driver, "Tim bakes bread.", "Source: pasted text")
    use.settle()
    press(use.driver, "chatChat")
    wait_for_texts(use.driver, "Tim waits for you to begin.")
    use.settle()
    xpath = "//*[@data-testid='stPopover']//button[contains(., 'Add and edit')]"
    use.driver.execute_script("arguments[0].click()", until(lambda: use.driver.find_elements("xpath", xpath))[0])
    find(use.driver, '[data-testid="stPopoverBody"] input[type="file"]').send_keys(str(book))
    until(
        lambda: use.has(
            '[data-testid="stMultiSelect"] [aria-label*="Hull"], [data-testid="stMultiSelect"] [title="Hull"]'
        )
    )
    use.open("roles", "Tim bakes bread.")
    press(use.driver, "Give it to Tim")
    wait_for_texts(use.driver, "Lorebook of this role: 1 entries")
    use.model.words = "It froze last night."
    use.open("", "Tim waits for you to begin.")
    use.say("How is the harbour?", "It froze last night.", "From the lorebook: The harbour")
