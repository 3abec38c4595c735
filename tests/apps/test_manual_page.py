"""The documents page: uploads, questions, and answers whose sentences open the cited page."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("streamlit", reason="the extra app is not installed")

import streamlit
from streamlit.testing.v1 import AppTest

from apps.parts.jobs import background_jobs
from egosrag.host.manuals import EXTENSIONS, IndexCache
from egosrag.host.uploads import save_upload
from egosrag.host.visitors import Visitor, visitor_of
from egosrag.settings import Settings

PAGE = str(Path(__file__).resolve().parents[2] / "apps" / "manual.py")
TOKEN = "b" * 32
BATTERY = "Which battery does the key need?"
ANSWER = "It is of the type CR2032. [1]"

Open = Callable[..., AppTest]


@pytest.fixture(scope="session")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The names of indexes depend on the content of their documents, so tests can share the folder."""
    return tmp_path_factory.mktemp("indexes")


@pytest.fixture
def open_page(monkeypatch: pytest.MonkeyPatch, script: Callable[..., str], indexes: Path) -> Open:
    """``open_page("one", "two")`` opens the page with a scripted model that gives these responses."""
    streamlit.cache_resource.clear()  # models and indexes are cached in this process, which all tests share
    monkeypatch.setenv("EGOSRAG_CACHE_DIR", str(indexes))

    def page(*responses: str, **state: Any) -> AppTest:
        monkeypatch.setenv("EGOSRAG_MODEL", script(*responses))
        test = AppTest.from_file(PAGE, default_timeout=60)
        for name, value in {"token": TOKEN, **state}.items():
            test.session_state[name] = value
        return ready(test.run())

    return page


def ready(page: AppTest) -> AppTest:
    """Wait until the documents are indexed."""
    while background_jobs().running(visitor().key):
        time.sleep(0.05)
    return page.run()


def visitor(token: str = TOKEN) -> Visitor:
    return visitor_of(token, Settings.load().data_dir)


def upload(name: str, text: str, token: str = TOKEN) -> str:
    return save_upload(visitor(token), name, text.encode(), EXTENSIONS).path.name


def shown(page: AppTest) -> list[str]:
    html = [element.value for message in page.chat_message for element in message.get("html")]
    said = [re.sub("<button.*?</button>", "", value) for value in html if value.startswith('<div class="said')]
    return [unescape(re.sub("<[^>]*>", "", value)).strip() for value in said]


def ask(page: AppTest, question: str) -> AppTest:
    return page.chat_input(key="question").set_value(question).run()


def picker(page: AppTest) -> Any:
    """The documents to ask about: the only box for several, with a new key whenever the page selects some."""
    return page.multiselect[0]


def citation_buttons(page: AppTest) -> list[Any]:
    return [button for button in page.button if (button.key or "").startswith("page ")]


def test_a_question_that_is_sent_while_the_documents_change_is_answered_when_they_are_ready(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = upload("pump.txt", "The pump has 7 valves.")
    page = open_page("The pump has 7 valves. [1]")
    built, build = threading.Event(), IndexCache.get
    monkeypatch.setattr(IndexCache, "get", lambda *arguments: built.wait(30) and build(*arguments))
    picker(page).set_value([mine])
    page = ask(page, "How many valves does the pump have?")
    assert shown(page.run()) == ["How many valves does the pump have?"]
    built.set()
    assert shown(ready(page)) == ["How many valves does the pump have?", "The pump has 7 valves."]


def test_a_question_about_the_sample_is_answered_and_its_page_opens(open_page: Open) -> None:
    page = ask(open_page(ANSWER), BATTERY)
    assert not page.exception
    assert not page.error
    assert shown(page) == [BATTERY, "It is of the type CR2032."]
    assert not page.image
    (button,) = citation_buttons(page)
    assert button.label.replace("\\", "") == "p. 2"
    button.click().run()
    assert [s.value for s in page.subheader] == ["p. 2"]
    assert len(page.image) == 1, "a PDF page is shown as a picture"
    (text,) = [element.value for element in page.html if "page-text" in element.value]
    assert "CR2032" in text.partition("<mark>")[2].partition("</mark>")[0]


def test_a_follow_up_question_has_the_first_one_in_its_history(open_page: Open) -> None:
    page = ask(open_page(ANSWER, "What does the key's battery cost?", "It is of the type CR2032. [1]"), BATTERY)
    ask(page, "And what type is it?")
    assert not page.error
    assert shown(page)[2:] == ["And what type is it?", "It is of the type CR2032."]


def test_answers_with_and_without_the_document_are_side_by_side(open_page: Open) -> None:
    page = open_page(ANSWER, "I guess it is an AAA.")
    page.toggle(key="manual_alone").set_value(True).run()
    ask(page, BATTERY)
    assert shown(page) == [BATTERY, "It is of the type CR2032.", "I guess it is an AAA."]


def test_weak_evidence_shows_a_warning(open_page: Open) -> None:
    name = upload("garden.md", "# Lawn\n\nThe mower is cleaned after use with a brush.\n")
    page = open_page("The mower is cleaned with a brush. [1]", manual_pick=[name])
    ask(page, "Which oil, which fuel and which tyres does the mower of my neighbour need in winter?")
    assert not page.error
    warnings = [warning.value for warning in page.warning]
    refusals = [c.value for c in page.caption if "do not answer this" in c.value]
    assert warnings or refusals


def test_a_refusal_has_no_citation(open_page: Open) -> None:
    page = ask(open_page("It does not say."), "Who won the chess championship of 1972?")
    assert not citation_buttons(page)
    assert any("do not answer this" in c.value for c in page.caption)


def test_hostile_documents_are_shown_as_text(open_page: Open) -> None:
    evil = "Use <script>alert(1)</script> SAE 30 oil ![x](http://evil.example/x.png) in the engine."
    name = upload("../../<img src=x>![y](http://evil.example).txt", evil)
    page = ask(open_page(f"{evil} [1]", manual_pick=[name]), "Which oil is used in the engine?")
    assert not page.error
    assert shown(page)[1] == evil
    assert not page.markdown
    citation_buttons(page)[0].click().run()
    (html,) = [element for element in page.html if "page-text" in element.value]
    assert "<script" not in html.value
    assert "<mark>" in html.value and "&lt;script&gt;" in html.value
    assert not any("![y](http" in caption.value for caption in page.caption), (
        "the file name is not rendered as a picture either"
    )


@pytest.mark.parametrize(
    ("name", "data", "reason"), [("m.pdf", b"%PDF-1.4 nothing", "not a PDF"), ("m.txt", b"\x00\x01\xff" * 99, "text")]
)
def test_an_unreadable_document_is_an_error_with_a_reason(open_page: Open, name: str, data: bytes, reason: str) -> None:
    source = save_upload(visitor(), name, data, EXTENSIONS).path.name
    page = open_page(manual_pick=[source])
    assert not page.exception
    (warning,) = page.warning
    assert reason in warning.value.replace("\\", "") and name in warning.value.replace("\\", "")


def test_an_uploaded_document_replaces_the_sample(open_page: Open) -> None:
    page = open_page("The engine takes SAE 30 oil. [1]")
    file = ("../boat.txt", b"The engine takes SAE 30 oil. Change it once a year.", "text/plain")
    ready(page.file_uploader(key="manual_files").set_value([file]).run())
    assert not page.error
    assert picker(page).value == [f.name for f in (visitor().folder / "uploads").glob("*.txt")]
    ask(page, "Which oil does the engine take?")
    assert shown(page)[1] == "The engine takes SAE 30 oil."


def test_a_visitor_never_sees_documents_of_others(open_page: Open) -> None:
    name = upload("secret.txt", "The code is 1234.", token="c" * 32)
    page = open_page(manual_pick=[name])
    assert [option for option in picker(page).options] == ["manual.en.pdf", "manual.zh.pdf"]
    assert page.info[0].value.startswith("Choose or add a document")


def test_own_files_can_be_deleted(open_page: Open) -> None:
    name = upload("mine.txt", "The engine takes SAE 30 oil.")
    page = open_page(manual_pick=[name])
    (button,) = [b for b in page.button if b.label == "Delete my selected files"]
    button.click().run()
    assert not page.exception
    assert not (visitor().folder / "uploads" / name).exists()


def test_a_rating_is_stored_as_a_row(open_page: Open) -> None:
    page = ask(open_page(ANSWER), BATTERY)
    page.feedback[0].set_value(1).run()
    assert not page.exception
    lines = (Settings.load().data_dir / "feedback.jsonl").read_text(encoding="utf-8").splitlines()
    assert [(json.loads(x)["question"], json.loads(x)["score"]) for x in lines] == [(BATTERY, 1.0)]


def test_a_chinese_question_about_the_chinese_manual(open_page: Open) -> None:
    page = open_page("钥匙使用CR2032型电池。[1]", manual_pick=["manual.zh.pdf"])
    ask(page, "钥匙用什么电池？")
    assert not page.error
    assert "CR2032" in shown(page)[1]
    assert citation_buttons(page)


def test_the_command_for_other_programs_fits_the_documents(open_page: Open) -> None:
    label = "Use this manual from other programs"
    page = open_page(manual_pick=["manual.en.pdf", "manual.zh.pdf"])
    (note,) = (expander for expander in page.sidebar.expander if expander.label == label)
    command = note.code[0].value
    assert command.startswith("egosrag mcp --doc sample:manual.en --doc sample:manual.zh --model ")
    page.multiselect[0].set_value([]).run()
    assert label not in [expander.label for expander in page.sidebar.expander]
