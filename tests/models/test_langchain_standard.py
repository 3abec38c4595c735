"""LangChain's standard tests of chat models (``langchain-tests``), for ours.

The subclasses say what a model is; the tests are LangChain's. Its unit tests give every model the parameters of one on
a server. A model in this process has no key, no time limit and no retries, and refuses them as it does any unknown
setting, so they are left out of its parameters; the others of the standard (temperature, max_tokens, stop, streaming)
are in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from egosrag.models.api import ApiChatModel
from egosrag.models.local import LocalChatModel
from egosrag.models.scripted import ScriptedChatModel
from tests.models.conftest import gguf_of
from tests.models.test_api import serve
from tests.models.tool_server import respond

OF_SERVERS = {"api_key", "max_retries", "timeout"}

# pytest-asyncio runs what is marked; LangChain's tests rely on its mode "auto", which would be for all of ours too.
for _test in vars(ChatModelIntegrationTests).values():
    if iscoroutinefunction(_test):
        pytest.mark.asyncio(_test)


@pytest.fixture
def benchmark() -> Callable[[Callable[[], None]], None]:
    """In place of pytest-benchmark's: once is enough to see that it works."""
    return lambda run: run()


@pytest.fixture
def vcr() -> None:
    """In place of pytest-recording's, for a test of recorded requests that is skipped."""


class _InProcess:
    """A model that writes text: no tools, and no structured output, which LangChain makes of tools."""

    params: dict[str, Any]
    refused = OF_SERVERS

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return self.params

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        standard: dict[str, Any] = super().standard_chat_model_params  # type: ignore[misc]
        return {name: value for name, value in standard.items() if name not in self.refused}

    @property
    def has_tool_calling(self) -> bool:
        return False

    @property
    def has_structured_output(self) -> bool:
        return False


class _Local(_InProcess):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return LocalChatModel

    @pytest.fixture(autouse=True)
    def _params(self, tiny_qwen: Path) -> None:
        self.params = {"model": str(tiny_qwen), "max_new_tokens": 8}


class TestLocalUnit(_Local, ChatModelUnitTests):
    pass


class TestLocal(_Local, ChatModelIntegrationTests):
    pass


class _Gguf(_InProcess):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        from egosrag.models.gguf import GgufChatModel

        return GgufChatModel

    @pytest.fixture(autouse=True)
    def _params(self, tiny_qwen: Path) -> None:
        self.params = {"model": str(gguf_of(tiny_qwen)), "max_new_tokens": 8}


class TestGgufUnit(_Gguf, ChatModelUnitTests):
    pass


class TestGguf(_Gguf, ChatModelIntegrationTests):
    pass


class _Scripted(_InProcess):
    refused = OF_SERVERS | {"temperature"}  # a script says what it says

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ScriptedChatModel

    @pytest.fixture(autouse=True)
    def _params(self) -> None:
        self.params = {"responses": ["I am Tim, and you are not."] * 9}


class TestScriptedUnit(_Scripted, ChatModelUnitTests):
    pass


class TestScripted(_Scripted, ChatModelIntegrationTests):
    pass


class _Api:
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ApiChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "m", "base_url": self.url, "api_key": "sk-1"}

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        standard: dict[str, Any] = super().standard_chat_model_params  # type: ignore[misc]
        return {name: value for name, value in standard.items() if name != "api_key"}  # one is given above

    @pytest.fixture(autouse=True)
    def _server(self) -> Iterator[None]:
        with serve() as server:
            server.respond = respond
            self.url = f"http://127.0.0.1:{server.server_port}/v1"
            yield

    @property
    def supports_json_mode(self) -> bool:
        return True


class TestApiUnit(_Api, ChatModelUnitTests):
    pass


class TestApi(_Api, ChatModelIntegrationTests):
    pass
