"""Models in this process over tiny checkpoints: by transformers, and the same weights as GGUF files by llama.cpp."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from egosrag.models.local import LocalChatModel
from tests.tiny import make_tiny_adapter, make_tiny_qwen

Tiny = Callable[..., Any]
FixedReply = Callable[..., Any]


def gguf_of(folder: Path) -> Path:
    """The weights of a checkpoint folder as a GGUF file beside it."""
    pytest.importorskip("xllamacpp", reason="llama.cpp is in the extra gguf")
    from evals.speed.llama_cpp import to_gguf

    file = folder.with_name(f"{folder.name}.gguf")
    return file if file.is_file() else to_gguf(folder, file, "F32")


def open_model(kind: str, folder: Path, **settings: Any) -> Any:
    """The model of a checkpoint folder: "local" or "gguf"."""
    if kind == "local":
        return LocalChatModel(model=str(folder), **settings)
    file = gguf_of(folder)
    from egosrag.models.gguf import GgufChatModel

    return GgufChatModel(model=str(file), **settings)


@pytest.fixture(scope="session", params=["local", "gguf"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def tiny(kind: str, tiny_qwen: Path) -> Tiny:
    """Makes models of the tiny random checkpoint, with replies of 12 tokens."""
    return lambda **settings: open_model(kind, tiny_qwen, **{"max_new_tokens": 12, **settings})


@pytest.fixture(scope="session")
def fixed_reply(kind: str, tmp_path_factory: pytest.TempPathFactory) -> FixedReply:
    """Makes models that reply with a given text to any prompt."""
    folders: dict[str, Path] = {}

    def make(text: str, **settings: Any) -> Any:
        if text not in folders:
            folders[text] = tmp_path_factory.mktemp("reply")
            make_tiny_qwen(folders[text], reply=text)
        return open_model(kind, folders[text], **settings)

    return make


@pytest.fixture(scope="session")
def adapter(tiny_qwen: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("adapter")
    make_tiny_adapter(tiny_qwen, path)
    return str(path)
