"""What the tests of evaluations share: LangSmith on this machine, and made-up tasks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from langsmith import Client

from evals.common import experiment
from tests.evals.langsmith_fake import FakeLangSmith
from tests.evals.ppl.data import make_data


@pytest.fixture
def langsmith(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLangSmith]:
    """A LangSmith server on loopback, which is the one that ``--upload`` sends to."""
    fake = FakeLangSmith()
    made = Client(api_url=fake.url, api_key="test", auto_batch_tracing=False)
    monkeypatch.setattr(experiment, "client", lambda: made)
    yield fake
    fake.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files of 16 questions for each task of PPL mode, by its name."""
    return make_data(tmp_path_factory.mktemp("ppl"), 16)
