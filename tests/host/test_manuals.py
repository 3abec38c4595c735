"""Documents of visitors: their owners, shared indexes, answers in parts with citations, and reliability."""

from __future__ import annotations

import shlex
import threading
from pathlib import Path
from typing import Any

import pytest

from egosrag import assemble
from egosrag.cli.mcp import served_tools
from egosrag.console import Reporter
from egosrag.errors import SourceError, StoreError
from egosrag.host import manuals
from egosrag.host.uploads import Upload, save_upload
from egosrag.host.visitors import Visitor, new_token, visitor_of
from egosrag.models.scripted import ScriptedChatModel
from egosrag.schema import Answer, AttributedSentence, Citation
from egosrag.settings import Settings

OIL = Citation(source="m.md", page=1, quote="Use SAE 30.", score=1.0)
LAMP = Citation(source="m.md", page=2, quote="The lamp blinks.", score=0.9)


@pytest.fixture
def visitor(tmp_path: Path) -> Visitor:
    return visitor_of(new_token(), tmp_path)


def upload(visitor: Visitor, name: str, text: str) -> Upload:
    return save_upload(visitor, name, text.encode(), manuals.EXTENSIONS)


def test_a_visitor_sees_their_own_documents_and_the_samples(visitor: Visitor, tmp_path: Path) -> None:
    document = upload(visitor, "../../etc/<b>oil</b>.md", "Use SAE 30.")
    other = visitor_of(new_token(), tmp_path)
    assert [u.name for u in manuals.list_documents(visitor, "en").values()] == [
        "b>.md",
        "manual.en.pdf",
        "manual.zh.pdf",
    ]
    assert [u.name for u in manuals.list_documents(other, "zh").values()] == ["manual.zh.pdf", "manual.en.pdf"]
    assert document.path.parent == visitor.folder / "uploads"
    assert manuals.list_documents(visitor, "en")[document.path.name] == document


def test_two_documents_with_the_same_name_stay_two(visitor: Visitor) -> None:
    upload(visitor, "m.md", "Use SAE 30.")
    upload(visitor, "m.md", "Use SAE 40.")
    names = [u.name for u in manuals.list_documents(visitor, "en").values()]
    assert names.count("m.md") == 2


def test_the_command_for_other_programs_serves_each_document(
    visitor: Visitor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["my car's manual.md", "a=b.md", "-x.md", "oil.md"]
    chosen = [upload(visitor, name, f"Use SAE 30: {name}.") for name in names]
    chosen += [upload(visitor, "oil.md", "Use SAE 40."), *list(manuals.list_documents(visitor, "en").values())[-2:]]
    settings = Settings(model="qwen2.5-1.5b", embedder="minilm")
    program, command, *words = shlex.split(manuals.mcp_command(settings, chosen))
    assert (program, command, words[-4:]) == ("egosrag", "mcp", ["--model", "qwen2.5-1.5b", "--embedder", "minilm"])
    assert words[:-4:2] == ["--doc"] * 7
    assert str(visitor.folder) not in " ".join(words)
    monkeypatch.chdir(tmp_path)
    for name in names:
        Path(name).write_text("Use SAE 30.", encoding="utf-8")
    served = served_tools(Settings(), (), words[1:-4:2], ())
    assert list(served.manuals) == ["my car's manual", "a-b", "-x", "oil", "oil-2", "manual.en", "manual.zh"]


def test_the_command_names_no_model_where_none_was_chosen() -> None:
    assert manuals.mcp_command(Settings(), [Upload(assemble.sample("manual.en.pdf"), "manual.en.pdf")]) == (
        "egosrag mcp --doc sample:manual.en"
    )


def test_an_index_is_built_once_and_the_least_recently_used_one_is_evicted(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []

    def build(settings: Settings, files: list[Path], progress: Reporter) -> Any:
        built.append(files[0].name)
        waiting.wait(5)
        return object()

    waiting = threading.Event()
    monkeypatch.setattr(assemble, "manual_index", build)
    indexes, settings, found = manuals.IndexCache(max_indexes=2), Settings.load(), list[Any]()
    threads = [
        threading.Thread(target=lambda: found.append(indexes.get(settings, [Upload(Path("a"), "a")]))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    waiting.set()
    for thread in threads:
        thread.join()
    assert built == ["a"]
    assert found[0] is found[1]
    for name in "bcba":
        indexes.get(settings, [Upload(Path(name), name)])
    assert built == ["a", "b", "c", "a"], "b was cached; a had been evicted"


def test_a_document_that_cannot_be_indexed_is_an_error_and_retried(visitor: Visitor) -> None:
    indexes, settings = manuals.IndexCache(), Settings.load()
    document = upload(visitor, "m.pdf", "no pdf at all")
    for _ in range(2):
        with pytest.raises(SourceError, match=r"^m\.pdf is not a PDF") as caught:
            indexes.get(settings, [document])
        assert str(visitor.folder) not in str(caught.value)


def test_consecutive_sentences_with_the_same_citation_are_one_part() -> None:
    answer = Answer(
        answer="Use SAE 30. Nothing else.\n1. The lamp blinks. So it seems.",
        refused=False,
        citations=(OIL, LAMP),
        sentences=(
            AttributedSentence(text="Use SAE 30.", citation=0),
            AttributedSentence(text="Nothing else.", citation=0),
            AttributedSentence(text="1. The lamp blinks.", citation=1),
            AttributedSentence(text="So it seems.", citation=None),
        ),
    )
    assert manuals.answer_parts(answer) == [
        ("Use SAE 30. Nothing else.", OIL),
        ("1. The lamp blinks.", LAMP),
        ("So it seems.", None),
    ]


def test_an_answer_without_sentences_is_one_part() -> None:
    assert manuals.answer_parts(Answer(answer="Not in the manual.", refused=True)) == [("Not in the manual.", None)]


@pytest.mark.parametrize(
    ("refused", "mode", "evidence", "expected"),
    [
        (True, "refused", 0.9, "refused"),
        (False, "generated", 0.2, "weak"),
        (False, "quoted", 0.2, "weak"),
        (False, "quoted", 0.8, "quoted"),
        (False, "generated", 0.8, "supported"),
    ],
)
def test_reliability_depends_on_evidence_and_mode(refused: bool, mode: Any, evidence: float, expected: str) -> None:
    answer = Answer(answer="x", refused=refused, mode=mode, evidence=evidence)
    assert manuals.reliability(answer) == expected


def test_the_cited_page_has_the_quote_highlighted(visitor: Visitor) -> None:
    document = upload(visitor, "boat.md", "# Oil\n\nUse `<script>SAE</script>` 30. Change it often.\n")
    index = manuals.IndexCache().get(Settings.load(), [document])
    quote = "Use <script>SAE</script> 30."
    citation = Citation(source=document.path.name, page=1, quote=quote, score=1.0)
    view = manuals.cited_page(index, citation, manuals.list_documents(visitor, "en"))
    assert view.picture is None
    assert view.page.text[view.start : view.end] == quote
    with pytest.raises(StoreError, match="page 9"):
        manuals.cited_page(index, citation.model_copy(update={"page": 9}), {})


def test_the_cited_page_of_a_pdf_is_a_picture(visitor: Visitor) -> None:
    documents = manuals.list_documents(visitor, "en")
    engine = assemble.manual(
        Settings.load(),
        index=manuals.IndexCache().get(Settings.load(), [documents["manual.en.pdf"]]),
        model=ScriptedChatModel(responses=["It is of the type CR2032. [1]"]),
    )
    answer = engine.ask("Which battery does the key need?")
    ((text, citation),) = manuals.answer_parts(answer)
    assert "CR2032" in text and citation
    view = manuals.cited_page(engine.index, citation, documents, width=200)
    assert view.picture and view.picture.boxes


def test_without_the_document_only_question_and_history_are_in_the_prompt() -> None:
    model = ScriptedChatModel(responses=["I guess CR2032."])
    *chunks, reply = manuals.answer_without_document(model, "And the battery?", [("Which oil?", "Some.")])
    assert "".join(map(str, chunks)) == "I guess CR2032."
    assert not isinstance(reply, str)
    assert [m.content for m in model.calls[0].messages][-3:] == ["Which oil?", "Some.", "And the battery?"]
