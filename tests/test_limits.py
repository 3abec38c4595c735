"""Input above a limit is refused with a line that says what to do; input at the limit is accepted."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import docx
import pytest

from egosrag.egos import organize
from egosrag.errors import SessionError, SourceError
from egosrag.rag.documents import docx as docx_reader
from egosrag.rag.documents import readers
from egosrag.rag.documents.load import load_pages
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.sessions.conversation import Conversation
from tests.roles.cards import TIM
from tests.sessions.child_process import EchoModel


def test_the_size_of_a_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "manual.txt"
    path.write_text("The oil is changed once a year.")
    monkeypatch.setattr(readers, "DOCUMENT_BYTES", path.stat().st_size)
    assert load_pages([path])
    path.write_text("The oil is changed once in a year.")
    for use in (lambda: load_pages([tmp_path]), lambda: ManualIndex.build([path], tmp_path / "index")):
        with pytest.raises(SourceError, match="txt has 34 bytes, and the limit is 31: split it into several files"):
            use()


def test_the_bytes_that_a_document_unpacks_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "manual.docx"
    document = docx.Document()
    document.add_paragraph("The oil is changed once a year. " * 10_000)
    document.save(str(path))
    with ZipFile(path) as packed:
        unpacked = sum(part.file_size for part in packed.infolist())
    assert path.stat().st_size < unpacked // 4
    monkeypatch.setattr(docx_reader, "DOCUMENT_BYTES", unpacked)
    assert load_pages([path])
    monkeypatch.setattr(docx_reader, "DOCUMENT_BYTES", unpacked - 1)
    with pytest.raises(SourceError, match="bytes unpacked, and the limit is"):
        load_pages([path])


@pytest.mark.parametrize("ending", ["jsonl", "md", "pdf"])
def test_the_pages_of_a_document(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"manual.{ending}"
    texts = [f"Part {n} weighs {n} grams." for n in (1, 2, 3)]
    if ending == "pdf":
        from reportlab.pdfgen.canvas import Canvas

        canvas = Canvas(str(path))
        for text in texts:
            canvas.drawString(72, 700, text)
            canvas.showPage()
        canvas.save()
    elif ending == "md":
        path.write_text("".join(f"<!-- page {n} -->\n\n{text}\n\n" for n, text in enumerate(texts, 1)))
    else:
        path.write_text("".join(f'{{"page": {n}, "text": "{text}"}}\n' for n, text in enumerate(texts, 1)))
    monkeypatch.setattr(readers, "DOCUMENT_PAGES", 3)
    assert len(load_pages([path])) == 3
    monkeypatch.setattr(readers, "DOCUMENT_PAGES", 2)
    with pytest.raises(SourceError, match="has 3 pages, and the limit is 2: split it into several files"):
        load_pages([path])


def test_the_characters_of_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(organize, "LINE_CHARACTERS", 6)
    talk = Conversation(EchoModel(), TIM, session="s")
    assert talk.say("line 1").text
    with pytest.raises(SessionError, match="the line has 7 characters, and at most 6 are allowed: split it"):
        talk.say("line 22")
    assert len(talk.turns()) == 2


def test_the_turns_of_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(organize, "SESSION_TURNS", 4)
    talk = Conversation(EchoModel(), TIM, session="s")
    assert talk.say("line 0").text and talk.say("line 1").text
    with pytest.raises(SessionError, match="the session has 4 turns, which is the limit: begin another one"):
        talk.say("line 2")
    assert len(talk.turns()) == 4
