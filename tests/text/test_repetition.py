"""Loops of a model that lost the thread, and what is none: laughs, refrains, lists, real texts; repeated replies."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from egosrag.text.repetition import LoopFilter, RepetitionFilter, is_runaway
from tests.conftest import ROOT


@pytest.mark.parametrize(
    "text",
    [
        "I am a cook. " + "I am a captain. " * 4,
        "I fear fog. " + "I am afraid of the ship's crew's crew. " * 3,
        "我怕雾。" + "我害怕船上的那些人，他们总是在夜里唱歌，唱得很响。" * 3,
        "and on " * 12,
        "I'm fine. How are you? " * 3,
        "Well. I'm fine! How are you? I'M FINE. How are you?? - I'm fine... “How are you?”",
        "\n".join(f"{n}. I like tea with milk." for n in range(1, 4)),
        "\n".join(f"({n}) 我喜欢喝茶，也喜欢唱歌和跳舞。" for n in "一二三"),
        "我不知道。" * 13,
        "- Yes.\n* Yes!\n" * 11,
        " ".join(
            f"I have never been to the {place} of the ship before."
            for place in ("bow", "keel", "mast", "deck", "hold", "hull", "helm", "sail")
        ),
        "".join(f"我从来没有去过那座{place}边的小城里住过。" for place in "山河海湖江溪沟岭"),
        "." * 320,
        "0, " * 120,
    ],
)
def test_the_same_sentence_over_and_over_is_a_loop(text: str) -> None:
    assert is_runaway(text)


@pytest.mark.parametrize(
    "text",
    [
        "Row, row, row your boat, gently down the stream. Row, row, row your boat, gently down the stream.",
        "Ha ha ha ha ha! Stop it.",
        "........................................................................",
        "No! No! No! I will not go down to the harbour at night, and neither will you.",
        "冲啊！冲啊！冲啊！跟我来。",
        "哈" * 40 + "，笑死我了。",
        "No, no, no, no! I said no. No means no, and no.",
        "I'm fine. How are you? I'm fine. How are you?",
        "Never! Never! Never! Never! Never!",
        "Ring the bell, ring the bell, the night is long.\nHaul away, boys, haul away.\n" * 2,
        "1. Stop the engine.\n2. Set the brake.\n3. Stop the fan.\n4. Set the mirror.\n5. Stop.",
        "\n".join(f"{item} filter: every 10,000 km." for item in ("Oil", "Air", "Fuel", "Cabin", "Pollen")),
        "\n".join(f"第{n}步：检查{item}油的液位。" for n, item in enumerate("机刹齿助转", 1)),
        "| Tyre | Front | Rear |\n|" + " --- |" * 20 + "\n| 205/55 R16 | 2.3 | 2.1 |",
        "[0, 0, 0, 0, 0, 0, 0, 0],\n" * 4,
        "",
    ],
)
def test_a_refrain_a_laugh_and_a_row_of_dots_are_none(text: str) -> None:
    assert not is_runaway(text)


@pytest.mark.parametrize(
    "file",
    [
        *sorted((ROOT / "egosrag" / "data" / "samples").glob("*.md")),
        *sorted((ROOT / "egosrag" / "data" / "samples").glob("*.txt")),
        *sorted((ROOT / "evals" / "data").glob("chatbot.*.jsonl")),
        *sorted((ROOT / "evals" / "data").glob("natural.*.json")),
        ROOT / "README.zh.md",
    ],
    ids=lambda file: file.name,
)
def test_no_real_text_is_taken_for_a_loop_wherever_a_stream_is_cut(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    cut = [end for end in range(len(text)) if text[end] in "。！？.!?\n" or end % 97 == 0]
    assert not [text[end - 200 : end] for end in cut if is_runaway(text[max(0, end - 2500) : end + 1])]


_units = st.text(alphabet="abc de", min_size=16, max_size=60)


@given(_units.filter(lambda unit: any(map(str.isalpha, unit)) and unit not in (unit + unit)[1:-1]))
def test_three_times_any_sentence_is_a_loop(unit: str) -> None:
    assert is_runaway(f"Well. {unit * 3}")


_words = st.lists(st.text("abcdefgh", min_size=3, max_size=7), min_size=6, max_size=9)


@given(st.lists(_words, min_size=1, max_size=4), st.sampled_from(["{}.", "{}!", "- {}.\n", "({}).", "“{}。”"]))
def test_up_to_four_sentences_said_three_times_in_other_clothes_are_a_loop(unit: list[list[str]], other: str) -> None:
    plain = " ".join(" ".join(words) + "." for words in unit)
    dressed = " ".join(other.format(" ".join(words).upper()) for words in unit)
    assert is_runaway(f"Well. {plain} {dressed} {plain} ")


@given(_words, st.lists(st.text("ijklmnop", min_size=3, max_size=4), min_size=8, max_size=8), st.integers(0, 5))
def test_one_word_changed_is_a_loop_after_eight_rounds_and_none_after_seven(
    words: list[str], changes: list[str], at: int
) -> None:
    assume(len("".join(words)) >= 24 and all(one != other for one, other in zip(changes, changes[1:], strict=False)))
    rounds = [" ".join([*words[:at], change, *words[at + 1 :]]).capitalize() + ". " for change in changes]
    assert is_runaway("Well, well, well, my dear friend. " + "".join(rounds))
    assert not is_runaway("Well, well, well, my dear friend. " + "".join(rounds[:7]))


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_the_first_rounds_of_a_loop_are_kept_however_the_stream_is_cut(size: int) -> None:
    text, loops = "Who am I? " + "I am Tim, and I fear the fog. " * 60, LoopFilter()
    kept = "".join(loops.feed(text[start : start + size]) for start in range(0, len(text), size) if not loops.closed)
    assert loops.closed and text.startswith(kept) and 2 <= kept.count("fog") <= 4
    assert LoopFilter().feed("I fear the fog. ") == "I fear the fog. "


# --- repeated replies ------------------------------------------------------------------------------------------------


def filtered(texts: list[str], chunks: list[str]) -> tuple[list[str], bool]:
    """What each chunk releases, with the end of the stream as the last, and whether the whole is a repetition."""
    stream = RepetitionFilter(texts)
    released = [stream.feed(chunk) for chunk in chunks]
    return [*released, stream.finish()], stream.is_repetition


@pytest.mark.parametrize(
    ("said", "chunks", "released", "repeats"),
    [
        (["Who are you?"], ["Who ", "are", " you"], ["", "", "", ""], True),
        (["Who are you?"], ["who…", " are YOU!!"], ["", "", ""], True),
        (["你是谁？"], ["你", "是", "谁"], ["", "", "", ""], True),
        (["Who are you?"], ["Who ", "is ", "there?"], ["", "Who is ", "there?", ""], False),
        (["Who are you?"], ["Who ", "are"], ["", "", "Who are"], False),
        (["Who are you?"], ["Who are you? ", "I am Tim."], ["", "Who are you? I am Tim.", ""], False),
        (["No.", "I am Tim."], ["I", " know."], ["", "I know.", ""], False),
        ([], ["Who ", "are"], ["Who ", "are", ""], False),
        (["?!"], ["Who"], ["Who", ""], False),
    ],
)
def test_a_stream_is_held_back_only_while_it_may_become_a_repetition(
    said: list[str], chunks: list[str], released: list[str], repeats: bool
) -> None:
    assert filtered(said, chunks) == (released, repeats)


@given(st.lists(st.text(max_size=9), max_size=4), st.lists(st.text("ab .,", max_size=4), max_size=6))
def test_a_filter_drops_a_repetition_whole_or_changes_nothing(said: list[str], chunks: list[str]) -> None:
    released, repeats = filtered(said, chunks)
    assert "".join(released) == ("" if repeats else "".join(chunks))
