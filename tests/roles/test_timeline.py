"""A card as of a chapter: what only later places support is not in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from egosrag.errors import RoleError
from egosrag.prompts import render
from egosrag.roles.points import timeline_of
from egosrag.roles.timeline import evidence_until, role_until, sources_until
from egosrag.schema import DialogueLine, Evidence, Role, Statement

STORY = """Chapter 1

Mara lived in Hull with her aunt. "I will never sail," said Mara. She was afraid of the sea.

Chapter 2

Mara moved to Skerry. "I am a pilot now," said Mara. She had learned it from Old Tom.

Chapter 3

Old Tom drowned in the autumn. Mara kept his boat.
"""
SOURCES = [("mara.txt", STORY)]


def place(quote: str, text: str = STORY, source: str = "mara.txt") -> Evidence:
    start = text.index(quote)
    return Evidence(source=source, start=start, end=start + len(quote), quote=quote)


def statement(text: str, *quotes: str, until: str = "") -> Statement:
    return Statement(text=text, evidence=tuple(map(place, quotes)), until=place(until) if until else None)


MARA = Role(
    name="Mara",
    language="en",
    background=(
        Statement(text="Mara has red hair"),
        statement("Mara lives in Hull", "Mara lived in Hull", "Mara moved", until="Mara moved to Skerry."),
        statement("Mara lives in Skerry", "Mara moved to Skerry."),
    ),
    relations=(statement("Old Tom, her teacher, is dead", "Old Tom drowned", "learned it from Old Tom"),),
    sample_dialogue=(
        DialogueLine(speaker="Mara", text="I will never sail.", evidence=(place("I will never sail,"),)),
        DialogueLine(speaker="Mara", text="I am a pilot now.", evidence=(place("I am a pilot now,"),)),
    ),
    lorebook={  # type: ignore[arg-type]
        "entries": [
            {"keys": ["boat"], "content": "Tom's boat is the Gull."},
            {"keys": ["boat"], "content": "The boat is Mara's.", "extensions": {"since": "chapter 3"}},
        ]
    },
    timeline=timeline_of(SOURCES),
)


def test_what_comes_later_is_left_out() -> None:
    early = role_until(MARA, "chapter 1")
    assert [s.text for s in early.background] == ["Mara has red hair", "Mara lives in Hull"]
    assert early.relations == ()
    assert [line.text for line in early.sample_dialogue] == ["I will never sail."]
    assert early.lorebook and [entry.content for entry in early.lorebook.entries] == ["Tom's boat is the Gull."]
    assert early.as_of == "Chapter 1"
    assert role_until(MARA, "3").background == MARA.background
    assert role_until(MARA, "") == MARA


def test_a_statement_counts_from_the_first_of_its_places_whose_words_it_has() -> None:
    assert role_until(MARA, "chapter 2").relations == ()
    assert role_until(MARA, "chapter 3").relations == MARA.relations


def test_places_that_come_later_are_not_named() -> None:
    home = role_until(MARA, "chapter 1").background[1]
    assert [e.quote for e in home.evidence] == ["Mara lived in Hull"] and home.until is None


def test_what_was_superseded_was_so_before_and_still_is_so_in_an_earlier_chapter() -> None:
    assert "Mara lives in Hull. Sample" not in render.card(role_until(MARA, "chapter 2"), "en")
    assert "Earlier: Mara lives in Hull. Mara lives in Skerry." in render.card(role_until(MARA, "chapter 2"), "en")
    early = render.card(role_until(MARA, "chapter 1"), "en")
    assert "Mara lives in Hull." in early and "Earlier" not in early and "Skerry" not in early


def test_a_card_as_of_a_chapter_can_be_taken_as_of_another() -> None:
    assert role_until(role_until(MARA, "chapter 2"), "chapter 1") == role_until(MARA, "chapter 1")


def test_sources_and_places_end_with_the_chapter() -> None:
    ((_, text),) = sources_until(SOURCES, MARA.timeline, "chapter 1")
    assert text == STORY[: STORY.index("Chapter 2")]
    known = evidence_until(role_until(MARA, "chapter 1"))
    assert known(place("afraid of the sea.")) == place("afraid of the sea.")
    assert known(place("Mara moved to Skerry.")) is None
    over = place("afraid of the sea.\n\nChapter 2\n\nMara moved")
    assert known(over) == place("afraid of the sea.")
    assert known(Evidence(source="other.txt", start=0, end=1, quote="x")) is None, "of it nothing is known"
    assert evidence_until(MARA)(over) == over


def test_files_that_come_later_are_left_out() -> None:
    sources = [("1.txt", "Mara lives in Hull."), ("2.txt", "Mara lives in Skerry.")]
    assert sources_until(sources, timeline_of(sources), "1.txt") == sources[:1]


def test_the_lorebooks_own_points_are_checked() -> None:
    entry = {"content": "x", "extensions": {"since": "chapter 9"}}
    role = MARA.model_copy(
        update={"lorebook": Role.model_validate({"name": "x", "lorebook": {"entries": [entry]}}).lorebook}
    )
    with pytest.raises(RoleError, match="there is no point 'chapter 9'"):
        role_until(role, "chapter 1")


@given(st.integers(0, 2), st.lists(st.tuples(st.integers(0, len(STORY) - 2), st.integers(1, 40)), max_size=8))
def test_no_later_place_is_ever_in_a_card(last: int, spans: list[tuple[int, int]]) -> None:
    places = [
        Evidence(source="mara.txt", start=a, end=min(a + n, len(STORY)), quote=STORY[a : min(a + n, len(STORY))])
        for a, n in spans
    ]
    role = MARA.model_copy(
        update={"background": tuple(Statement(text="x", evidence=tuple(places[n:])) for n in range(len(places)))}
    )
    point = MARA.timeline[last].label
    end = MARA.timeline[last + 1].start if last < 2 else len(STORY)
    kept = role_until(role, point)
    assert all(e.end <= end for s in kept.background for e in s.evidence)
    assert len(kept.background) == sum(s.evidence[0].end <= end for s in role.background)
    known = evidence_until(kept)
    for whole in places:
        part = known(whole)
        assert part is None or (part.end <= end and STORY[part.start : part.end] == part.quote)
