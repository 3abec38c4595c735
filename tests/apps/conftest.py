"""One server, one model and one browser for all tests that use the pages as a person; each test is a new visitor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.apps.browser import browser, server
from tests.apps.model_server import ModelServer, model_server
from tests.apps.use import Use


@pytest.fixture(scope="session")
def model() -> Iterator[ModelServer]:
    with model_server() as running:
        yield running


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory, model: ModelServer) -> Iterator[tuple[Any, str]]:
    folder = tmp_path_factory.mktemp("app")
    with server(folder, OPENAI_BASE_URL=model.address) as address, browser(folder) as driver:
        yield driver, address


@pytest.fixture
def use(parts: tuple[Any, str], model: ModelServer) -> Use:
    """A new visitor with the embedded model."""
    driver, address = parts
    model.reset()
    driver.get(f"{address}/_stcore/health")
    driver.delete_all_cookies()
    driver.execute_script("sessionStorage.clear()")
    driver.set_window_size(1200, 900)
    use = Use(driver, address, model)
    use.open("", "Edda")
    return use
