"""Build objects from :class:`egosrag.settings.Settings`: the only wiring, used by command line, server, app and evals.

Read ``models`` (chat models), then ``manuals`` (indexes and the manual QA engine), then ``roles`` (role extraction,
conversations with their store, memory and sources).
"""

from egosrag.assemble.manuals import build_index, is_current, manual, manual_index
from egosrag.assemble.models import chat_model, extract_model, sample
from egosrag.assemble.roles import conversation, extract_role, source_search, turn_memory

__all__ = [
    "build_index",
    "chat_model",
    "conversation",
    "extract_model",
    "extract_role",
    "is_current",
    "manual",
    "manual_index",
    "sample",
    "source_search",
    "turn_memory",
]
