"""The manual page: documents are given, asked, and every sentence opens its page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("streamlit", reason="the extra app is not installed")

import streamlit
from streamlit.testing.v1 import AppTest

from egosrag.host.manuals import ENDINGS
from egosrag.host.uploads import keep
from egosrag.host.visitors import Visitor, visitor_of
from egosrag.settings import Settings

PAGE = str(Path(__file__).resolve().parents[2] / "apps" / "manual.py")
TOKEN = "b" * 32
BATTERY = "Which battery does the key need?"
TOLD = "It is of the type CR2032. [1]"

Open = Callable[..., AppTest]


@pytest.fixture(scope="session")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Indexes are named by their documents' content: the tests may share them."""
    return tmp_path_factory.mktemp("indexes")


@pytest.fixture
def open_page(monkeypatch: pytest.MonkeyPatch, script: Callable[..., str], indexes: Path) -> Open:
    """``open_page("one", "two")``: the page, with a model that says so."""
    streamlit.cache_resource.clear()  # models and indexes are kept by the server, which all tests share
    monkeypatch.setenv("EGOSRAG_CACHE_DIR", str(indexes))

    def page(*responses: str, **state: Any) -> AppTest:
        monkeypatch.setenv("EGOSRAG_MODEL", script(*responses))
        test = AppTest.from_file(PAGE, default_timeout=60)
        for name, value in {"token": TOKEN, **state}.items():
            test.session_state[name] = value
        return test.run()

    return page


def visitor(token: str = TOKEN) -> Visitor:
    return visitor_of(token, Settings.load().data_dir)


def give(name: str, text: str, token: str = TOKEN) -> str:
    return keep(visitor(token), name, text.encode(), ENDINGS).path.name


def shown(page: AppTest) -> list[str]:
    return [text.value for message in page.chat_message for text in message.text]


def ask(page: AppTest, question: str) -> AppTest:
    return page.chat_input(key="question").set_value(question).run()


def cited(page: AppTest) -> list[Any]:
    return [button for button in page.button if (button.key or "").startswith("page ")]


def test_the_sample_is_asked_at_once_and_its_page_opens_beside(open_page: Open) -> None:
    page = ask(open_page(TOLD), BATTERY)
    assert not page.exception
    assert not page.error
    assert shown(page) == [BATTERY, "It is of the type CR2032."]
    assert not page.image
    (button,) = cited(page)
    assert button.label == "p. 2"
    button.click().run()
    assert [s.value for s in page.subheader] == ["p. 2"]
    assert len(page.image) == 1, "the page of a PDF is a picture"
    assert "CR2032" in page.html[0].value.partition("<mark>")[2].partition("</mark>")[0]


def test_a_further_question_has_the_first_in_its_history(open_page: Open) -> None:
    page = ask(open_page(TOLD, "What does the key's battery cost?", "It is of the type CR2032. [1]"), BATTERY)
    ask(page, "And what type is it?")
    assert not page.error
    assert shown(page)[2:] == ["And what type is it?", "It is of the type CR2032."]


def test_with_and_without_the_document_stand_side_by_side(open_page: Open) -> None:
    page = open_page(TOLD, "I guess it is an AAA.")
    page.toggle(key="manual_alone").set_value(True).run()
    ask(page, BATTERY)
    assert shown(page) == [BATTERY, "It is of the type CR2032.", "I guess it is an AAA."]


def test_weak_evidence_is_warned_of(open_page: Open) -> None:
    name = give("garden.md", "# Lawn\n\nThe mower is cleaned after use with a brush.\n")
    page = open_page("The mower is cleaned with a brush. [1]", manual_chosen=[name])
    ask(page, "Which oil, which fuel and which tyres does the mower of my neighbour need in winter?")
    assert not page.error
    warned = [warning.value for warning in page.warning]
    refused = [c.value for c in page.caption if "Nothing that was found" in c.value]
    assert warned or refused


def test_a_refusal_is_told_with_no_page(open_page: Open) -> None:
    page = ask(open_page("It does not say."), "Who won the chess championship of 1972?")
    assert not cited(page)
    assert any("Nothing that was found" in c.value for c in page.caption)


def test_hostile_documents_are_shown_as_text(open_page: Open) -> None:
    evil = "Use <script>alert(1)</script> SAE 30 oil ![x](http://evil.example/x.png) in the engine."
    name = give("../../<img src=x>![y](http://evil.example).txt", evil)
    page = ask(open_page(f"{evil} [1]", manual_chosen=[name]), "Which oil is used in the engine?")
    assert not page.error
    assert shown(page)[1] == evil
    assert not page.markdown
    cited(page)[0].click().run()
    (html,) = page.html
    assert "<script" not in html.value
    assert "<mark>" in html.value and "&lt;script&gt;" in html.value
    assert not any("![y](http" in caption.value for caption in page.caption), "its name is no picture either"


@pytest.mark.parametrize(
    ("name", "data", "reason"), [("m.pdf", b"%PDF-1.4 nothing", "not a PDF"), ("m.txt", b"\x00\x01\xff" * 99, "text")]
)
def test_what_cannot_be_read_is_refused_with_a_reason(open_page: Open, name: str, data: bytes, reason: str) -> None:
    kept = keep(visitor(), name, data, ENDINGS).path.name
    page = open_page(manual_chosen=[kept])
    assert not page.exception
    (error,) = page.error
    assert reason in error.value.replace("\\", "")


def test_an_uploaded_document_takes_the_samples_place(open_page: Open) -> None:
    page = open_page("The engine takes SAE 30 oil. [1]")
    upload = ("../boat.txt", b"The engine takes SAE 30 oil. Change it once a year.", "text/plain")
    page.file_uploader(key="manual_files").set_value([upload]).run()
    assert not page.error
    assert page.multiselect(key="manual_pick").value == [f.name for f in (visitor().folder / "uploads").glob("*.txt")]
    ask(page, "Which oil does the engine take?")
    assert shown(page)[1] == "The engine takes SAE 30 oil."


def test_a_visitor_never_sees_anothers_documents(open_page: Open) -> None:
    name = give("secret.txt", "The code is 1234.", token="c" * 32)
    page = open_page(manual_chosen=[name])
    assert [option for option in page.multiselect(key="manual_pick").options] == ["manual.en.pdf", "manual.zh.pdf"]
    assert page.info[0].value.startswith("Choose or add")


def test_his_own_files_can_be_deleted(open_page: Open) -> None:
    name = give("mine.txt", "The engine takes SAE 30 oil.")
    page = open_page(manual_chosen=[name])
    (button,) = [b for b in page.button if b.label == "Delete my chosen files"]
    button.click().run()
    assert not page.exception
    assert not (visitor().folder / "uploads" / name).exists()


def test_a_thumb_is_kept_as_a_line(open_page: Open) -> None:
    page = ask(open_page(TOLD), BATTERY)
    page.feedback[0].set_value(1).run()
    assert not page.exception
    lines = (Settings.load().data_dir / "feedback.jsonl").read_text(encoding="utf-8").splitlines()
    assert [(json.loads(x)["question"], json.loads(x)["score"]) for x in lines] == [(BATTERY, 1.0)]


def test_chinese_words_and_a_chinese_manual(open_page: Open) -> None:
    page = open_page("钥匙使用CR2032型电池。[1]", manual_chosen=["manual.zh.pdf"])
    ask(page, "钥匙用什么电池？")
    assert not page.error
    assert "CR2032" in shown(page)[1]
    assert cited(page)
