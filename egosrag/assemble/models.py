"""The chat models that the settings select, and the paths of the sample files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from egosrag.errors import SourceError
from egosrag.samples import FOLDER
from egosrag.settings import Settings

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from egosrag.models.runtime.prompt_files import SavedPrompts
    from egosrag.pocket.reviser import PocketReviser
    from egosrag.traits import Traits


def chat_model(settings: Settings) -> BaseChatModel:
    """Load the chat model that the settings select.

    Raises:
        ModelError: it cannot be found or loaded.
    """
    from egosrag.models import load_chat_model
    from egosrag.models.catalogue import resolve
    from egosrag.models.load import GenerationSettings

    generation = GenerationSettings(max_new_tokens=settings.max_new_tokens, seed=settings.seed)
    chosen = {
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "top_k": settings.sampling_top_k,
        "min_p": settings.min_p,
        "repetition_penalty": settings.repetition_penalty,
    }
    # What is not set is not passed on: a conversation may then sample as the model recommends.
    generation |= {name: value for name, value in chosen.items() if value is not None}  # type: ignore[typeddict-item]
    return load_chat_model(
        resolve(settings.model, settings.models_dir),
        adapter=settings.adapter,
        template=settings.template,
        dtype=settings.dtype,
        device=settings.device,
        context_window=settings.context_window,
        prefix_style=settings.prefix_style,
        saved_prompts=_saved_prompts(settings),
        **generation,
    )


def stated_traits(settings: Settings) -> Traits:
    """What the checkpoint of the settings states of itself, without loading it; nothing where it is no folder here.

    Raises:
        ModelError: the settings name no model that is here, or what it states cannot be read.
    """
    from egosrag.models.catalogue import resolve
    from egosrag.models.runtime.checkpoint import EMBEDDED_MODEL, embedded_folder
    from egosrag.traits import Traits, read_traits

    name = resolve(settings.model, settings.models_dir)
    folder = embedded_folder() if name == EMBEDDED_MODEL else Path(name).expanduser()
    return read_traits(folder) if folder.is_dir() else Traits()


def _saved_prompts(settings: Settings) -> SavedPrompts | None:
    from egosrag.models.runtime.prompt_files import SavedPrompts

    return SavedPrompts(settings.saved_prompts_dir, settings.prompt_cache_mb) if settings.prompt_cache_mb else None


def extract_model(settings: Settings, chat: BaseChatModel | None = None) -> BaseChatModel:
    """The model for Extract: the one of ``settings.extract_model``, else the chat model.

    Args:
        settings: the settings.
        chat: the chat model, if it is loaded already.

    Raises:
        ModelError: it cannot be found or loaded.
    """
    if settings.extract_model is None:
        return chat or chat_model(settings)
    own = {"model": settings.extract_model, "adapter": None, "template": True, "context_window": None}
    return chat_model(settings.model_copy(update=own))


def reviser_for(model: BaseChatModel) -> PocketReviser | None:
    """The reviser of a model that needs one (trait ``revises_drafts``), for Generate, Extract and Summarize."""
    from egosrag.models.traits import traits_of
    from egosrag.pocket.reviser import PocketReviser

    return PocketReviser() if traits_of(model).revises_drafts else None


def sample(name: str) -> Path:
    """The path of a sample file in the package (egosrag/data/README.md lists them).

    Raises:
        SourceError: there is no sample of that name.
    """
    path = FOLDER / name
    if not path.is_file():
        raise SourceError(f"there is no sample {name}: see the list in egosrag/data/README.md")
    return path
