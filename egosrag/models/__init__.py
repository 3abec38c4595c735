"""Chat models: local checkpoints, OpenAI-compatible servers and a scripted one, all LangChain ``BaseChatModel``.

In all three a trailing ``AIMessage`` is a prefix that is continued, and stop strings are trimmed and never shown.
Nothing heavy is imported before a model is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from egosrag.models.load import load_chat_model as load_chat_model

__all__ = ["load_chat_model"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from egosrag.models.load import load_chat_model

        return load_chat_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
