"""The threat model of SECURITY.md: every test that it names exists, and its statements about the whole code hold."""

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
#: jieba's dictionary in the user's cache folder, which jieba itself reads the same way: see SECURITY.md.
ALLOWED = {("egosrag/text/words.py", "marshal")}
LOADERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
FETCHERS = {"requests", "httpx", "aiohttp", "urllib.request", "urllib3", "http.client", "ftplib", "socket"}


def test_every_threat_names_a_test() -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("| T")]
    assert len(rows) >= 10
    assert all(re.search(r"`tests/[\w/]+\.py::test_\w+`", row) for row in rows)


@pytest.mark.parametrize(("file", "test"), sorted(set(NAMED)))
def test_a_named_test_exists(file: str, test: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert test in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_security_md_lists_every_limit() -> None:
    stated = {
        name: float(value.replace(",", "")) for name, value in re.findall(r"\| `([A-Z_]+)` \| ([\d,.]+) \|", TEXT)
    }
    assert stated == {name: value for name, value in vars(limits).items() if name.isupper()}


def test_every_limit_is_documented_and_used() -> None:
    """Each has a docstring, and is used by its name somewhere."""
    body = ast.parse(Path(limits.__file__).read_text(encoding="utf-8")).body
    code = "\n".join(f.read_text(encoding="utf-8") for f in CODE if f != Path(limits.__file__))
    for node, after in itertools.pairwise(body):
        if isinstance(node, ast.Assign):
            name = ast.unparse(node.targets[0])
            assert isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant), f"{name} has no docstring"
            assert len(re.findall(rf"\b{name}\b", code)) >= 2, f"{name} must be imported and used"


def test_the_upload_limit_of_the_app_is_the_same() -> None:
    config = tomllib.loads((ROOT / "apps" / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    assert config["server"]["maxUploadSize"] == limits.UPLOAD_BYTES >> 20


def unsafe_calls(node: ast.AST) -> list[str]:
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
        is_set = not (isinstance(word.value, ast.Constant) and word.value.value is False)
        names = ("trust_remote_code", "allow_pickle", "shell", "allow_dangerous_deserialization", "pickle_fallback")
        found += [word.arg] if word.arg in names and is_set else []
    return found


@pytest.mark.parametrize(
    "code",
    ["import pickle", "from pickle import loads", "eval(x)", "torch.load(p)", "yaml.load(t)",
     "f(trust_remote_code=True)", "f(trust_remote_code=x)", "run(c, shell=True)", "np.load(p, allow_pickle=True)"],
)  # fmt: skip
def test_unsafe_calls_are_detected(code: str) -> None:
    assert any(unsafe_calls(node) for node in ast.walk(ast.parse(code)))


def test_no_code_is_loaded_or_run_from_data() -> None:
    unsafe = {
        (str(file.relative_to(ROOT)), what)
        for file in CODE
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        for what in unsafe_calls(node)
    }
    assert unsafe <= ALLOWED


def test_document_readers_import_no_network_library() -> None:
    folders = ("rag", "egos", "pocket", "roles", "sessions", "text")
    for file in (file for folder in folders for file in sorted((ROOT / "egosrag" / folder).rglob("*.py"))):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not FETCHERS & set(names), f"{file} imports a network library"


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/a.md", "file:///etc/hosts.txt", "http://169.254.169.254/a.html"]
)
def test_a_url_is_not_a_document(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("it opened a connection"))
    with pytest.raises(SourceError, match="there is no file"):
        load_pages([address])


def test_links_in_html_are_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("it opened a connection"))
    page = tmp_path / "a.html"
    page.write_text(
        '<link rel=stylesheet href="http://127.0.0.1:9/a.css"><img src="http://127.0.0.1:9/a.png">'
        '<iframe src="file:///etc/passwd"></iframe><p>The oil is changed once a year.</p>'
    )
    assert [p.text.strip() for p in load_pages([page])] == ["The oil is changed once a year."]


@pytest.mark.parametrize(
    "name", ["../../outside", "/etc/outside", "..\\outside", "a/../../b", "nul\x01l", "~root", "%2e%2e%2f"]
)
def test_a_session_name_is_not_a_path(name: str, tmp_path: Path) -> None:
    place = tmp_path / "deep" / "inside"
    place.mkdir(parents=True)
    with open_store(place / "talk.sqlite") as store:
        assert Conversation(EchoModel(), TIM, checkpointer=store, session=name).say("line 0").text
        files = {p.relative_to(tmp_path).parts[:2] for p in tmp_path.rglob("*") if p.is_file()}
    assert files == {("deep", "inside")}


def test_an_api_key_is_in_no_repr_trace_or_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
