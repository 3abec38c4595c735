"""Settings to objects: the only wiring, used by the command line, the pages and the evaluations."""

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
