"""Model traits: what a model was trained for, as its checkpoint or adapter folder states it.

A checkpoint states its traits as a JSON object in its own ``config.json``::

    "egosrag_traits": {"single_turn": true, "extractive_only": true, "revises_drafts": true, "prompts": "pocket"}

transformers keeps keys that it does not know, so a copy, a fine-tune (``save_pretrained``) and a merged adapter state
what the original states, whatever tool wrote them. PEFT warns of keys that it does not know and drops them, so an
adapter states its own in a file of the same object, ``traits.json``, beside its ``adapter_config.json``. A trait that
an adapter does not state is its base model's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from egosrag.errors import ModelError

CONFIG_KEY = "egosrag_traits"
"""The key of a checkpoint's ``config.json`` that holds its traits."""

ADAPTER_FILE = "traits.json"
"""The file of an adapter folder that holds its traits."""


@dataclass(frozen=True)
class Traits:
    """What callers need to know of a model before they prompt it.

    Attributes:
        single_turn: trained on single turns only, so that a history is best sent as one message (report 7.2.4).
        extractive_only: answers from passages worse than the passages' best sentence, so that a manual is quoted
            instead.
        revises_drafts: drafts of speech, cards and summaries need checking against the text that they were made from.
        prompts: the set of prompts that it was trained on, a folder in ``egosrag/prompts``; empty for the standard one.
    """

    single_turn: bool = False
    extractive_only: bool = False
    revises_drafts: bool = False
    prompts: str = ""


_NAMES = frozenset(field.name for field in fields(Traits))
_DEFAULTS = Traits()


def read_traits(folder: str | Path, base: Traits = _DEFAULTS) -> Traits:
    """The traits that a checkpoint or adapter folder states.

    Args:
        folder: the checkpoint or the adapter; one that states nothing is no error.
        base: the traits of what it does not state: for an adapter those of its base model.

    Raises:
        ModelError: the folder's JSON cannot be read, or a trait in it has the wrong type. Traits that are not known
            (of a later version) are ignored.
    """
    file, stated = _stated(Path(folder))
    known = {name: value for name, value in stated.items() if name in _NAMES and value is not None}
    for name, value in known.items():
        expected = "a string" if name == "prompts" else "true or false"
        if not isinstance(value, str if name == "prompts" else bool):
            raise ModelError(f"{file}: the trait {name} is {json.dumps(value)}, which must be {expected}")
    return replace(base, **known)


def write_traits(folder: str | Path, **traits: bool | str) -> None:
    """State traits in a checkpoint or adapter folder; those that it states already and that are not named stay.

    ``write_traits(out, single_turn=True)`` after training on single turns leaves what the base model states.

    Args:
        folder: a checkpoint (with a ``config.json``) or an adapter (with an ``adapter_config.json``).
        **traits: fields of ``Traits``.

    Raises:
        TypeError: there is no trait of that name.
        ModelError: the folder's JSON cannot be read.
    """
    if unknown := sorted(traits.keys() - _NAMES):
        raise TypeError(f"no trait {', '.join(unknown)}: {', '.join(sorted(_NAMES))} can be stated")
    file, stated = _stated(Path(folder))
    content = {**stated, **traits}
    if file.name != ADAPTER_FILE:
        content = {**_json(file), CONFIG_KEY: content}
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _stated(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The file of ``folder`` for its traits, and those that it states; an adapter may have no such file."""
    if (folder / "adapter_config.json").is_file():
        file = folder / ADAPTER_FILE
        stated = _json(file) if file.is_file() else None
    else:
        file = folder / "config.json"
        stated = _json(file).get(CONFIG_KEY)
    if stated is None:  # trained by finetune/ before traits were stated: on single turns
        return file, {"single_turn": True} if (folder / "run.json").is_file() else {}
    if not isinstance(stated, dict):
        raise ModelError(f"{file}: {CONFIG_KEY} is {json.dumps(stated)}, which must be an object")
    return file, stated


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{file} is not a JSON object")
    return content
