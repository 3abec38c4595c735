"""Static Extract of sources of any length: what is read, the questions about a story, resuming after a failure."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from egosrag.egos.extract.questions import questions
from egosrag.egos.extract.static import Extract
from egosrag.errors import ModelError, RoleError
from egosrag.models.scripted import ScriptedChatModel
from tests.egos.extract.sources import EN, assert_evidence_matches, model, novel, texts


def test_a_source_far_over_the_window_is_read_where_it_mentions_the_role() -> None:
    steps: list[tuple[str, int, int]] = []
    text = novel(1200)
    questions = 15
    llm = model(*["Background: Gatsby walked along the shore."] * 24, *["None."] * 6 * questions)
    step = Extract(llm, max_chunks=24, progress=lambda *step: steps.append(step))
    role = step.invoke(([("novel.txt", text)], "Gatsby"))
    assert [done for _, done, _ in steps] == list(range(31))
    assert all(total == 30 and re.search(r"24 of \d+ chunks", what) for what, _, total in steps)
    chunks = [str(call.messages[-1].text).split("Passage:\n")[1] for call in llm.calls[:24]]
    assert all("Gatsby" in chunk for chunk in chunks)
    chapters = {str(call.messages[-1].text).split("Text:\n")[1].rpartition("\n\n")[0] for call in llm.calls[24:]}
    assert len(chapters) == 6 and all("Gatsby" in chapter for chapter in chapters)
    places = [text.index(chunk) for chunk in chunks]
    assert places == sorted(places)
    assert places[0] < len(text) / 8
    assert places[-1] > len(text) * 7 / 8
    assert texts(role, "background") == ["Gatsby walked along the shore."]
    assert_evidence_matches(role, [("novel.txt", text)])
    assert llm.count_tokens(str(role)) > 0


STORY = [
    "The boat was to leave at nine, and at half past nine Ann Lee came along the pier with a bag of chestnuts.",
    "“Sit down, cargo,” said Ann. “It is ladders that frighten me, because a ladder has neither hull nor engine.”",
    "“Are you never late?” asked the clerk. He was the only passenger, and he held his hat with both hands.",
    "“I promised the lamp-lighter's girl her letter for today, and today has twelve hours left,” said Ann.",
    "“Below us is the town: the harbour, the market, and the shop of umbrellas where nobody waves,” said the clerk.",
    "A long grey ship overtook them. On its bridge Captain Hale lifted his hat, so that they could see it.",
] * 2  # fmt: skip


class Answering(ScriptedChatModel):
    """Finds nothing in passages, and answers some of the questions."""

    answers: dict[str, str]

    def _next(self, messages: Any, stop: Any) -> str:
        question = str([m for m in messages if m.type == "human"][-1].text).splitlines()[-1]
        return next((answer for start, answer in self.answers.items() if question.startswith(start)), "None.")


def test_a_story_is_asked_one_question_at_a_time() -> None:
    text = "\n\n".join(STORY)
    answers = {
        "What frightens Ann Lee": "Ann is afraid of ladders.",
        "What has Ann Lee promised": "Ann promised the lamp-lighter's girl her letter for today.",
        "What does Ann Lee call": 'Ann calls the clerk "cargo".',
        "How long": "Ann is twelve years old.",
        "Who belongs": "Ann Lee is Ann's mother.",
        "Who is Ann Lee's rival": "Pike is Ann's rival.",
        "What does Ann Lee like": "Ann calls her friends “ballast”.",
        "What is Ann Lee's work": "The clerk was the only passenger.",
    }
    role = Extract(Answering(responses=[], answers=answers)).invoke(([("story.txt", text)], "Ann Lee"))
    stated = [*texts(role, "background"), *texts(role, "personality"), *texts(role, "speaking_style")]
    assert stated == [
        "Ann promised the lamp-lighter's girl her letter for today.",
        "Ann is afraid of ladders.",
        'Ann calls the clerk "cargo".',
    ]
    assert role.speaking_style[0].evidence[0].quote.startswith("Sit down, cargo")
    assert not role.relations
    assert_evidence_matches(role, [("story.txt", text)])


@pytest.mark.parametrize(("language", "name"), [("en", "Ann Lee"), ("zh", "顾青禾")])
def test_the_questions_name_the_role_and_nobody_of_the_examples(language: str, name: str) -> None:
    asked = questions(language, name)
    assert len(asked) == 15 == len(set(asked))
    assert all(name in question and "Otto" not in question and "方守一" not in question for question in asked)


def test_an_interrupted_extraction_resumes_and_leaves_no_file(tmp_path: Path) -> None:
    file = tmp_path / "role.json.progress"
    sources = [(f"{n}.txt", f"Ann Lee is a sailor with {n} ships.") for n in range(4)]

    class Failing(ScriptedChatModel):
        def _next(self, messages: Any, stop: Any) -> str:
            if len(self.calls) == 2:
                raise ModelError("the server is down")
            return super()._next(messages, stop)

    said = [f"Background: Ann Lee has {n} ships." for n in range(4)]
    with pytest.raises(ModelError, match="down"):
        Extract(Failing(responses=said), progress_file=file).invoke((sources, "Ann Lee"))
    assert len(file.read_text(encoding="utf-8").splitlines()) == 3
    with file.open("a", encoding="utf-8") as cut_off:
        cut_off.write('[["background", {"te')
    resumed = Failing(responses=said[2:])
    done: list[int] = []
    role = Extract(resumed, progress_file=file, progress=lambda _, n, __: done.append(n)).invoke((sources, "Ann Lee"))
    assert done == [2, 3, 4]
    assert texts(role, "background") == [line.removeprefix("Background: ") for line in said]
    assert not file.exists()
    assert_evidence_matches(role, sources)


def test_an_extraction_that_was_killed_resumes(tmp_path: Path) -> None:
    """After SIGKILL in the third chunk, the first two chunks are not read again."""
    code = """if True:
        import os, signal, sys
        from egosrag.egos.extract.static import Extract
        from egosrag.models.scripted import ScriptedChatModel

        class Dying(ScriptedChatModel):
            def _next(self, messages, stop):
                if len(self.calls) == 2:
                    os.kill(os.getpid(), signal.SIGKILL)
                return super()._next(messages, stop)

        sources = [(f"{n}.txt", f"Ann Lee is a sailor with {n} ships.") for n in range(4)]
        responses = [f"Background: Ann Lee has {n} ships." for n in range(4)]
        Extract(Dying(responses=responses), progress_file=sys.argv[1]).invoke((sources, "Ann Lee"))
    """
    file = tmp_path / "progress"
    assert subprocess.run([sys.executable, "-c", code, str(file)], check=False).returncode == -signal.SIGKILL
    llm = model(*[f"Background: Ann Lee has {n} ships." for n in (2, 3)])
    # The key of the progress file contains the name of the model's class.
    llm = type("Dying", (ScriptedChatModel,), {})(responses=llm.responses)
    sources = [(f"{n}.txt", f"Ann Lee is a sailor with {n} ships.") for n in range(4)]
    role = Extract(llm, progress_file=file).invoke((sources, "Ann Lee"))
    assert texts(role, "background") == [f"Ann Lee has {n} ships." for n in range(4)]
    assert len(llm.calls) == 2
    assert not file.exists()


def test_the_progress_of_other_sources_is_not_used(tmp_path: Path) -> None:
    file = tmp_path / "p"
    file.write_text(
        '"a key of other inputs"\n[["background", {"text": "a lie", "evidence": []}, 1.0]]\n', encoding="utf-8"
    )
    role = Extract(model("None"), progress_file=file).invoke(([("a.txt", EN)], "Ann Lee"))
    assert "a lie" not in texts(role, "background")
    with pytest.raises(RoleError, match="progress file"):
        Extract(model("None"), progress_file=tmp_path / "no" / "p").invoke(([("a.txt", EN)], "Ann Lee"))


def test_passages_are_read_at_once_and_the_card_has_them_in_their_order() -> None:
    class Reader(ScriptedChatModel):
        """Repeats its passage, the first one last."""

        def _next(self, messages: Any, stop: Any) -> str:
            super()._next(messages, stop)
            said = str(messages[-1].text).split("Passage:\n")[1]
            if "ship 0" in said:
                others.wait(timeout=10)
            elif "ship 3" in said:
                others.set()
            return f"Background: {said}"

    others = threading.Event()
    sources = [(f"{n}.txt", f"Ann Lee sailed on ship {n}.") for n in range(4)]
    role = Extract(Reader(responses=["-"] * 4), workers=4).invoke((sources, "Ann Lee"))
    assert texts(role, "background") == [text for _, text in sources]


def test_cards_of_real_sources_have_matching_evidence(shared_data: Path) -> None:
    novel_text = (shared_data / "texts" / "gatsby.txt").read_text(encoding="utf-8")
    for sources, name in (
        ([("gatsby.txt", novel_text)], "Gatsby"),
        (
            [
                (p.name, p.read_text(encoding="utf-8"))
                for p in (shared_data / "chatharuhi" / "haruhi" / "texts").iterdir()
            ],
            "春日",
        ),
    ):
        role = Extract(model(*["None"] * (24 + 6 * 15)), max_chunks=24).invoke((sources, name))
        assert role.background
        assert role.sample_dialogue
        assert_evidence_matches(role, sources)
