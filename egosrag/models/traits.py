"""The traits of a chat model (``egosrag.traits`` has what they are and where a checkpoint states them)."""

from __future__ import annotations

from typing import Any

from egosrag.traits import Traits

__all__ = ["Traits", "traits_of", "unbound"]

_UNSTATED = Traits(single_turn=True)


def unbound(model: Any) -> Any:
    """The model inside ``bind`` and ``with_config``."""
    from langchain_core.runnables import RunnableBinding

    while isinstance(model, RunnableBinding):
        model = model.bound
    return model


def traits_of(model: Any) -> Traits:
    """The traits of a chat model or LLM; those of the model inside ``bind`` and ``with_config``.

    A model that states none (it has no attribute ``traits``) is treated as a plain LLM, which continues any text: its
    history is sent as one message, which every model can read.
    """
    traits = getattr(unbound(model), "traits", None)
    return traits if isinstance(traits, Traits) else _UNSTATED


def model_key(model: Any) -> str:
    """What tells a model from another: its class, its name or folder, and its adapter."""
    own = unbound(model)
    names = (str(getattr(own, name, "") or "") for name in ("model", "model_name", "adapter"))
    return " ".join([type(own).__name__, *filter(None, names)])
