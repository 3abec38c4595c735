"""What a visitor chose and had open, in one file, so that neither a reload nor a restart of the server loses it.

Values are JSON: widgets of the sidebar, the open conversation, the chosen documents, a line that was not answered.
"""

from __future__ import annotations

import json
import threading
from typing import Any

from egosrag.errors import RoleError
from egosrag.host.visitors import Visitor
from egosrag.roles.data import parse_json, read_bytes, write_atomically

_FILE = "visit.json"
_LOCK = threading.Lock()  # two tabs of a visitor may write at the same time


def recall(visitor: Visitor) -> dict[str, Any]:
    """Everything that is remembered; nothing where there is no file, or it cannot be read."""
    path = visitor.folder / _FILE
    try:
        values = parse_json(read_bytes(path, "visit"), path, "visit") if path.is_file() else {}
    except RoleError:  # what was open is no reason to refuse a visit
        return {}
    return dict(values) if isinstance(values, dict) else {}


def remember(visitor: Visitor, **values: Any) -> None:
    """Remember values by name; None forgets one.

    Raises:
        RoleError: the file cannot be written.
    """
    with _LOCK:
        before = recall(visitor)
        after = {name: value for name, value in (before | values).items() if value is not None}
        if after == before:
            return
        visitor.folder.mkdir(parents=True, exist_ok=True)
        data = json.dumps(after, ensure_ascii=False, indent=2) + "\n"
        write_atomically(visitor.folder / _FILE, data.encode(), "visit")
