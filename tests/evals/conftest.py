"""What the tests of evaluations share: LangSmith on this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from langsmith import Client

from evals import experiment
from tests.evals.langsmith_fake import FakeLangSmith


@pytest.fixture
def langsmith(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLangSmith]:
    """A LangSmith server on loopback, which is the one that ``--upload`` sends to."""
    fake = FakeLangSmith()
    made = Client(api_url=fake.url, api_key="test", auto_batch_tracing=False)
    monkeypatch.setattr(experiment, "client", lambda: made)
    yield fake
    fake.close()
