"""EGOS-RAG: roles that speak for themselves, and manuals that answer with their page, on small local models.

    from egosrag import Conversation, ManualEngine, ManualIndex, load_chat_model, load_role

    model = load_chat_model("pocket")  # or a hub id, a folder, "openai:NAME"
    manual = ManualEngine(ManualIndex.build(["manual.pdf"]), model)
    print(manual.ask("Which engine oil does the car need?").citations)
    talk = Conversation(model, load_role("role.json"))
    print(talk.say("Who are you?").text)

The names load what they need when they are first used, so that ``import egosrag`` alone loads no model library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from egosrag.chatbot import Chatbot
    from egosrag.egos.extract.static import Extract
    from egosrag.errors import EgosRagError
    from egosrag.models import load_chat_model
    from egosrag.rag.answer.engine import ManualEngine
    from egosrag.rag.index.manual_index import ManualIndex
    from egosrag.roles.files import load_role
    from egosrag.schema import Answer, Reply, Role
    from egosrag.sessions.conversation import Conversation
    from egosrag.settings import Settings

_HOME = {
    "Answer": "egosrag.schema",
    "Chatbot": "egosrag.chatbot",
    "Conversation": "egosrag.sessions.conversation",
    "EgosRagError": "egosrag.errors",
    "Extract": "egosrag.egos.extract.static",
    "ManualEngine": "egosrag.rag.answer.engine",
    "ManualIndex": "egosrag.rag.index.manual_index",
    "Reply": "egosrag.schema",
    "Role": "egosrag.schema",
    "Settings": "egosrag.settings",
    "load_chat_model": "egosrag.models",
    "load_role": "egosrag.roles.files",
}

__all__ = [
    "Answer",
    "Chatbot",
    "Conversation",
    "EgosRagError",
    "Extract",
    "ManualEngine",
    "ManualIndex",
    "Reply",
    "Role",
    "Settings",
    "load_chat_model",
    "load_role",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
