"""The models that a visitor can choose: those of the catalogue, files on this machine, and models of a local server."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, NamedTuple

from egosrag import assemble
from egosrag.console import Reporter
from egosrag.errors import ModelError
from egosrag.models.catalogue import entries
from egosrag.models.servers import PROGRAMS, find_servers, is_on_this_machine, server_at, split_name
from egosrag.settings import Settings

Kind = Literal["embedded", "catalogue", "file", "server", "other"]
Ability = Literal["toy", "small", "able", "unknown"]
EMBEDDED = "pocket"
PORTS = "EGOSRAG_APP_MODEL_PORTS"  # comma-separated: servers of models are looked for there too
_TOY_BYTES, _SMALL_BYTES = 400_000_000, 1_900_000_000  # of the weights: a model below says little that is sensible
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
        program: the server of a model of the kind "server", such as "Ollama".
    """

    name: str
    kind: Kind
    size: int = 0
    memory: int = 0
    here: bool = True
    program: str = ""


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
    if not name or any(choice.name == name for choice in choices):
        return ""
    served = {short_name(c.name).removeprefix("openai:"): c.name for c in reversed(choices) if c.kind == "server"}
    if name in served:
        return served[name]
    if ":" in name or Path(name).exists():
        return ""
    if _HOSTED.match(name):
        return f"openai:{name}"
    if _DEEPSEEK.fullmatch(name):
        return f"deepseek:{name}"
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
    """The models of the servers on this machine that answer: at ``OPENAI_BASE_URL``, and at the usual ports."""
    address = os.environ.get("OPENAI_BASE_URL", "").rstrip("/")
    configured = server_at("OPENAI_BASE_URL", address) if is_on_this_machine(address) else None
    found = [ModelChoice(f"openai:{name}", "server") for name in (configured.models if configured else ())]
    for server in find_servers(_programs()):
        if server.address != address.replace("localhost", "127.0.0.1"):
            found += [ModelChoice(server.name_of(m), "server", program=server.program) for m in server.models]
    return found


def _programs() -> dict[str, int]:
    """The programs and ports to look at: the usual ones, and the ports that the environment names."""
    named = [port.strip() for port in os.environ.get(PORTS, "").split(",")]
    ports = [int(port) for port in named if port.isascii() and port.isdigit() and int(port) < 2**16]
    return {**PROGRAMS, **{f":{port}": port for port in ports if port not in PROGRAMS.values()}}


def short_name(name: str) -> str:
    """A model's name to show: without the folder of a file, and without the address of a server."""
    model, address = split_name(name)
    if not address and name.lower().endswith(".gguf"):
        return name.replace("\\", "/").rpartition("/")[2]
    return model


def load_chosen(settings: Settings) -> Any:
    """The chat model that a visitor chose.

    A server on this machine is used only where it is found, so that a name that a visitor writes reaches no other
    program here.

    Raises:
        ModelError: it is not here yet, it cannot be loaded, or its server does not answer.
    """
    model, address = split_name(settings.model)
    if model in entries() and not entries()[model].is_here(settings.models_dir):
        raise ModelError(f"{model} is not on this computer yet: get it in the sidebar, or choose another")
    configured = Settings.load().model
    if address and settings.model != configured and settings.model not in {choice.name for choice in _served()}:
        raise ModelError(f"no server at {address} has the model {model}: start it, or choose another model")
    # Visitors may delete what they said; what this process has read is in its memory until it ends.
    return assemble.chat_model(settings.model_copy(update={"prompt_cache_mb": 0}))
