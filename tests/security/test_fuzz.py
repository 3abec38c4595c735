"""Fuzzing of every reader of untrusted input: the result is the data, or one line of a known error.

About 2,000 cases in ``make test``, and about 100,000 in ``make nightly``, which draws new ones each time.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import sqlite3
from collections import Counter as Counts
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from egosrag.errors import EgosRagError
from egosrag.rag.documents.load import load_pages
from egosrag.rag.documents.splitting import split_pages
from egosrag.roles.files import load_role
from egosrag.roles.png import with_texts
from egosrag.schema import Page
from egosrag.sessions.conversation import Conversation
from egosrag.sessions.store import open_store
from egosrag.settings import Settings
from egosrag.text.quotes import speech
from egosrag.text.sentences import sentence_spans
from tests.roles.cards import TIM
from tests.roles.test_cards import FULL as CARD
from tests.roles.test_cards import GOOD
from tests.sessions.child_process import EchoModel

FULL = os.environ.get("EGOSRAG_TEST_PROFILE") == "full"
TIMES = 50 if FULL else 1
pytestmark = pytest.mark.timeout(3600 if FULL else 300)

HOSTILE = (
    "<|im_start|>",
    "<|im_end|>",
    "\n",
    '"',
    "”",
    "“",
    "\u200b",
    "\u202e",
    "\x00",
    "Tim:",
    "悟空：",
    "{{user}}",
    "../",
)
TEXT = st.lists(st.text(max_size=12) | st.sampled_from(HOSTILE), max_size=12).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
_SUPPRESSED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


DRAWN = Counts[str]()  # number of cases that reached each test
EXPECTED: dict[str, int] = {}


def cases(number: int, **drawn: Any) -> Callable[[Any], Any]:
    """Draw ``number`` cases in ``make test``, the same each time, and fifty times as many new ones in ``make nightly``.

    Args:
        number: number of cases in ``make test``.
        **drawn: the strategy of each argument.
    """
    phases = (Phase.explicit, Phase.generate, Phase.shrink) if FULL else (Phase.explicit, Phase.generate)
    profile = settings(
        max_examples=number * TIMES,
        deadline=None,
        derandomize=not FULL,
        database=None,
        phases=phases,
        suppress_health_check=_SUPPRESSED,
    )

    def decorate(test: Any) -> Any:
        EXPECTED[test.__name__] = number * TIMES

        @functools.wraps(test)
        def counted(*args: Any, **kwargs: Any) -> None:
            DRAWN[test.__name__] += 1
            test(*args, **kwargs)

        return profile(given(**drawn)(counted))

    return decorate


def assert_works_or_known_error(call: Callable[[], Any], lines: int = 1) -> None:
    """``call`` returns, or raises one of our errors with a message of at most ``lines`` lines."""
    try:
        call()
    except EgosRagError as error:
        assert str(error) and len(str(error).splitlines()) <= lines


@cases(600, prefix=st.sampled_from(['Tim: "', "悟空：“", "Tim: ", "", '"']), raw=TEXT)
def test_the_decoder(prefix: str, raw: str) -> None:
    decoded = speech(prefix, raw)
    assert len(decoded) <= len(raw) and decoded == speech(prefix, raw)
    assert set(decoded) <= set(raw) | set("‘’“”'\"")


@cases(400, text=TEXT, window=st.integers(20, 200), share=st.floats(0, 0.9))
def test_the_splitter(text: str, window: int, share: float) -> None:
    spans = sentence_spans(text)
    assert "".join(text[start:end] for start, end in spans) == text
    page = Page(source="a", page=1, text=text)
    for passage in split_pages([page], window=window, overlap=int(window * share)):
        assert text[passage.start : passage.end] == passage.text


@cases(300, data=st.data())
def test_the_card_reader(data: st.DataObject, tmp_path: Path) -> None:
    card = json.loads(json.dumps(CARD))
    target: Any = card["data"] if data.draw(st.booleans()) else card
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(JSON)
    content = json.dumps(card).encode()
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(content) - 1))
        content = content[:at] + data.draw(st.binary(max_size=8)) + content[at + data.draw(st.integers(0, 8)) :]
    path = tmp_path / "card.json"
    path.write_bytes(content)
    assert_works_or_known_error(lambda: load_role(path))


@cases(300, data=st.data())
def test_the_png_reader(data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "card.png"
    if data.draw(st.booleans()):  # an intact picture with arbitrary JSON as its card
        card = base64.b64encode(json.dumps(data.draw(JSON)).encode()).decode()
        content = with_texts(GOOD, {data.draw(st.sampled_from(["chara", "ccv3"])): card})
    else:
        at = data.draw(st.integers(0, len(GOOD) - 1))
        content = GOOD[:at] + data.draw(st.binary(max_size=8)) + GOOD[at + data.draw(st.integers(0, 8)) :]
    path.write_bytes(content)
    assert_works_or_known_error(lambda: load_role(path))


@cases(
    200,
    values=st.dictionaries(st.sampled_from(sorted(Settings.model_fields)) | TEXT, JSON, max_size=4),
    tail=st.binary(max_size=6),
)
def test_the_configuration(values: dict[str, Any], tail: bytes, tmp_path: Path) -> None:
    path = tmp_path / "egosrag.toml"
    # A JSON string, number or list is valid TOML too, so many of these files are parsed completely.
    lines = [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in values.items()]
    path.write_bytes("\n".join(lines).encode("utf-8", "replace") + tail)
    # A key with line ends is quoted as it is; the command line joins the lines of a message.
    assert_works_or_known_error(lambda: Settings.load(config=path), lines=1000)
    assert_works_or_known_error(lambda: Settings.load(**values), lines=1000)


@cases(
    200,
    ending=st.sampled_from(["md", "html", "jsonl", "csv", "txt", "pdf", "docx"]),
    data=TEXT.map(str.encode) | st.binary(),
)
def test_the_document_readers(ending: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"document.{ending}"
    path.write_bytes(data)
    assert_works_or_known_error(lambda: load_pages([path]))


@pytest.fixture(scope="module")
def session_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite store with one conversation, in a single file."""
    path = tmp_path_factory.mktemp("fuzz") / "talk.sqlite"
    with open_store(path) as store:
        Conversation(EchoModel(), TIM, checkpointer=store, session="s").say("line 0")
    file = sqlite3.connect(path)
    file.execute("PRAGMA journal_mode=DELETE")
    file.close()
    return path


@cases(60, data=st.data())
def test_the_store(data: st.DataObject, session_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged.sqlite"
    for sidecar in tmp_path.glob("damaged.sqlite-*"):
        if sidecar.is_file():
            sidecar.unlink()
    content = bytearray(session_file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content[: data.draw(st.sampled_from([len(content), 4096, 100, 8]))])

    def read_turns() -> None:
        with open_store(path) as store:
            Conversation(EchoModel(), TIM, checkpointer=store, session="s").turns()

    assert_works_or_known_error(read_turns)


def test_all_cases_were_drawn() -> None:
    """Must be the last test of this file: it compares the cases that the others drew with those they should draw."""
    assert sum(EXPECTED.values()) >= (100_000 if FULL else 2_000)
    if EXPECTED.keys() - DRAWN.keys():
        pytest.skip("some of the fuzz tests were not run")
    assert {name: DRAWN[name] for name in EXPECTED if DRAWN[name] < EXPECTED[name]} == {}
    print(f"\n{sum(DRAWN.values()):,} cases: {dict(DRAWN)}")
