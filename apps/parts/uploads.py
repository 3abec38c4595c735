"""Files that a visitor gives on a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from egosrag.host.uploads import Upload, keep

if TYPE_CHECKING:
    from apps.parts.frame import Here


def upload(here: Here, label: str, endings: Sequence[str], *, several: bool = False, key: str | None = None) -> Any:
    """A file that the visitor gives, kept among his own; None while there is none. With ``several``, a list of them.

    Raises:
        SourceError: a file is not taken; the reason is in the message.
    """
    given = st.file_uploader(label, type=list(endings), accept_multiple_files=several, key=key)
    files = given if several else [given] if given else []
    kept: list[Upload] = [keep(here.visitor, file.name, file.getvalue(), endings) for file in files]
    return kept if several else kept[0] if kept else None
