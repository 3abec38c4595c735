"""The API reference is built from the docstrings without a warning, and contains the public names."""

from __future__ import annotations

import inspect
import runpy
import warnings
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

import egosrag

SCRIPT = Path(__file__).resolve().parent.parent / "docs" / "reference.py"


class Ids(HTMLParser):
    """The ids of a page's sections: all, and those with a docstring."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.all: list[str] = []
        self.documented: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "section" and named.get("id"):
            self.all.append(str(named["id"]))
        elif self.all and "docstring" in str(named.get("class")).split():
            self.documented.add(self.all[-1])


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    script = runpy.run_path(str(SCRIPT))
    before = set(vars(egosrag))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", module="pdoc")
        page = script["write"](tmp_path_factory.mktemp("reference"))
    assert isinstance(page, Path)
    # The lazy names loaded for pdoc are removed again (modules stay: Python sets them).
    assert not [n for n in set(vars(egosrag)) - before if not isinstance(vars(egosrag)[n], ModuleType)]
    return page


def test_every_public_name_is_in_the_reference_with_a_docstring(reference: Path) -> None:
    ids = Ids(reference.read_text(encoding="utf-8"))
    assert set(egosrag.__all__) <= ids.documented
    for name in egosrag.__all__:
        assert inspect.getdoc(getattr(egosrag, name)), name


def test_every_module_has_its_page(reference: Path) -> None:
    folder = reference.parent
    pages = {".".join(page.relative_to(folder).with_suffix("").parts) for page in folder.rglob("*.html")}
    package = Path(egosrag.__file__).parent
    files = {".".join(file.relative_to(package.parent).with_suffix("").parts) for file in package.rglob("*.py")}
    assert {name.removesuffix(".__init__") for name in files} == pages - {"index"}
