"""Every limit of what is given to the program, in one place; SECURITY.md's table is held to it by a test.

Tokens have no number here: a prompt and its reply are limited by the model's window, see ``egosrag.models.tokens``.
"""

from __future__ import annotations

# --- bytes -----------------------------------------------------------------------------------------------------------

CARD_BYTES = 32 * 2**20
"""Bytes of a role card, its picture, a lorebook or a persona: pictures of cards have one to ten million."""

DOCUMENT_BYTES = 2**30
"""Bytes of a document, and what one that is packed (.docx) unpacks to."""

UPLOAD_BYTES = 64 * 2**20
"""Bytes of a file that is given to the pages; apps/.streamlit/config.toml refuses more before it is read."""

UPLOAD_UNPACKED_BYTES = 256 * 2**20
"""Bytes that such a file unpacks to."""

VISITOR_BYTES = 512 * 2**20
"""Bytes of all files of one visitor."""

REQUEST_BYTES = 4_000_000
"""Bytes of one request to ``egosrag serve``."""

# --- how many --------------------------------------------------------------------------------------------------------

CARD_DEPTH = 100
"""Lists and objects inside each other in a card, lorebook or persona."""

DOCUMENT_PAGES = 50_000
"""Pages of a document."""

LINE_CHARACTERS = 200_000
"""Characters of a line that is said to a role, far more than any window holds: what is longer is not even counted."""

SESSION_TURNS = 1_000_000
"""Turns of a session, the replies among them."""

SCENE_ROLES = 4
"""Roles in one scene on the pages."""

VISITOR_FILES = 100
"""Files of one visitor."""

REQUEST_MESSAGES = 2_000
"""Messages of one request to ``egosrag serve``."""

REQUESTS_AT_ONCE = 32
"""Requests that ``egosrag serve`` works on, or that wait for its model."""

# --- seconds ---------------------------------------------------------------------------------------------------------

ANSWER_S = 600.0
"""Seconds of one answer of ``egosrag serve``; then it ends with the reason "length"."""

MODEL_S = 120.0
"""Seconds without a word from a model's server."""

DATABASE_S = 30.0
"""Seconds that PostgreSQL may be away."""

WRITE_S = 30.0
"""Seconds that others may take to open a file of conversations or to write to it."""

SESSION_S = 2.0
"""Seconds for another process to let go of a session: one that was killed does so within that time."""

PATTERNS_S = 0.2
"""Seconds of the processor that all regular expressions of a lorebook may take for one line."""
