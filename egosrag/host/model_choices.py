"""The models that a visitor can choose: those of the catalogue, files on this machine, and models of a local server."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from egosrag.console import Reporter
from egosrag.models.catalogue import entries
from egosrag.settings import Settings

Kind = Literal["embedded", "catalogue", "file", "server", "other"]
Ability = Literal["toy", "small", "able", "unknown"]
EMBEDDED = "pocket"
_TOY_BYTES, _SMALL_BYTES = 400_000_000, 1_900_000_000  # of the weights: a model below says little that is sensible
_SERVER_TIMEOUT_S = 0.3
_HOSTED = re.compile(r"(gpt-|o[1-9]|chatgpt-)", re.IGNORECASE)
_DEEPSEEK = re.compile(r"deepseek-(chat|reasoner)", re.IGNORECASE)


class ModelChoice(NamedTuple):
    """A model that can be chosen.

    Attributes:
        name: what the settings call it.
        kind: where it is from.
        size: bytes of its files; 0: not known.
        memory: bytes of memory that it needs, about; 0: not known.
        here: whether it can be used at once.
    """

    name: str
    kind: Kind
    size: int = 0
    memory: int = 0
    here: bool = True


def model_choices(settings: Settings, allowed: Sequence[str] = ()) -> list[ModelChoice]:
    """The models that can be chosen, those that can be used at once first.

    Args:
        settings: their model is among the choices.
        allowed: names to which the choice is limited; none: no limit.
    """
    catalogue = [
        ModelChoice(e.name, "catalogue", e.size, e.memory, e.is_here(settings.models_dir)) for e in entries().values()
    ]
    found = [ModelChoice(EMBEDDED, "embedded"), *_files(settings), *_served(), *catalogue]
    if settings.model not in {choice.name for choice in found}:
        found.insert(0, ModelChoice(settings.model, "other"))
    if allowed:
        by_name = {choice.name: choice for choice in found}
        return [by_name.get(name, ModelChoice(name, "other")) for name in allowed]
    return sorted(found, key=lambda choice: not choice.here)


def suggested_name(name: str, choices: Sequence[ModelChoice]) -> str:
    """What was probably meant by a name that no model has, such as ``openai:gpt-4o`` by ``gpt-4o``; empty: no idea."""
    name = name.strip()
    if not name or any(choice.name == name for choice in choices) or ":" in name or Path(name).exists():
        return ""
    if _HOSTED.match(name):
        return f"openai:{name}"
    if _DEEPSEEK.fullmatch(name):
        return f"deepseek:{name}"
    served = {choice.name.partition(":")[2]: choice.name for choice in choices if choice.kind == "server"}
    if name in served:
        return served[name]
    if "/" in name or "\\" in name:
        return ""
    return next(iter(get_close_matches(name, [choice.name for choice in choices], n=1)), "")


def ability(name: str, choices: Sequence[ModelChoice]) -> Ability:
    """What can be expected of a model, by its size."""
    choice = next((choice for choice in choices if choice.name == name), None)
    if name == EMBEDDED:
        return "toy"
    if choice is None or not choice.size:
        return "unknown"
    return "toy" if choice.size < _TOY_BYTES else "small" if choice.size < _SMALL_BYTES else "able"


def recommended(choices: Sequence[ModelChoice], free_memory: int) -> ModelChoice | None:
    """The model of the catalogue to get first: the smallest one that plays roles, where the memory has space for it."""
    fitting = [c for c in choices if c.kind == "catalogue" and c.size >= _TOY_BYTES and c.memory <= free_memory]
    named = [c for c in fitting if c.name == "qwen2.5-1.5b"]
    return next(iter(named or sorted(fitting, key=lambda choice: choice.size)), None)


def get_model(settings: Settings, name: str, progress: Reporter) -> str:
    """Fetch a model of the catalogue, as ``egosrag models get`` does. Returns its name.

    Raises:
        ModelError: there is no such model, or it cannot be fetched.
    """
    from egosrag.models import catalogue, download

    download.get(catalogue.entry(name), settings.models_dir, mirror=settings.hub_mirror, progress=progress)
    return name


def free_memory() -> int:
    """Bytes of memory that are free on this machine."""
    import psutil

    return int(psutil.virtual_memory().available)


def _files(settings: Settings) -> list[ModelChoice]:
    """GGUF files in the current folder and in the folder of models that are none of the catalogue."""
    known = {file.name for entry in entries().values() for file in entry.files}
    folders = (Path.cwd(), settings.models_dir)
    paths = [path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*.gguf"))]
    return [
        ModelChoice(str(path), "file", size := path.stat().st_size, int(1.2 * size))
        for path in paths
        if path.name not in known
    ]


def _served() -> list[ModelChoice]:
    """The models of the server of ``OPENAI_BASE_URL``, where that is on this machine and answers."""
    address = os.environ.get("OPENAI_BASE_URL", "")
    if urlsplit(address).hostname not in ("127.0.0.1", "localhost", "::1"):
        return []
    import httpx

    try:
        answer = httpx.get(f"{address.rstrip('/')}/models", timeout=_SERVER_TIMEOUT_S, trust_env=False)
        names = [row["id"] for row in answer.raise_for_status().json()["data"]]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return []
    return [ModelChoice(f"openai:{name}", "server") for name in names if isinstance(name, str) and name.isprintable()]
