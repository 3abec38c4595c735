"""Chat models: local checkpoints, GGUF files, OpenAI-compatible servers and a scripted one, all of LangChain's kind.

With all of them a trailing ``AIMessage`` is a prefix that is continued (prefill), and stop strings are left out of the
reply. Read in this order: ``load`` (a name to a model), ``catalogue`` and ``download`` (models to fetch, and where they
are), ``base`` (what models in this process share), ``local``, ``gguf``, ``api`` and ``scripted`` (the models),
``servers`` (those that run on this machine), ``runtime`` (how a model in this process generates), ``weights`` (what is
loaded from files, and what is refused), ``streaming`` (token ids to chunks, stop strings), ``continuation`` (a prefix
with any LangChain model), ``sampling`` (of conversations), ``tokens`` and ``usage`` (counts and context windows),
``traits`` (what a model was trained for).

Heavy libraries are only imported once a model is loaded.
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
