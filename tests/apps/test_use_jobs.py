"""Long work: extraction, indexing and downloads show their progress, go on after a reload, and can be cancelled."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

pytest.importorskip("streamlit", reason="the extra app is not installed")

from tests.apps.browser import choose_files, click, find, missing, press, server, until, wait_for_texts
from tests.apps.use import Use, tab
from tests.models.conftest import gguf_of
from tests.models.hub import serving
from tests.models.test_download import make_entry

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"no browser: {missing()}")

# The server's Python runs this before anything else.
_CATALOGUE = """
import json
from egosrag.models import catalogue
rows = json.loads({entries!r})
catalogue.entries = lambda: {{name: catalogue.Entry.model_validate(row) for name, row in rows.items()}}
"""


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
        wait_for_texts(use.driver, "Reading about Tim")
        click(use.driver, '[class*="st-key-cancel-extract"] button')
        until(lambda: use.has('[class*="st-key-extract-name"] input'))
        use.model.thinks = 1.0


def test_indexing_goes_on_after_a_reload_and_can_be_cancelled(use: Use, tmp_path: Path) -> None:
    long, short = tmp_path / "log.txt", tmp_path / "boat.txt"
    line = "On day {n} the engine took {m} litres of oil and the {a} lamp of the {b} cabin was lit for a while.\n"
    words = ("red", "amber", "small", "upper", "lower", "green")
    text = (line.format(n=n, m=n % 97, a=words[n % 6], b=words[n % 5]) for n in range(60_000))
    long.write_text("".join(text), encoding="utf-8")  # so much that it is still at work after a reload
    short.write_text("The engine takes SAE 30 oil. Change it once a year.", encoding="utf-8")
    use.open("manual", "manual.en.pdf")
    choose_files(use.driver, long)
    wait_for_texts(use.driver, "Preparing log.txt")
    use.driver.refresh()
    wait_for_texts(use.driver, "Preparing log.txt")
    click(use.driver, '[class*="st-key-cancel-index"] button')
    wait_for_texts(use.driver, "Prepare the documents again")  # it does not begin again by itself
    use.settle()
    press(use.driver, "Delete my selected files")
    wait_for_texts(use.driver, "Choose or add a document first")
    choose_files(use.driver, short)
    use.say("Which oil does the engine take?", "SAE 30")


def test_a_model_is_fetched_by_the_button_goes_on_after_a_break_and_replies(
    tiny_qwen: Path, tmp_path: Path, use: Use
) -> None:
    """The whole way to a real model, with a hub on this machine and a catalogue that has one small file."""
    data = gguf_of(tiny_qwen).read_bytes()
    catalogue = {"tiny": make_entry(data=data).model_dump(mode="json")}
    (tmp_path / "sitecustomize.py").write_text(_CATALOGUE.format(entries=json.dumps(catalogue)), encoding="utf-8")
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    with serving(data) as hub:
        hub.may_answer.clear()
        hub.cuts = [len(data) // 2]
        own = {"HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "PYTHONPATH": paths}
        with server(tmp_path, **own) as address:
            fresh = Use(use.driver, address, use.model)
            fresh.open("", "Edda")
            fresh.choose_model("tiny")
            wait_for_texts(fresh.driver, "tiny is not on this computer yet", "Get a real model: tiny")
            fresh.click("get-model")
            wait_for_texts(fresh.driver, "Downloading tiny")
            fresh.driver.refresh()
            wait_for_texts(fresh.driver, "Downloading tiny")
            hub.may_answer.set()
            wait_for_texts(fresh.driver, "tiny is ready")
            assert [request.start for request in hub.requests] == [0, len(data) // 2]
            fresh.meet()
            fresh.say("Hello.")
            assert fresh.wait_for_messages(3)[1] == "Hello."
