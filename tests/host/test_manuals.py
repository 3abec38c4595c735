"""Documents on the pages: whose they are, indexes shared, parts of an answer with their page, what it is worth."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from egosrag import assemble
from egosrag.console import Reporter
from egosrag.errors import SourceError, StoreError
from egosrag.host import manuals
from egosrag.host.uploads import Upload, keep
from egosrag.host.visitors import Visitor, new_token, visitor_of
from egosrag.models.scripted import ScriptedChatModel
from egosrag.schema import Answer, Citation, Told
from egosrag.settings import Settings

OIL = Citation(source="m.md", page=1, quote="Use SAE 30.", score=1.0)
LAMP = Citation(source="m.md", page=2, quote="The lamp blinks.", score=0.9)


@pytest.fixture
def visitor(tmp_path: Path) -> Visitor:
    return visitor_of(new_token(), tmp_path)


def given(visitor: Visitor, name: str, text: str) -> Upload:
    return keep(visitor, name, text.encode(), manuals.ENDINGS)


def test_a_visitor_sees_his_own_documents_and_the_samples(visitor: Visitor, tmp_path: Path) -> None:
    upload = given(visitor, "../../etc/<b>oil</b>.md", "Use SAE 30.")
    other = visitor_of(new_token(), tmp_path)
    assert [u.name for u in manuals.documents(visitor, "en").values()] == ["b>.md", "manual.en.pdf", "manual.zh.pdf"]
    assert [u.name for u in manuals.documents(other, "zh").values()] == ["manual.zh.pdf", "manual.en.pdf"]
    assert upload.path.parent == visitor.folder / "uploads"
    assert manuals.documents(visitor, "en")[upload.path.name] == upload


def test_two_documents_of_one_name_stay_two(visitor: Visitor) -> None:
    given(visitor, "m.md", "Use SAE 30.")
    given(visitor, "m.md", "Use SAE 40.")
    names = [u.name for u in manuals.documents(visitor, "en").values()]
    assert names.count("m.md") == 2


def test_an_index_is_built_once_for_all_and_only_the_last_ones_stay(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []

    def build(settings: Settings, files: list[Path], progress: Reporter) -> Any:
        built.append(files[0].name)
        waiting.wait(5)
        return object()

    waiting = threading.Event()
    monkeypatch.setattr(assemble, "manual_index", build)
    indexes, settings, found = manuals.Indexes(most=2), Settings.load(), list[Any]()
    both = [
        threading.Thread(target=lambda: found.append(indexes.get(settings, [Upload(Path("a"), "a")]))) for _ in range(2)
    ]
    for thread in both:
        thread.start()
    waiting.set()
    for thread in both:
        thread.join()
    assert built == ["a"]
    assert found[0] is found[1]
    for name in "bcba":
        indexes.get(settings, [Upload(Path(name), name)])
    assert built == ["a", "b", "c", "a"], "b was there still; a had been let go"


def test_what_cannot_be_indexed_is_told_and_tried_again(visitor: Visitor) -> None:
    indexes, settings = manuals.Indexes(), Settings.load()
    upload = given(visitor, "m.pdf", "no pdf at all")
    for _ in range(2):
        with pytest.raises(SourceError, match=r"^m\.pdf is not a PDF") as told:
            indexes.get(settings, [upload])
        assert str(visitor.folder) not in str(told.value)


def test_neighbouring_sentences_of_one_citation_are_one_part() -> None:
    answer = Answer(
        answer="Use SAE 30. Nothing else.\n1. The lamp blinks. So it seems.",
        refused=False,
        citations=(OIL, LAMP),
        sentences=(
            Told(text="Use SAE 30.", citation=0),
            Told(text="Nothing else.", citation=0),
            Told(text="1. The lamp blinks.", citation=1),
            Told(text="So it seems.", citation=None),
        ),
    )
    assert manuals.parts(answer) == [
        ("Use SAE 30. Nothing else.", OIL),
        ("1. The lamp blinks.", LAMP),
        ("So it seems.", None),
    ]


def test_an_answer_without_known_sentences_is_one_part() -> None:
    assert manuals.parts(Answer(answer="Not in the manual.", refused=True)) == [("Not in the manual.", None)]


@pytest.mark.parametrize(
    ("refused", "mode", "evidence", "worth"),
    [
        (True, "refused", 0.9, "refused"),
        (False, "generated", 0.2, "weak"),
        (False, "quoted", 0.2, "weak"),
        (False, "quoted", 0.8, "quoted"),
        (False, "generated", 0.8, "told"),
    ],
)
def test_weak_evidence_is_known(refused: bool, mode: Any, evidence: float, worth: str) -> None:
    assert manuals.worth(Answer(answer="x", refused=refused, mode=mode, evidence=evidence)) == worth


def test_a_citation_opens_its_page_with_the_quote_marked(visitor: Visitor) -> None:
    upload = given(visitor, "boat.md", "# Oil\n\nUse <script>SAE</script> 30. Change it often.\n")
    index = manuals.Indexes().get(Settings.load(), [upload])
    quote = "Use <script>SAE</script> 30."
    citation = Citation(source=upload.path.name, page=1, quote=quote, score=1.0)
    shown = manuals.opened(index, citation, manuals.documents(visitor, "en"))
    assert shown.picture is None
    assert shown.page.text[shown.start : shown.end] == quote
    with pytest.raises(StoreError, match="page 9"):
        manuals.opened(index, citation.model_copy(update={"page": 9}), {})


def test_the_page_of_a_sample_is_a_picture(visitor: Visitor) -> None:
    given_to_him = manuals.documents(visitor, "en")
    engine = assemble.manual(
        Settings.load(),
        index=manuals.Indexes().get(Settings.load(), [given_to_him["manual.en.pdf"]]),
        model=ScriptedChatModel(responses=["It is of the type CR2032. [1]"]),
    )
    answer = engine.ask("Which battery does the key need?")
    ((text, citation),) = manuals.parts(answer)
    assert "CR2032" in text and citation
    shown = manuals.opened(engine.index, citation, given_to_him, width=200)
    assert shown.picture and shown.picture.boxes


def test_without_the_document_the_model_is_asked_as_it_is() -> None:
    model = ScriptedChatModel(responses=["I guess CR2032."])
    *pieces, reply = manuals.without_document(model, "And the battery?", [("Which oil?", "Some.")])
    assert "".join(map(str, pieces)) == "I guess CR2032."
    assert not isinstance(reply, str)
    assert [m.content for m in model.calls[0].messages][-3:] == ["Which oil?", "Some.", "And the battery?"]
