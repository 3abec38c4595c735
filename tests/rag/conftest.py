"""What the tests of this room share: the sample manuals, indexed once."""

from __future__ import annotations

import pytest

from egosrag.rag.index import ManualIndex
from tests.conftest import SAMPLES


@pytest.fixture(scope="session")
def manuals() -> dict[str, ManualIndex]:
    """The index of each sample manual, by its language."""
    return {language: ManualIndex.build([SAMPLES / f"manual.{language}.pdf"]) for language in ("zh", "en")}
