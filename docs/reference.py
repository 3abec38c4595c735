"""Generate the API reference from the docstrings: ``python docs/reference.py [FOLDER]``, or ``make docs``."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from types import ModuleType

import pdoc

import egosrag

OUT = Path("runs/docs")


def modules() -> list[str]:
    """The names of all modules of the package."""
    return ["egosrag", *(module.name for module in walk_packages(egosrag.__path__, "egosrag."))]


@contextmanager
def lazy_names_loaded(modules: Sequence[ModuleType]) -> Iterator[None]:
    """Every name of ``__all__`` is in its module's dictionary: pdoc looks there and does not call ``__getattr__``."""
    lazy = [(m, name) for m in modules for name in getattr(m, "__all__", ()) if name not in vars(m)]
    for module, name in lazy:
        setattr(module, name, getattr(module, name))
    try:
        yield
    finally:
        for module, name in lazy:
            delattr(module, name)


def set_constructor_modules(modules: Sequence[ModuleType]) -> None:
    """Set the module of each named tuple's constructor: pdoc resolves the names of its types there."""
    for module in modules:
        for kind in vars(module).values():
            if isinstance(kind, type) and issubclass(kind, tuple) and kind.__module__ == module.__name__:
                kind.__new__.__module__ = module.__name__


def write(out: Path) -> Path:
    """Write the reference as HTML into ``out``.

    Returns:
        The start page.
    """
    names = modules()
    pdoc.render.configure(docformat="google", footer_text="EGOS-RAG", show_source=False)
    loaded = [import_module(name) for name in names]
    set_constructor_modules(loaded)
    with lazy_names_loaded(loaded), warnings.catch_warnings():
        # pdoc adds the modules of a package by itself, but not if the package has an ``__all__``.
        warnings.filterwarnings("ignore", "The module specification .* adds a module named")
        pdoc.pdoc(*names, output_directory=out)
    return out / "egosrag.html"


if __name__ == "__main__":
    print(write(Path(sys.argv[1]) if sys.argv[1:] else OUT))
