"""The chat models that the settings name, and the samples of the package."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from egosrag.errors import SourceError
from egosrag.settings import Settings

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


def chat_model(settings: Settings) -> BaseChatModel:
    """The chat model that the settings name.

    Raises:
        ModelError: it cannot be found or loaded.
    """
    from egosrag.models import load_chat_model

    return load_chat_model(
        settings.model,
        adapter=settings.adapter,
        template=settings.template,
        dtype=settings.dtype,
        device=settings.device,
        context_window=settings.context_window,
        prefix_style=settings.prefix_style,
        temperature=settings.temperature,
        top_p=settings.top_p,
        max_new_tokens=settings.max_new_tokens,
        seed=settings.seed,
    )


def extract_model(settings: Settings, speaking: BaseChatModel | None = None) -> BaseChatModel:
    """The model of Extract: the one that the settings name for it, else the one that speaks.

    Raises:
        ModelError: it cannot be found or loaded.
    """
    if settings.extract_model is None:
        return speaking or chat_model(settings)
    own = {"model": settings.extract_model, "adapter": None, "template": True, "context_window": None}
    return chat_model(settings.model_copy(update=own))


def sample(name: str) -> Path:
    """The path of a sample that comes with the package (egosrag/data/README.md lists them).

    Raises:
        SourceError: there is no sample of that name.
    """
    path = Path(str(files("egosrag"))) / "data" / "samples" / name
    if not path.is_file():
        raise SourceError(f"there is no sample {name}: see egosrag/data/README.md for those there are")
    return path
