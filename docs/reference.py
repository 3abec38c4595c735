"""Write the API reference from the docstrings: ``python docs/reference.py [FOLDER]``, or ``make docs``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pdoc

OUT = Path("runs/docs")
MODULES = (
    "egosrag",
    "egosrag.assemble",
    "egosrag.chat",
    "egosrag.egos.extract",
    "egosrag.egos.generate",
    "egosrag.egos.group",
    "egosrag.egos.lorebook",
    "egosrag.egos.organize",
    "egosrag.egos.pipeline",
    "egosrag.egos.roles",
    "egosrag.egos.summarize",
    "egosrag.errors",
    "egosrag.models",
    "egosrag.presets",
    "egosrag.quotes",
    "egosrag.rag.dense",
    "egosrag.rag.engine",
    "egosrag.rag.index",
    "egosrag.rag.rerank",
    "egosrag.schema",
    "egosrag.settings",
)


@contextmanager
def loaded(modules: Sequence[ModuleType]) -> Iterator[None]:
    """Every name of ``__all__`` in its module's dictionary: pdoc looks there and does not ask ``__getattr__``."""
    lazy = [(m, name) for m in modules for name in getattr(m, "__all__", ()) if name not in vars(m)]
    for module, name in lazy:
        setattr(module, name, getattr(module, name))
    try:
        yield
    finally:
        for module, name in lazy:
            delattr(module, name)


def write(out: Path) -> Path:
    """The reference as HTML in ``out``; gives the page to begin with."""
    pdoc.render.configure(docformat="google", footer_text="EGOS-RAG", show_source=False)
    with loaded([import_module(name) for name in MODULES]):
        pdoc.pdoc(*MODULES, output_directory=out)
    return out / "egosrag.html"


if __name__ == "__main__":
    print(write(Path(sys.argv[1]) if sys.argv[1:] else OUT))
