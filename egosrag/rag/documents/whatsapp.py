"""Chats that WhatsApp exported (``Export chat``, without media) as lines of dialogue, ``Anna: see you at eight``."""

from __future__ import annotations

import re
import tempfile
import warnings
from pathlib import Path

from egosrag.rag.documents.raw import Line

# Android: "31/12/2023, 21:41 - Anna: hi"; iOS: "[31/12/23, 9:41:02 PM] Anna: hi". Spaces may be narrow ones.
_MESSAGE = re.compile(
    r"^\u200e?\[?(?P<day>\d{1,2}[./-]\d{1,2}[./-]\d{2,4}),?\s+(?P<time>\d{1,2}[:.]\d{2})(?P<seconds>[:.]\d{2})?"
    r"\s?(?P<half>[AaPp]\.?\s?[Mm]\.?)?(?:\]|\s-)\s+(?=\S[^:\n]{0,60}: )",
    re.MULTILINE,
)
_FIRST_LINES = 20


def is_export(text: str) -> bool:
    """Whether the text is a chat that WhatsApp exported: its first lines begin with date, time and name."""
    return len(_MESSAGE.findall("\n".join(text.splitlines()[:_FIRST_LINES]))) >= 2


def dialogue(text: str) -> list[Line]:
    """The messages of an export, each as one line; media, deleted messages and notices are left out.

    The text is read by LangChain's loader, which knows one of the forms of date and time: the others are put into it.
    """
    with warnings.catch_warnings():
        # The package warns on import that it is no longer developed; its version is pinned.
        warnings.simplefilter("ignore", DeprecationWarning)
        from langchain_community.chat_loaders.whatsapp import WhatsAppChatLoader

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "chat.txt"
        file.write_text(_MESSAGE.sub(_as_the_loader_reads, text), encoding="utf-8")
        session = next(WhatsAppChatLoader(str(file)).lazy_load())
    lines = []
    for message in session["messages"]:
        speaker = str(message.additional_kwargs["sender"]).strip()
        said = " ".join(str(message.content).replace("\u200e", "").split())
        if speaker and said:
            lines.append(Line(f"{speaker}: {said}"))
    return lines


def _as_the_loader_reads(match: re.Match[str]) -> str:
    half = re.sub(r"[.\s]", "", match["half"] or "").upper()
    clock = match["time"].replace(".", ":") + (match["seconds"] or ":00").replace(".", ":")
    return f"[{re.sub('[.-]', '/', match['day'])}, {clock}{' ' + half if half else ''}] "
