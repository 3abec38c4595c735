"""Fixtures of the evaluations' tests: a LangSmith server on this machine, and random tasks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from langsmith import Client

import evals.common.langsmith
from tests.evals.langsmith_fake import FakeLangSmith
from tests.evals.ppl.data import make_data


@pytest.fixture
def langsmith(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLangSmith]:
    """A LangSmith server on loopback, to which ``--upload`` sends."""
    fake = FakeLangSmith()
    client = Client(api_url=fake.url, api_key="test", auto_batch_tracing=False)
    monkeypatch.setattr(evals.common.langsmith, "client", lambda: client)
    yield fake
    fake.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files of 16 questions for each task of PPL mode, by its name."""
    return make_data(tmp_path_factory.mktemp("ppl"), 16)
