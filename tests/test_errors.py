"""Invalid input: one line of error that says what to do, exit code 1, and no half-written files."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from egosrag import errors
from tests.conftest import SAMPLES, Done, Run

ROOT = Path(__file__).resolve().parent.parent
MANUAL = str(SAMPLES / "manual.en.pdf")
EDDA = str(SAMPLES / "edda.en.json")
EGOSRAG = str(Path(sys.executable).parent / "egosrag")


def assert_one_line(done: Done, *words: str) -> None:
    """Exit code 1, no output, and one line of error that contains all of ``words``."""
    assert done.code == 1, done
    assert done.out == ""
    lines = [line for line in done.err.splitlines() if line.startswith("egosrag: ")]
    assert len(lines) == 1, done.err
    assert "Traceback" not in done.err
    assert "unexpected" not in done.err
    for word in words:
        assert word.lower() in lines[0].lower(), lines[0]


# --- extract ----------------------------------------------------------------------------------------------------


def test_extract_writes_a_card_that_chat_can_load(run: Run, script: Callable[..., str], tmp_path: Path) -> None:
    source = tmp_path / "edda.txt"
    source.write_text("Edda keeps the lighthouse. Edda is stubborn.", encoding="utf-8")
    model = script("Background: Edda keeps the lighthouse.\nPersonality: Edda is stubborn.")
    done = run("extract", str(source), "--name", "Edda", "--out", "cards/edda.json", "--model", model)
    assert (done.code, done.out) == (0, "cards/edda.json\n")
    card = json.loads((tmp_path / "cards" / "edda.json").read_text(encoding="utf-8"))
    assert card["name"] == "Edda"
    assert "lighthouse" in json.dumps(card["background"])
    reply = run("chat", "--role", "cards/edda.json", "--model", script('I am Edda."'), "--json", stdin=b"Who?\n")
    assert reply.rows[0]["text"] == "I am Edda."


def test_extract_writes_nothing_when_it_fails(run: Run, script: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "edda.txt").write_text("Edda keeps the lighthouse.", encoding="utf-8")
    done = run("extract", "edda.txt", "--name", "Edda", "--out", "edda.json", "--model", script())
    assert done.code == 1
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix == ".json") == ["script.json"]


# --- documents --------------------------------------------------------------------------------------------------


def pdf(path: Path, *, text: str = "", pages: int = 1, password: str = "") -> str:
    from reportlab.pdfgen.canvas import Canvas

    canvas = Canvas(str(path), encrypt=password or None)
    for _ in range(pages):
        canvas.rect(50, 50, 200, 200, fill=1)
        canvas.drawString(72, 720, text)
        canvas.showPage()
    canvas.save()
    return str(path)


def bad_documents(folder: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    """By kind: the path, and words that the error must contain."""
    (folder / "empty.txt").write_text("")
    (folder / "binary.txt").write_bytes(bytes(range(256)) * 40)
    (folder / "zero.pdf").write_bytes(b"")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 followed by garbage")
    (folder / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    (folder / "folder").mkdir()
    return {
        "missing": (str(folder / "missing.pdf"), ("missing.pdf",)),
        "empty text": (str(folder / "empty.txt"), ("empty.txt",)),
        "binary": (str(folder / "binary.txt"), ("binary.txt",)),
        "zero bytes": (str(folder / "zero.pdf"), ("zero.pdf",)),
        "broken": (str(folder / "broken.pdf"), ("broken.pdf",)),
        "images only": (pdf(folder / "scan.pdf"), ("scan.pdf", "ocr")),
        "encrypted": (pdf(folder / "locked.pdf", text="Secret", password="x"), ("locked.pdf", "password")),
        "other format": (str(folder / "photo.png"), ("photo.png",)),
        "empty folder": (str(folder / "folder"), ("folder",)),
    }


BAD = ["missing", "empty text", "binary", "zero bytes", "broken"]
BAD += ["images only", "encrypted", "other format", "empty folder"]


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_document_is_one_line_of_error(kind: str, run: Run, script: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "documents").mkdir()
    path, words = bad_documents(tmp_path / "documents")[kind]
    assert_one_line(run("ask", "Why?", "--doc", path, "--model", script(), "--json"), *words)
    assert_one_line(run("index", path, "--out", "index"), *words)
    assert not (tmp_path / "index").exists()
    assert_one_line(run("extract", path, "--name", "X", "--out", "x.json", "--model", script()), *words)
    assert not (tmp_path / "x.json").exists()


def test_a_missing_or_damaged_index_is_one_line_of_error(run: Run, script: Callable[..., str], tmp_path: Path) -> None:
    assert_one_line(run("ask", "Why?", "--index", "nowhere", "--model", script()), "nowhere")
    run("index", MANUAL, "--out", "index")
    for file in (tmp_path / "index").rglob("*"):
        if file.is_file():
            file.write_bytes(b"damaged")
    assert_one_line(run("ask", "Why?", "--index", "index", "--model", script()), "index")


def test_an_empty_question_is_one_line_of_error(run: Run, script: Callable[..., str]) -> None:
    assert_one_line(run("ask", " ", "--doc", MANUAL, "--model", script()), "question is empty")


# --- models -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("./no/such/folder", ("no/such/folder",)),
        ("Nobody/no-such-model", ("Nobody/no-such-model",)),
        ("scripted:missing.json", ("missing.json",)),
        ("openai:some-model", ("OPENAI_API_KEY",)),
        ("deepseek:some-model", ("DEEPSEEK_API_KEY",)),
    ],
)
def test_an_unavailable_model_is_one_line_of_error(model: str, words: tuple[str, ...], run: Run) -> None:
    assert_one_line(run("chat", "--role", EDDA, "--model", model, stdin=b"Hello!\n"), *words)


def test_a_prompt_longer_than_the_context_window_is_one_line_of_error(run: Run, tiny_qwen: Path) -> None:
    long = b"word " * 4000 + b"\n"
    assert_one_line(run("chat", "--role", EDDA, "--model", str(tiny_qwen), stdin=long), "window")


def test_an_exhausted_script_is_one_line_of_error(run: Run, script: Callable[..., str]) -> None:
    done = run("chat", "--role", EDDA, "--model", script('Hello."'), "--json", stdin=b"Hello!\nAnd now?\n")
    assert done.code == 1
    assert [row["text"] for row in done.rows] == ["Hello."]
    assert "script" in done.err.splitlines()[-1]


# --- roles, lines and sessions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ("role.json",)),
        (b"", ("role.json",)),
        (b"{", ("role.json",)),
        (b"[1, 2]", ("role.json",)),
        (b'{"background": "x"}', ("role.json", "name")),
        (b"\xff\xfe\x00broken", ("role.json",)),
    ],
)
def test_a_bad_role_card_is_one_line_of_error(
    content: bytes | None, words: tuple[str, ...], run: Run, script: Callable[..., str], tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "role.json").write_bytes(content)
    assert_one_line(run("chat", "--role", "role.json", "--model", script(), stdin=b"Hello!\n"), *words)


def test_unknown_keys_in_a_card_are_accepted(run: Run, script: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "role.json").write_text(json.dumps({"name": "Tim", "shoe_size": 44}), encoding="utf-8")
    done = run("chat", "--role", "role.json", "--model", script('Hello."'), "--json", stdin=b"Hello!\n")
    assert done.rows[0]["text"] == "Hello."


@pytest.mark.parametrize("line", [b"\n", b"   \n", b"\xff\xfe\n"])
def test_an_invalid_line_is_one_line_of_error(line: bytes, run: Run, script: Callable[..., str]) -> None:
    assert_one_line(run("chat", "--role", EDDA, "--model", script(), "--json", stdin=line), "line")


def test_an_unusable_store_is_one_line_of_error(
    run: Run, script: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("egosrag.postgres.DATABASE_TIMEOUT_S", 0.2)
    (tmp_path / "store.sqlite").write_text("this is not a database, and long enough for SQLite to notice " * 20)
    for store in ("store.sqlite", str(tmp_path), "postgresql://nobody@127.0.0.1:1/none"):
        done = run("chat", "--role", EDDA, "--store", store, "--model", script('Hi."'), "--json", stdin=b"Hello!\n")
        assert_one_line(done)


# --- traceback, closed pipe, documentation -----------------------------------------------------------------------


def test_debug_shows_the_traceback(run: Run) -> None:
    with pytest.raises(errors.SourceError):
        run("index", "missing.pdf", "--out", "index", "--debug")
    with pytest.raises(errors.SourceError):
        run("--debug", "index", "missing.pdf", "--out", "index")
    assert run("index", "missing.pdf", "--out", "index").code == 1


def test_a_closed_output_pipe_prints_no_traceback(tmp_path: Path) -> None:
    command = f"{EGOSRAG} doctor --json | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path, env=os.environ)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def error_classes() -> list[type[errors.EgosRagError]]:
    return [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.EgosRagError)]


def test_the_module_docstring_lists_every_error() -> None:
    assert len(error_classes()) >= 8
    for c in error_classes():
        assert c.__name__ in str(errors.__doc__)


def test_the_error_page_has_a_section_for_each_error() -> None:
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    _, *parts = re.split(r"^## (.+)\n", page, flags=re.M)
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    assert list(sections) == [c.__name__ for c in error_classes()]
    for c in error_classes():
        text = " ".join(sections[c.__name__].split())
        assert "Exit code" in text, f"{c.__name__}: no exit code"
        base = c.__mro__[1].__name__
        if c is not errors.EgosRagError:
            assert re.search(r"^- `", sections[c.__name__], re.M), f"{c.__name__}: no message"
            assert (f"`{base}`: " in text) == (base != "EgosRagError"), f"{c.__name__}: is {base} its base class?"


def string_literals(path: Path) -> Iterator[str]:
    """The string literals of a Python file; the parts of an f-string are joined by a space."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield " ".join(str(v.value).strip() for v in node.values if isinstance(v, ast.Constant))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_the_messages_on_the_error_page_are_those_of_the_code() -> None:
    files = [*(ROOT / "egosrag").rglob("*.py"), *(ROOT / "finetune").rglob("*.py")]
    code = " ".join(" ".join(text.split()) for file in files for text in string_literals(file))
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    lines = [line for line in re.findall(r"^- (`.*?)$", page, re.M)]
    assert len(lines) >= 40
    for line in lines:
        for message in re.findall(r"`([^`]*)`", line.split("`: ")[0] + "`"):
            # The parts between placeholders (words in capitals), without the punctuation around them.
            for part in re.split(r"\b[A-Z_]{1,}\b|\.\.\.|[()]", message):
                words = " ".join(part.strip(" ,:;/'.").split())
                assert words in code, f"{words!r} of {message!r} is in no message"
