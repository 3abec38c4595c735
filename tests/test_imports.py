"""The house's plan: who may import whom, and what an import may load."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import egosrag

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "egosrag"
MODULES = sorted(PACKAGE.rglob("*.py"))
HEAVY = ("torch", "transformers", "peft", "langchain", "langchain_core", "langgraph", "llama_index", "faiss", "jieba")

# A module may import modules of lower layers and of its own room; the longest matching prefix decides.
LAYERS = {
    "egosrag": 0,
    "egosrag.limits": -1,
    "egosrag.errors": 0,
    "egosrag.caller": 0,
    "egosrag.schema": 0,
    "egosrag.text": 1,
    "egosrag.traits": 1,
    "egosrag.samples": 1,
    "egosrag.console": 1,
    "egosrag.presets": 1,
    "egosrag.postgres": 1,
    "egosrag.parallel": 1,
    "egosrag.settings": 2,
    "egosrag.prompts": 2,
    "egosrag.models": 3,
    "egosrag.roles": 3,
    "egosrag.rag.documents": 3,
    "egosrag.pocket": 6,
    "egosrag.egos": 5,
    "egosrag.rag": 5,
    "egosrag.chatbot": 5,
    "egosrag.sessions": 6,
    "egosrag.assemble": 7,
    "egosrag.cli": 9,
    "egosrag.serve": 8,
    "egosrag.mcp": 8,
    "egosrag.host": 8,
}
STEPS = {"egosrag.egos." + step for step in ("extract.static", "extract.dynamic", "generate", "organize", "summarize")}


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(file: Path) -> set[str]:
    """The egosrag modules that a file imports anywhere, inside functions and for types too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute in this house"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                known = (PACKAGE.parent / whole.replace(".", "/")).with_suffix(".py").is_file()
                found.add(whole if known or node.module == "egosrag" else str(node.module))
    return {name for name in found if name.split(".")[0] in ("egosrag", "apps", "finetune", "evals", "tests")}


def room_of(name: str) -> str:
    return max((room for room in LAYERS if name == room or name.startswith(room + ".")), key=len)


def runtime_imports_of(file: Path) -> set[str]:
    """The modules of the project that a file imports when it runs, inside functions too; not those for types alone."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                is_module = (ROOT / whole.replace(".", "/")).with_suffix(".py").is_file()
                found.add(whole if is_module else str(node.module))
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("package", ["egosrag", "evals", "finetune"])
def test_there_are_no_import_circles(package: str) -> None:
    graph = {name_of(file): runtime_imports_of(file) for file in (ROOT / package).rglob("*.py")}
    graph.pop("egosrag", None)  # loads the public names lazily, wherever they live
    sorter = TopologicalSorter({name: found & graph.keys() - {name} for name, found in graph.items()})
    try:
        sorter.prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_imports_point_one_way(file: Path) -> None:
    name, imported = name_of(file), imports_of(file)
    if name == "egosrag":
        return  # the catalogue of public names: it loads them lazily, wherever they live
    assert name.split(".")[0] == "egosrag"
    assert not {i for i in imported if not i.startswith("egosrag")}, "nothing in egosrag imports outward"
    room = room_of(name)
    assert room != "egosrag", f"{name} has no place in the plan: give it a layer in this test and in the design"
    for other in imported:
        beside = name.rsplit(".", 1)[0] == other.rsplit(".", 1)[0] != "egosrag"
        if room_of(other) != room and not (beside and LAYERS[room_of(other)] == LAYERS[room]):
            assert LAYERS[room_of(other)] < LAYERS[room], f"{name} may not import {other}"


def test_steps_never_import_each_other() -> None:
    for step in STEPS:
        file = ROOT / (step.replace(".", "/") + ".py")
        assert not imports_of(file) & (STEPS - {step})


def test_roles_and_manuals_do_not_know_each_other() -> None:
    for one, other in (("egosrag.egos", "egosrag.rag"), ("egosrag.rag", "egosrag.egos")):
        for file in (PACKAGE / one.split(".")[1]).rglob("*.py"):
            assert not {i for i in imports_of(file) if i.startswith(other)}, name_of(file)


def test_rooms_are_handed_values_and_never_settings() -> None:
    for file in MODULES:
        rooms = {f"egosrag.{room}" for room in ("models", "roles", "egos", "sessions", "rag", "chatbot", "pocket")}
        if room_of(name_of(file)) in rooms:
            assert "egosrag.settings" not in imports_of(file), name_of(file)


def test_apps_and_evals_use_public_modules_and_finetune_the_shared_renderer() -> None:
    allowed = {
        "apps": {"egosrag", "egosrag.assemble", "egosrag.console", "egosrag.host", "egosrag.presets"},
        # What is measured by itself (retrieval, memory) is imported from its room; nothing else of the inside is.
        "evals": {
            f"egosrag.{room}"
            for room in ("assemble", "schema", "errors", "text", "prompts", "console", "models", "traits", "parallel")
        }
        | {"egosrag", "egosrag.rag", "egosrag.rag.documents", "egosrag.sessions", "egosrag.egos", "egosrag.roles"},
        # Weights are loaded as the models load them; the embedder learns from passages as the index cuts them; rows of
        # role-play have character cards.
        "finetune": {
            f"egosrag.{room}"
            for room in ("schema", "text", "traits", "prompts", "errors", "models", "roles", "rag", "rag.documents")
        },
    }
    public = {f"egosrag.{name}" for name in egosrag.__all__}
    for folder, rooms in allowed.items():
        for file in (ROOT / folder).rglob("*.py"):
            for other in imports_of(file):
                if other.split(".")[0] == "egosrag" and other not in public:
                    assert {other, room_of(other)} & rooms, f"{file.relative_to(ROOT)} may not import {other}"
                # What pocket is measured on is drawn by the grammar that it was trained with.
                grammar = folder == "evals" and other.startswith("finetune.pocket.grammar")
                inside = other.split(".")[0] in ("egosrag", folder)
                # The pages show what evaluations and trainings left on disk, by what reads it, and ask for labels.
                shown = folder == "apps" and other.startswith(("evals.look", "evals.judge.", "finetune.runs"))
                assert inside or grammar or shown, f"{file.relative_to(ROOT)} imports {other}"


def test_import_egosrag_loads_no_heavy_library() -> None:
    code = f"import egosrag, sys; print([m for m in {HEAVY} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_help_loads_no_heavy_library() -> None:
    code = f"import egosrag.cli.main, sys; print([m for m in {HEAVY} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_public_names_are_at_most_twelve_and_all_there() -> None:
    assert len(egosrag.__all__) <= 12
    for name in egosrag.__all__:
        assert getattr(egosrag, name).__name__ == name
    with pytest.raises(AttributeError, match="no_such_name"):
        egosrag.no_such_name  # noqa: B018


def test_every_core_dependency_is_imported_and_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    sources = "\n".join(f.read_text(encoding="utf-8") for f in MODULES)
    import_name = {
        "faiss-cpu": "faiss",
        "beautifulsoup4": "bs4",
        "langgraph-checkpoint-sqlite": "langgraph.checkpoint.sqlite",
        "llama-index-core": "llama_index.core",
        "markdown-it-py": "markdown_it",
        "lxml": "bs4",  # the parser that Beautiful Soup is given by its name
        "pillow": "PIL",
        "pystemmer": "Stemmer",
        "python-docx": "docx",
        "pyyaml": "yaml",
        "sentence-transformers": "langchain_huggingface",  # its embeddings stand on it and do not require it
    }
    for requirement in project["dependencies"]:
        name = requirement.split(">")[0].split("=")[0]
        module = import_name.get(name, name.replace("-", "_"))
        assert f"import {module}" in sources or f"from {module}" in sources, f"{name} is required but never imported"
        assert name in pinned, f"{name} is not in constraints.txt"
