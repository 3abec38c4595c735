"""Stop strings in a stream, and characters of several tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from egosrag.models.streaming import Detokenizer, StopFilter


def run(chunks: list[str], stops: list[str]) -> tuple[str, str | None]:
    stop_filter = StopFilter(stops)
    text = "".join(map(stop_filter.feed, chunks))
    return text + stop_filter.finish(), stop_filter.hit


@pytest.mark.parametrize(
    ("chunks", "stops", "text", "hit"),
    [
        (["I am", " Tim", '."'], ['"'], "I am Tim.", '"'),
        (["我是孙悟空", "。”", "好"], ["”"], "我是孙悟空。", "”"),
        (["a\n", "\nb"], ["\n\n"], "a", "\n\n"),
        (["a\n", "b"], ["\n\n"], "a\nb", None),
        (["He said no", "\n"], ["\nMe:"], "He said no\n", None),
        (["x"], [""], "x", None),
        (["abc"], ["abc", "b"], "a", "b"),
        (["ab"], ["b", "ab"], "", "ab"),
        ([], ["x"], "", None),
    ],
)
def test_the_text_ends_before_the_stop(chunks: list[str], stops: list[str], text: str, hit: str | None) -> None:
    assert run(chunks, stops) == (text, hit)


def test_only_the_beginning_of_a_stop_string_is_held_back() -> None:
    stop_filter = StopFilter(["\nMe:"])
    assert stop_filter.feed("Hello\nM") == "Hello"
    assert stop_filter.feed("y") == "\nMy"
    assert stop_filter.feed("\nMe: x") == ""
    assert stop_filter.feed("more") == ""


letters = st.text(alphabet='ab"\n', max_size=30)


@given(text=letters, cuts=st.lists(st.integers(0, 30)), stops=st.lists(st.text('ab"\n', min_size=1, max_size=3)))
def test_the_result_does_not_depend_on_how_the_stream_is_cut(text: str, cuts: list[int], stops: list[str]) -> None:
    places = [0, *sorted(c for c in cuts if c <= len(text)), len(text)]
    chunks = [text[a:b] for a, b in zip(places, places[1:], strict=False)]
    assert run(chunks, stops) == run([text], stops)
    result, hit = run(chunks, stops)
    assert text.startswith(result)
    assert not any(stop in result for stop in stops)
    assert (hit is None) == (result == text)


@given(text=st.text(max_size=20).filter(lambda t: "\ufffd" not in t), context=st.text(max_size=5))
def test_bytes_are_returned_as_whole_characters(text: str, context: str) -> None:
    def decode(ids: list[int]) -> str:
        return bytes(ids).decode("utf-8", errors="replace")

    detokenizer = Detokenizer(decode, list(context.encode()))
    chunks = [detokenizer.feed(byte) for byte in text.encode()]
    assert "".join(chunks) == text
    assert not any("\ufffd" in chunk for chunk in chunks)


def test_an_incomplete_character_at_the_end_is_never_returned() -> None:
    detokenizer = Detokenizer(lambda ids: bytes(ids).decode("utf-8", errors="replace"))
    assert "".join(detokenizer.feed(byte) for byte in "好的".encode()[:-1]) == "好"
    assert detokenizer.finish() == ""


def test_whole_characters_before_an_incomplete_one_are_not_lost_at_the_end() -> None:
    tokens = {1: "好".encode(), 2: "的".encode() + b"\xe4"}  # vocabularies do hold such tokens
    detokenizer = Detokenizer(lambda ids: b"".join(tokens[i] for i in ids).decode("utf-8", errors="replace"))
    assert [detokenizer.feed(1), detokenizer.feed(2), detokenizer.finish()] == ["好", "", "的"]
