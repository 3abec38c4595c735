"""What the tests of this room share: the sample manuals, indexed once."""

from __future__ import annotations

from pathlib import Path

import pytest

from egosrag.rag.index.manual_index import ManualIndex
from tests.conftest import ROOT, SAMPLES


@pytest.fixture(scope="session")
def manuals() -> dict[str, ManualIndex]:
    """The index of each sample manual, by its language."""
    return {language: ManualIndex.build([SAMPLES / f"manual.{language}.pdf"]) for language in ("zh", "en")}


@pytest.fixture(params=["folder", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an index can be kept: a folder, and then a database; both are new."""
    return str(tmp_path / "index") if request.param == "folder" else request.getfixturevalue("postgres") + "#car.1"


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """Small inputs that once went wrong, which are kept beside the checkout."""
    path = ROOT.parent / "shared" / "cases"
    if not path.is_dir():
        pytest.skip("the cases are not beside this checkout: ../shared/cases is absent")
    return path


@pytest.fixture(scope="session")
def car_manual(shared_data: Path) -> ManualIndex:
    """The index of the manual of a real car, 354 pages as PDF."""
    path = shared_data / "carmanual" / "manual_rebuilt.pdf"
    if not path.is_file():
        pytest.skip("the car manual is not among the real data")
    return ManualIndex.build([path])
