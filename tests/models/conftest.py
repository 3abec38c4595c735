"""Local models with a fixed reply, and an adapter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from egosrag.models.local import LocalChatModel
from tests.tiny import make_tiny_adapter, make_tiny_qwen

FixedReply = Callable[..., LocalChatModel]


@pytest.fixture(scope="session")
def fixed_reply(tmp_path_factory: pytest.TempPathFactory) -> FixedReply:
    """Makes models that reply with a given text to any prompt."""
    folders: dict[str, Path] = {}

    def make(text: str, **settings: Any) -> LocalChatModel:
        if text not in folders:
            folders[text] = tmp_path_factory.mktemp("reply")
            make_tiny_qwen(folders[text], reply=text)
        return LocalChatModel(model=str(folders[text]), **settings)

    return make


@pytest.fixture(scope="session")
def adapter(tiny_qwen: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("adapter")
    make_tiny_adapter(tiny_qwen, path)
    return str(path)
