"""Models that say what they are told, and an adapter, for the tests of this room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from egosrag.models.local import LocalChatModel
from tests.tiny import make_tiny_adapter, make_tiny_qwen

Says = Callable[..., LocalChatModel]


@pytest.fixture(scope="session")
def says(tmp_path_factory: pytest.TempPathFactory) -> Says:
    """Models that say a given text after any prompt, and end."""
    folders: dict[str, Path] = {}

    def make(text: str, **settings: Any) -> LocalChatModel:
        if text not in folders:
            folders[text] = tmp_path_factory.mktemp("says")
            make_tiny_qwen(folders[text], says=text)
        return LocalChatModel(model=str(folders[text]), **settings)

    return make


@pytest.fixture(scope="session")
def adapter(tiny_qwen: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("adapter")
    make_tiny_adapter(tiny_qwen, path)
    return str(path)
