"""What lists show of each session, and the table in which a durable store keeps it beside LangGraph's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from egosrag.text.encoding import without_surrogates


class Summary(NamedTuple):
    """What lists show of a session.

    Attributes:
        name: the role's name, or the names of all roles.
        turns: number of turns.
        at: time of the last turn, ISO 8601.
        pinned: whether it is in front of the others.
    """

    name: str
    turns: int
    at: str
    pinned: bool

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Summary:
        """Of the stored values of a session."""
        turns = values.get("turns") or ()
        at = str(turns[-1].get("at") or "") if turns else ""
        name = without_surrogates(str(values.get("name") or "")).replace("\0", "")
        return cls(name, len(turns), at, bool(values.get("pinned")))


SQLITE_TABLE = """
    CREATE TABLE IF NOT EXISTS egosrag_list (
        thread_id TEXT PRIMARY KEY, checkpoint_id TEXT NOT NULL,
        name TEXT NOT NULL, turns INTEGER NOT NULL, at TEXT NOT NULL, pinned INTEGER NOT NULL
    ) WITHOUT ROWID
"""
SQLITE_STORE = "INSERT OR REPLACE INTO egosrag_list VALUES (?, ?, ?, ?, ?, ?)"
SQLITE_DROP = """
    DELETE FROM egosrag_list WHERE NOT EXISTS (SELECT 1 FROM checkpoints c WHERE c.thread_id = egosrag_list.thread_id)
"""
# Names and newest checkpoints by one look into the index each: a session has a hundred checkpoints. A row counts that
# was stored for the newest checkpoint, behind which nothing is half written.
SQLITE_LIST = """
    WITH RECURSIVE names(thread_id) AS (
        SELECT (SELECT min(thread_id) FROM checkpoints WHERE thread_id >= ?1)
        UNION ALL
        SELECT (SELECT min(c.thread_id) FROM checkpoints c WHERE c.thread_id > names.thread_id)
        FROM names WHERE substr(names.thread_id, 1, length(?1)) = ?1
    )
    SELECT n.thread_id, l.thread_id IS NOT NULL, l.name, l.turns, l.at, l.pinned
    FROM names n LEFT JOIN egosrag_list l ON l.thread_id = n.thread_id
        AND l.checkpoint_id = (
            SELECT max(c.checkpoint_id) FROM checkpoints c WHERE c.thread_id = n.thread_id AND c.checkpoint_ns = ''
        )
        AND NOT EXISTS (
            SELECT 1 FROM writes w
            WHERE w.thread_id = n.thread_id AND w.checkpoint_ns = '' AND w.checkpoint_id = l.checkpoint_id
        )
    WHERE n.thread_id IS NOT NULL AND substr(n.thread_id, 1, length(?1)) = ?1
"""

POSTGRES_TABLE = """
    CREATE TABLE IF NOT EXISTS egosrag_list (
        thread_id text PRIMARY KEY, checkpoint_id text NOT NULL,
        name text NOT NULL, turns integer NOT NULL, at text NOT NULL, pinned boolean NOT NULL
    )
"""
POSTGRES_STORE = """
    INSERT INTO egosrag_list VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (thread_id) DO UPDATE SET
        checkpoint_id = EXCLUDED.checkpoint_id, name = EXCLUDED.name, turns = EXCLUDED.turns,
        at = EXCLUDED.at, pinned = EXCLUDED.pinned
"""
POSTGRES_DROP = """
    DELETE FROM egosrag_list l WHERE NOT EXISTS (SELECT FROM checkpoints c WHERE c.thread_id = l.thread_id)
"""
POSTGRES_LIST = """
    WITH RECURSIVE names(thread_id) AS (
        SELECT min(thread_id) FROM checkpoints
        UNION ALL
        SELECT (SELECT min(c.thread_id) FROM checkpoints c WHERE c.thread_id > names.thread_id)
        FROM names WHERE names.thread_id IS NOT NULL
    )
    SELECT n.thread_id AS session, l.name, l.turns, l.at, l.pinned
    FROM names n LEFT JOIN egosrag_list l ON l.thread_id = n.thread_id
        AND l.checkpoint_id = (
            SELECT max(c.checkpoint_id) FROM checkpoints c WHERE c.thread_id = n.thread_id AND c.checkpoint_ns = ''
        )
        AND NOT EXISTS (
            SELECT FROM checkpoint_writes w
            WHERE w.thread_id = n.thread_id AND w.checkpoint_ns = '' AND w.checkpoint_id = l.checkpoint_id
        )
    WHERE starts_with(n.thread_id, %s)
"""
