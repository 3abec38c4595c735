"""The command line's contracts: what goes to which stream, exit codes, one line for an error, JSON by the line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import SAMPLES, Run

MANUAL = str(SAMPLES / "manual.en.pdf")
EDDA = str(SAMPLES / "edda.en.json")
GU = str(SAMPLES / "gu.zh.json")
COMMANDS = ["demo", "index", "ask", "extract", "chat", "card", "doctor", "serve"]


# --- help and usage ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_reads_as_reviewed(
    command: str, run: Run, golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    done = run(*([command] if command else []), "--help")
    assert (done.code, done.err) == (0, "")
    assert not command or "Examples:" in done.out
    golden(f"help/{command or 'egosrag'}.txt", done.out)


def test_help_loads_nothing_heavy() -> None:
    """What takes seconds to import is not needed to tell the options; ``evals.speed.start`` measures the time."""
    program = (
        "import sys; from egosrag.cli.main import main; sys.argv = ['egosrag', '--help']; main();"
        "print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    loaded = set(done.stderr.split())
    assert "Usage: egosrag" in done.stdout and "typer" in loaded
    assert not loaded & {"torch", "transformers", "langchain_core", "langgraph", "llama_index", "numpy", "jieba"}


@pytest.mark.parametrize(
    "words",
    [
        ("ask", "why?"),
        ("ask", "why?", "--doc", MANUAL, "--index", "x"),
        ("ask",),
        ("chat",),
        ("chat", "--role", EDDA, "--memory", "some"),
        ("chat", "--role", EDDA, "--name", "Edda"),
        ("chat", "--name", "Edda"),
        ("chat", "--role", EDDA, "--history", "both"),
        ("extract", "a.txt", "--name", "X", "--out", "o.json", "--strategy", "none"),
        ("ask", "why?", "--doc", MANUAL, "--top-k", "many"),
        ("ask", "why?", "--doc", MANUAL, "--set", "seed"),
        ("index", MANUAL),
        ("nothing",),
        ("ask", "--nothing"),
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(words: tuple[str, ...], run: Run) -> None:
    done = run(*words)
    assert done.code == 2
    assert done.out == ""
    assert "Usage: egosrag" in done.err


def test_a_misspelt_setting_is_told_with_what_was_meant(run: Run) -> None:
    done = run("ask", "why?", "--doc", MANUAL, "--set", "topk=3")
    assert done.code == 1
    assert done.err.startswith("egosrag: no such setting in the call: topk (did you mean top_k?)")


# --- ask --------------------------------------------------------------------------------------------------------


def test_ask_answers_with_a_page_and_a_quote(run: Run, script: Callable[..., str]) -> None:
    model = script("The release lever is under the dashboard on the left. [1]")
    done = run("ask", "Where is the release lever of the hood?", "--doc", MANUAL, "--model", model, "--json")
    (row,) = done.rows
    assert done.code == 0
    assert set(row) == {"answer", "refused", "citations", "usage", "timing"}
    assert row["refused"] is False
    assert any(c["page"] == 4 and c["source"] == "manual.en.pdf" for c in row["citations"])
    assert all(set(c) == {"source", "page", "quote", "score"} for c in row["citations"])
    assert set(row["usage"]) == {"prompt_tokens", "completion_tokens", "cached_tokens"}
    assert set(row["timing"]) == {"first_token_s", "total_s"}


def test_ask_for_people_puts_the_answer_before_its_citations(run: Run, script: Callable[..., str]) -> None:
    model = script("The release lever is under the dashboard on the left. [1]")
    done = run("ask", "Where is the release lever of the hood?", "--doc", MANUAL, "--model", model)
    first, *rest = done.out.splitlines()
    assert "under the dashboard on the left" in first
    assert rest[0].startswith("  manual.en.pdf, p. 4: ")


def test_ask_sets_in_every_line_of_a_quote(run: Run, tmp_path: Path, script: Callable[..., str]) -> None:
    (tmp_path / "a.md").write_text("To open the hood:\n\n1. Pull the lever.\n2. Lift the hood.\n", encoding="utf-8")
    model = script("1. Pull the lever.\n2. Lift the hood. [1]")
    done = run("ask", "How do I open the hood?", "--doc", str(tmp_path / "a.md"), "--model", model)
    at = done.out.index("\n  a.md, p. 1: ")
    quoted = done.out[at + 1 :].splitlines()
    assert len(quoted) > 1
    assert all(line.startswith("  ") for line in quoted)


def test_the_second_question_uses_the_index_of_the_first(run: Run, script: Callable[..., str]) -> None:
    words = ("ask", "Which battery does the key need?", "--doc", MANUAL, "--json", "--model")
    first = run(*words, script("It is of the type CR2032. [1]"))
    second = run(*words, script("It is of the type CR2032. [1]"))
    assert first.rows[0]["citations"] == second.rows[0]["citations"]
    assert "uses the index of" not in first.err
    assert "uses the index of" in second.err


def test_a_changed_document_is_indexed_again(run: Run, script: Callable[..., str], tmp_path: Path) -> None:
    note = tmp_path / "note.md"
    words = ("ask", "What is the code of the gate?", "--doc", str(note), "--json", "--model")
    for code in ("4711", "0815"):
        note.write_text(f"The code of the gate is {code}.\n", encoding="utf-8")
        (row,) = run(*words, script(f"The code of the gate is {code}. [1]")).rows
        assert code in row["citations"][0]["quote"]


def test_ask_reads_a_question_a_line(run: Run, script: Callable[..., str]) -> None:
    run("index", MANUAL, "--out", "kept")
    model = script("It is of the type CR2032. [1]", "The car has seven airbags. [1]")
    questions = b"Which battery does the key need?\nHow many airbags does the car have?\n"
    done = run("ask", "-", "--index", "kept", "--model", model, "--json", stdin=questions)
    assert [row["citations"][0]["page"] for row in done.rows] == [2, 7]


def test_further_paths_are_documents_too(run: Run, script: Callable[..., str], tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.md").write_text(f"The code of gate {name} is {name}77.\n", encoding="utf-8")
    model = script("The code of gate b is b77. [1]")
    (row,) = run("ask", "What is the code of gate b?", "--doc", "a.md", "b.md", "--model", model, "--json").rows
    assert row["citations"][0]["source"] == "b.md"


@pytest.mark.parametrize(
    ("manual", "question", "refusal"),
    [
        ("manual.en.pdf", "Who composed the opera?", "The manual does not say."),
        ("manual.zh.pdf", "谁写了那部歌剧？", "手册中没有说明。"),
    ],
)
def test_what_the_manual_does_not_say_is_refused(
    manual: str, question: str, refusal: str, run: Run, script: Callable[..., str]
) -> None:
    (row,) = run("ask", question, "--doc", str(SAMPLES / manual), "--model", script(refusal), "--json").rows
    assert (row["refused"], row["answer"], row["citations"]) == (True, refusal, [])


def test_index_says_where_and_progress_goes_to_standard_error(run: Run) -> None:
    done = run("index", MANUAL, "--out", "runs/manual")
    assert (done.code, done.out) == (0, "runs/manual\n")
    assert done.err


# --- chat -------------------------------------------------------------------------------------------------------


def test_a_line_of_standard_input_is_a_turn(run: Run, script: Callable[..., str]) -> None:
    model = script('I am Edda, sailor." And', 'There is soup."')
    done = run("chat", "--role", EDDA, "--model", model, "--json", stdin=b"Who are you?\nI am hungry.\n")
    assert done.code == 0
    assert [(row["speaker"], row["text"]) for row in done.rows] == [
        ("Edda", "I am Edda, sailor."),
        ("Edda", "There is soup."),
    ]
    for row in done.rows:
        assert set(row) == {"speaker", "text", "stop_reason", "usage", "timing", "ledger"}
        assert row["stop_reason"] == "quote"
        assert set(row["usage"]) == {"prompt_tokens", "completion_tokens", "cached_tokens"}
        assert set(row["timing"]) == {"first_token_s", "total_s"}


def test_a_reply_for_people_is_streamed_behind_its_name(run: Run, script: Callable[..., str]) -> None:
    done = run("chat", "--role", GU, "--model", script("我是顾青禾。”"), stdin="你是谁？\n".encode())
    assert done.out == "顾青禾: 我是顾青禾。\n"


def test_a_session_goes_on_after_a_restart(run: Run, script: Callable[..., str], tmp_path: Path) -> None:
    words = ("chat", "--role", EDDA, "--session", "monday", "--store", str(tmp_path / "kept.sqlite"), "--json")
    run(*words, "--model", script('Hello, sailor."'), stdin=b"Hello!\n")
    done = run(*words, "--model", script('You said hello."'), stdin=b"What did I say?\n")
    assert done.rows[0]["text"] == "You said hello."
    assert "session monday: 3 turns so far" in done.err  # the greeting, the line and its reply


def test_without_a_session_a_new_one_begins(run: Run, script: Callable[..., str]) -> None:
    names = set()
    for _ in range(2):
        done = run("chat", "--role", EDDA, "--model", script('Hello."'), stdin=b"Hello!\n")
        assert "new;" in done.err
        names.add(done.err.split()[1])
    assert len(names) == 2


def test_no_quote_ends_at_the_line(run: Run, script: Callable[..., str]) -> None:
    model = script("I am Edda.\nMe: And I")
    done = run("chat", "--role", EDDA, "--no-quote", "--model", model, "--json", stdin=b"Who are you?\n")
    assert done.rows[0]["text"] == "I am Edda."


@pytest.mark.parametrize(
    ("name", "source", "line", "fact"),
    [
        ("Edda", "edda.en.txt", "What is your brother called?", "brother"),
        ("Edda", "edda.en.html", "What is your brother called?", "Tom"),
        ("顾青禾", "gu.zh.html", "你的女儿叫什么？", "顾小满"),
    ],
)
def test_sources_are_searched_for_each_line(
    name: str, source: str, line: str, fact: str, run: Run, script: Callable[..., str], tmp_path: Path
) -> None:
    from egosrag.rag.documents.load import read_text

    words = ("--model", script('Tom."'), "--set", "context_window=900", "--json")
    text = read_text(SAMPLES / source)
    asked = ("chat", "--name", name, "--source", str(SAMPLES / source), "--strategy", "dynamic", *words)
    (row,) = run(*asked, stdin=f"{line}\n".encode()).rows
    assert any(fact in place["quote"] for place in row["evidence"])
    for place in row["evidence"]:
        assert (place["source"], text[place["start"] : place["end"]]) == (source, place["quote"])

    card = str(tmp_path / "role.json")
    done = run("extract", str(SAMPLES / source), "--name", name, "--strategy", "dynamic", "--out", card, *words[2:4])
    assert done.out == f"{card}\n"
    (again,) = run("chat", "--role", card, *words, stdin=f"{line}\n".encode()).rows
    assert any(fact in place["quote"] for place in again["evidence"])


def test_sources_are_read_raw_without_extract(run: Run, script: Callable[..., str]) -> None:
    source = str(SAMPLES / "edda.en.txt")
    words = ("chat", "--name", "Edda", "--source", source, "--strategy", "none", "--json", "--model")
    done = run(*words, script('I keep the light."'), "--set", "context_window=512", stdin=b"Who are you?\n")
    assert done.rows[0]["text"] == "I keep the light."
    assert "the sources are longer than the window" in done.err


def test_sources_become_a_card_by_a_model_of_its_own(run: Run, script: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "ann.txt").write_text("Ann Lee is a sailor. She is very brave.", encoding="utf-8")
    (tmp_path / "reads.json").write_text('["Background: Ann Lee is a sailor."]', encoding="utf-8")
    words = ("chat", "--name", "Ann Lee", "--source", "ann.txt", "--extract-model", "scripted:reads.json", "--json")
    done = run(*words, "--model", script('I sail."'), stdin=b"Who are you?\n")
    assert done.rows[0]["text"] == "I sail."


def test_a_preset_is_a_name_and_flags_beat_it(run: Run, script: Callable[..., str]) -> None:
    words = ("chat", "--role", EDDA, "--preset", "EGOS-wo-quote", "--json")
    done = run(*words, "--model", script("I am Edda.\nMe: And I"), stdin=b"Who are you?\n")
    assert done.rows[0]["text"] == "I am Edda."
    done = run(*words[:4], "EGOS-Huge", stdin=b"Hi\n")
    assert (done.code, "take one of EGOS-Small" in done.err) == (1, True)
