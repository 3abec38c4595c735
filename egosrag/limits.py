"""All limits on input, in one place; a test compares them with the table of SECURITY.md.

There is none for tokens: prompt and reply are limited by the model's context window, see ``egosrag.models.tokens``.
"""

from __future__ import annotations

# --- bytes -----------------------------------------------------------------------------------------------------------

CARD_BYTES = 32 * 2**20
"""Bytes of a role card, its picture, a lorebook or a persona; pictures of cards have 1 to 10 million."""

CARD_TEXT_BYTES = 16 * 2**20
"""Bytes of a card's text unpacked, in a compressed chunk of a picture or in a CHARX file."""

CHARX_BYTES = 256 * 2**20
"""Bytes of a CHARX file, and of its assets unpacked; one with pictures for every mood has tens of millions."""

DOCUMENT_BYTES = 2**30
"""Bytes of a document, also of the uncompressed contents of one that is an archive (.docx)."""

UPLOAD_BYTES = 64 * 2**20
"""Bytes of a file uploaded to the pages; apps/.streamlit/config.toml refuses larger ones before they are read."""

UPLOAD_UNPACKED_BYTES = 256 * 2**20
"""Bytes of an uploaded file's uncompressed contents."""

VISITOR_BYTES = 512 * 2**20
"""Bytes of all files of one visitor."""

REQUEST_BYTES = 4_000_000
"""Bytes of one request to ``egosrag serve``."""

# --- numbers ---------------------------------------------------------------------------------------------------------

CARD_DEPTH = 100
"""Nesting depth of lists and objects in a card, lorebook or persona."""

PICTURE_PIXELS = 50_000_000
"""Pixels of a picture that is converted to PNG, for a card that came in another format."""

DOCUMENT_PAGES = 50_000
"""Pages of a document."""

LINE_CHARACTERS = 200_000
"""Characters of a user message to a role, far more than any context window: a longer one is refused uncounted."""

QUESTION_CHARACTERS = 20_000
"""Characters of a question to a manual: every word of it is searched for, which nothing can interrupt."""

SESSION_TURNS = 1_000_000
"""Turns of a session, replies included."""

SCENE_ROLES = 4
"""Roles in one scene on the pages."""

VISITOR_FILES = 100
"""Files of one visitor."""

REQUEST_MESSAGES = 2_000
"""Messages of one request to ``egosrag serve``."""

REQUEST_PARTS = 10_000
"""Parts (texts, pictures, ...) of all messages of one request to ``egosrag serve`` together."""

STOP_STRINGS = 64
"""Stop strings of one request to ``egosrag serve``."""

STOP_CHARACTERS = 1_000
"""Characters of one stop string."""

TOKEN_SESSIONS = 10_000
"""Stored sessions of one token of ``egosrag serve``."""

CONCURRENT_REQUESTS = 32
"""Requests that ``egosrag serve`` works on at once, those that wait for its model included."""

# --- seconds ---------------------------------------------------------------------------------------------------------

ANSWER_TIMEOUT_S = 600.0
"""Seconds of one answer of ``egosrag serve`` or ``egosrag mcp``, from the first look at its prompt to the last summary;
then it ends with the reason "length", or with status 503 or an error where nothing was generated yet."""

REQUEST_TIMEOUT_S = 30.0
"""Seconds in which a request to ``egosrag serve`` must have arrived whole."""

STALL_TIMEOUT_S = 30.0
"""Seconds for which a client of ``egosrag serve`` may stop reading its answer."""

MODEL_TIMEOUT_S = 120.0
"""Seconds without data from a model's server."""

DATABASE_TIMEOUT_S = 30.0
"""Seconds for which PostgreSQL may be unreachable."""

WRITE_TIMEOUT_S = 30.0
"""Seconds to wait for other processes that open or write the same session file."""

SESSION_TIMEOUT_S = 2.0
"""Seconds to wait for another process to release a session; a killed one releases its sessions within that time."""

REGEX_TIMEOUT_S = 0.2
"""Seconds of processor time for all regular expressions of a lorebook together, for one user message."""
