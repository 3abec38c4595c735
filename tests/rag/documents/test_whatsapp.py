"""Chats that WhatsApp exported, in the forms of Android and iOS, as lines of dialogue."""

from __future__ import annotations

from pathlib import Path

import pytest

from egosrag.rag.documents import whatsapp
from egosrag.rag.documents.load import read_text

ANDROID = """31/12/2023, 21:40 - Messages and calls are end-to-end encrypted. No one outside of this chat can read them.
31/12/2023, 21:41 - Anna: See you at eight
at the harbour: the old one.
31/12/2023, 21:42 - Tom: <Media omitted>
31/12/2023, 21:43 - Tom: 好的，八点见！
"""
IOS = """[31.12.23, 21:41:02] Anna: See you at eight
at the harbour: the old one.
\u200e[31.12.23, 21:42:11] Tom: \u200eimage omitted
[31.12.23, 21:43:00] Tom: 好的，八点见！
"""
AMERICAN = ANDROID.replace("31/12/2023, 21:", "12/31/23, 9:").replace(" - ", "\u202fPM - ")


@pytest.mark.parametrize("export", [ANDROID, IOS, AMERICAN])
def test_an_exported_chat_is_dialogue(tmp_path: Path, export: str) -> None:
    file = tmp_path / "WhatsApp Chat with Tom.txt"
    file.write_text(export, encoding="utf-8")
    assert read_text(file).splitlines() == [
        "Anna: See you at eight at the harbour: the old one.",
        "Tom: 好的，八点见！",
    ]


@pytest.mark.parametrize("text", ["", "Anna: hi\nTom: hi", "31/12/2023, 21:41 - a date in a text\nand more of it"])
def test_other_text_is_no_chat(text: str) -> None:
    assert not whatsapp.is_export(text)
