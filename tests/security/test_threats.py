"""The threat model: every test that it names exists, and what it says of the whole program holds."""

from __future__ import annotations

import ast
import itertools
import re
import tomllib
from pathlib import Path

import pytest
from langchain_core.load import dumps

from egosrag import limits
from egosrag.errors import SourceError
from egosrag.models.load import load_chat_model
from egosrag.rag.documents.load import load_pages
from egosrag.sessions.catalog import archive_of
from egosrag.sessions.conversation import Conversation
from egosrag.sessions.store import open_store
from egosrag.sessions.transfer import write
from tests.conftest import ROOT
from tests.roles.cards import TIM
from tests.sessions.child_process import EchoModel

TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", TEXT)
CODE = [f for folder in ("egosrag", "apps", "finetune", "evals") for f in sorted((ROOT / folder).rglob("*.py"))]
#: jieba's dictionary in the user's own cache, which jieba itself reads in the same way: see SECURITY.md.
ALLOWED = {("egosrag/rag/index/bm25.py", "marshal")}
LOADERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
FETCHERS = {"requests", "httpx", "aiohttp", "urllib.request", "urllib3", "http.client", "ftplib", "socket"}


def test_the_model_names_tests_on_every_line() -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("| T")]
    assert len(rows) >= 10
    assert all(re.search(r"`tests/[\w/]+\.py::test_\w+`", row) for row in rows)


@pytest.mark.parametrize(("file", "test"), sorted(set(NAMED)))
def test_a_named_test_exists(file: str, test: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert test in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_the_limits_that_are_stated_are_all_there_are() -> None:
    stated = {
        name: float(value.replace(",", "")) for name, value in re.findall(r"\| `([A-Z_]+)` \| ([\d,.]+) \|", TEXT)
    }
    assert stated == {name: value for name, value in vars(limits).items() if name.isupper()}


def test_every_limit_says_what_it_limits_and_counts() -> None:
    """Each has a docstring, and is read somewhere by its name."""
    body = ast.parse(Path(limits.__file__).read_text(encoding="utf-8")).body
    code = "\n".join(f.read_text(encoding="utf-8") for f in CODE if f != Path(limits.__file__))
    for node, after in itertools.pairwise(body):
        if isinstance(node, ast.Assign):
            name = ast.unparse(node.targets[0])
            assert isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant), f"{name} has no docstring"
            assert len(re.findall(rf"\b{name}\b", code)) >= 2, f"{name} is imported, and compared with"


def test_the_browser_is_told_the_limit_of_an_upload() -> None:
    config = tomllib.loads((ROOT / "apps" / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    assert config["server"]["maxUploadSize"] == limits.UPLOAD_BYTES >> 20


def _unsafe(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if alias.name.partition(".")[0] in LOADERS]
    if isinstance(node, ast.ImportFrom):
        return [node.module] if (node.module or "").partition(".")[0] in LOADERS else []
    if not isinstance(node, ast.Call):
        return []
    called = ast.unparse(node.func)
    found = (
        [called] if called in ("eval", "exec", "compile", "__import__", "torch.load", "yaml.load", "os.system") else []
    )
    for word in node.keywords:
        given = not (isinstance(word.value, ast.Constant) and word.value.value is False)
        names = ("trust_remote_code", "allow_pickle", "shell", "allow_dangerous_deserialization", "pickle_fallback")
        found += [word.arg] if word.arg in names and given else []
    return found


@pytest.mark.parametrize(
    "code",
    ["import pickle", "from pickle import loads", "eval(x)", "torch.load(p)", "yaml.load(t)",
     "f(trust_remote_code=True)", "f(trust_remote_code=x)", "run(c, shell=True)", "np.load(p, allow_pickle=True)"],
)  # fmt: skip
def test_what_is_unsafe_is_seen(code: str) -> None:
    assert any(_unsafe(node) for node in ast.walk(ast.parse(code)))


def test_nothing_is_built_or_run_from_data() -> None:
    found = {
        (str(file.relative_to(ROOT)), what)
        for file in CODE
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        for what in _unsafe(node)
    }
    assert found <= ALLOWED


def test_the_readers_of_documents_cannot_open_an_address() -> None:
    for file in sorted((ROOT / "egosrag" / "rag").rglob("*.py")) + sorted((ROOT / "egosrag" / "egos").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not FETCHERS & set(names), f"{file} can fetch"


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/a.md", "file:///etc/hosts.txt", "http://169.254.169.254/a.html"]
)
def test_an_address_is_no_document(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("it was fetched"))
    with pytest.raises(SourceError, match="there is no file"):
        load_pages([address])


def test_what_a_page_of_html_points_to_is_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("it was fetched"))
    page = tmp_path / "a.html"
    page.write_text(
        '<link rel=stylesheet href="http://127.0.0.1:9/a.css"><img src="http://127.0.0.1:9/a.png">'
        '<iframe src="file:///etc/passwd"></iframe><p>The oil is changed once a year.</p>'
    )
    assert [p.text.strip() for p in load_pages([page])] == ["The oil is changed once a year."]


@pytest.mark.parametrize(
    "name", ["../../outside", "/etc/outside", "..\\outside", "a/../../b", "nul\x01l", "~root", "%2e%2e%2f"]
)
def test_a_sessions_name_is_no_path(name: str, tmp_path: Path) -> None:
    place = tmp_path / "deep" / "inside"
    place.mkdir(parents=True)
    with open_store(place / "talk.sqlite") as store:
        assert Conversation(EchoModel(), TIM, checkpointer=store, session=name).say("line 0").text
        files = {p.relative_to(tmp_path).parts[:2] for p in tmp_path.rglob("*") if p.is_file()}
    assert files == {("deep", "inside")}


def test_a_key_is_in_no_model_shown_traced_or_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "sk-quite-secret-0123456789"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    model = load_chat_model("openai:some")
    assert key not in repr(model) + str(model) + dumps(model) + str(model._get_ls_params())
    with open_store(tmp_path / "talk.sqlite") as store:
        Conversation(EchoModel(), TIM, checkpointer=store, session="s").say("line 0")
        for ending in ("json", "jsonl", "md"):
            write(archive_of(store, "s", [TIM]), tmp_path / f"out.{ending}")
    assert all(key.encode() not in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
