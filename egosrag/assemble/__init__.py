"""Build objects from :class:`egosrag.settings.Settings`: the only wiring, used by command line, server, app and evals.

Read ``models`` (chat models), then ``manuals`` (indexes and the manual QA engine), then ``roles`` (role extraction,
conversations with their store, memory and sources).
"""

from egosrag.assemble.manuals import CurrentManual, build_index, manual, manual_index
from egosrag.assemble.models import chat_model, extract_model, reviser_for, sample
from egosrag.assemble.roles import (
    ConversationSetup,
    conversation,
    extract_role,
    extract_step,
    memory_settings,
    source_search,
)

__all__ = [
    "ConversationSetup",
    "CurrentManual",
    "build_index",
    "chat_model",
    "conversation",
    "extract_model",
    "extract_role",
    "extract_step",
    "manual",
    "manual_index",
    "memory_settings",
    "reviser_for",
    "sample",
    "source_search",
]
