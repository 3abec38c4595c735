"""File uploaders whose files are stored for the visitor."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import streamlit as st

from apps.parts.context import PageContext
from apps.parts.display import errors_shown
from egosrag.host.uploads import Upload, save_upload


def upload_one(page: PageContext, label: str, extensions: Sequence[str], *, key: str | None = None) -> Upload | None:
    """A file uploader for one file; None until there is one.

    Raises:
        SourceError: the file is not accepted; the message says why.
    """
    file = st.file_uploader(label, type=list(extensions), key=key)
    return save_upload(page.visitor, file.name, file.getvalue(), extensions) if file else None


def upload_several(
    page: PageContext, label: str, extensions: Sequence[str], *, key: str | None = None, errors: Any = None
) -> list[Upload]:
    """A file uploader for any number of files; one that is not accepted is named with the reason, the others count.

    Args:
        page: the page's context.
        label: of the uploader.
        extensions: the supported ones.
        key: of the widget.
        errors: the container for the reasons; by default they are below the uploader.
    """
    uploads = []
    for file in st.file_uploader(label, type=list(extensions), accept_multiple_files=True, key=key):
        with errors or nullcontext(), errors_shown():
            uploads.append(save_upload(page.visitor, file.name, file.getvalue(), extensions))
    return uploads
