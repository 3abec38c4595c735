"""Macros of character cards: filled as V3 and SillyTavern define them, the same way at every rendering."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egosrag.text.macros import Scope, fill, unknown_macros, uses_clock

NOON = datetime(2026, 11, 29, 13, 5, 9, tzinfo=UTC).astimezone()
SCOPE = Scope(char="Ilka", user="Ann", fields={"description": "{{char}} mends clocks.", "persona": "a sailor"}, at=NOON)
ZH = replace(SCOPE, language="zh")


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{{char}} and {{user}}", "Ilka and Ann"),
        ("{{ CHAR }} {{User}} <USER> <bot> <Char>", "Ilka Ann Ann Ilka Ilka"),
        ("a{{// note to self}}b{{comment: hidden}}c{{//}}more{{user}}{{///}}d", "abcd"),
        ("{{comment}}a{{/comment}}b", "b"),
        ("a{{//note}}b{{//{{user}}: note}}c{{///four slashes}}d{{//note\nof two lines}}e", "abcde"),
        ("{{time_UTC+2x}}{{// }}", "{{time_UTC+2x}}"),
        ("{{hidden_key:gear}}x", "x"),
        ("{{reverse:abc}}{{reverse::{{user}}}}", "cbannA"),
        ("a{{newline}}b{{newline::2}}c{{space}}d{{space::3}}e", "a\nb\n\nc d   e"),
        ("a\n\n{{trim}}\n\nb", "ab"),
        ("a{{newline}}{{trim}}b", "ab"),
        ("x {{trim}}\n {{user}} \n{{/trim}} y", "x Ann y"),
        ("{{noop}}a{{original}}", "a"),
        ("{{random::a}}{{pick:b}}{{random:{{user}},{{user}}}}", "abAnn"),
        (r"{{random:a\,b}}", "a,b"),
        ("{{pick::Sit::Sit}} {{random:x::x}}", "Sit x"),
        ("{{roll:1}} {{roll d1}} {{roll::3d1+4}} {{roll:2d1-1}}", "1 1 7 1"),
        ("{{roll:many}}{{roll:0}}{{roll:9999d9}}", "{{roll:many}}{{roll:0}}{{roll:9999d9}}"),
        ("{{#if user}}Hi {{user}}{{/if}}", "Hi Ann"),
        ("{{#if scenario}}a{{else}}b{{/if}}", "b"),
        ("{{if !scenario}} a {{else}} b {{/if}}.", "a."),
        ("{{#unless persona}}a{{/unless}}{{#if 0}}c{{/if}}{{#if {{persona}}}}d{{/if}}", "d"),
        ("{{#if user}}1{{#if scenario}}2{{else}}3{{/if}}4{{else}}5{{/if}}6", "1346"),
        ("{{#if scenario}}a{{trim}}b{{else}}c{{/if}}", "c"),
        ("{{if user::yes}}{{if scenario::no}}", "yes"),
        ("{{#if user}}open", "{{#if user}}open"),
        ("{{description}} {{persona}}", "Ilka mends clocks. a sailor"),
        ("{{charVersion}}{{scenario}}|", "|"),
        ("{{getvar::x}} {{what {{user}}}} {{}} {{ }}", "{{getvar::x}} {{what Ann}} {{}} {{ }}"),
        ("{{{user}}} {user} }} {{ {{user", "{Ann} {user} }} {{ {{user"),
        ("{{user}}'s {{char}}’s", "Ann's Ilka’s"),
        ("{{{{user}}}}", "{{Ann}}"),
        ("a < b {{user}", "a < b {{user}"),
        ("", ""),
    ],
)
def test_macros_are_filled(text: str, filled: str) -> None:
    assert fill(text, SCOPE) == filled


def test_time_and_date_in_both_languages() -> None:
    text = "{{date}}|{{weekday}}|{{isotime}}|{{isodate}}|{{datetimeformat::DD.MM.YY [at] h:mm a}}"
    hour, minute = NOON.hour, NOON.minute
    short = f"{hour % 12 or 12}:{minute:02}"
    half = "am" if hour < 12 else "pm"
    day = f"{NOON.day:02}"
    assert fill(text, SCOPE) == (
        f"November {NOON.day}, 2026|{NOON:%A}|{hour:02}:{minute:02}|2026-11-{day}|{day}.11.26 at {short} {half}"
    )
    assert fill("{{time}}", SCOPE) == f"{short} {half.upper()}"
    assert fill("{{time_UTC+2}} {{time::UTC-3}}", SCOPE) == "3:05 PM 10:05 AM"
    assert fill("{{date}} {{time}}", ZH) == f"2026年11月{NOON.day}日 {hour:02}:{minute:02}"
    assert fill("{{weekday}}", ZH).startswith("星期")
    assert re.fullmatch(r"\d{1,2}:\d\d [AP]M", fill("{{time}}", replace(SCOPE, at=None)))
    assert uses_clock("x {{ Time }}") and not uses_clock("the time")


def test_random_choices_follow_the_seed() -> None:
    text = "{{random:a,b,c,d,e,f}}{{random:a,b,c,d,e,f}}{{roll:1d1000}}{{pick:a,b,c,d,e,f,g,h}}"
    seen = {fill(text, replace(SCOPE, seed=str(n))) for n in range(30)}
    assert len(seen) > 20
    one = replace(SCOPE, seed="s", turn="1")
    assert fill(text, one) == fill(text, one)
    turns = {fill(text, replace(one, turn=str(n))) for n in range(10)}
    assert len(turns) > 5 and len({line[-1] for line in turns}) == 1, "pick stays in a conversation, random does not"
    rolled = {int(fill("{{roll:2d6}}", replace(SCOPE, seed=str(n)))) for n in range(200)}
    assert rolled == set(range(2, 13))


def test_inserted_text_is_not_searched_again() -> None:
    hostile = Scope(char="{{user}}", user="{{char}}, {{random:x,y}}::z")
    assert fill("{{char}}|{{user}}|{{random::{{user}}::{{user}}}}", hostile) == (
        "{{user}}|{{char}}, {{random:x,y}}::z|{{char}}, {{random:x,y}}::z"
    )
    looping = Scope(char="A", user="B", fields={"description": "{{description}}{{personality}}", "personality": "p"})
    assert fill("{{description}}", looping) == ""


def test_hidden_keys_are_for_scanning() -> None:
    assert fill("{{hidden_key:gear}}{{// x}}", replace(SCOPE, hidden_keys=True)) == "gear"


def test_unknown_macros_are_named_once() -> None:
    text = "{{getvar::x}} {{getvar::x}} {{Frob}} {{user}} {{#if user}}{{/if}} {{time_UTC+2}} {{random:{{nope}}}} {{}}"
    assert unknown_macros(text) == ["{{getvar::x}}", "{{Frob}}", "{{nope}}"]
    assert unknown_macros("no macros") == []


def test_hostile_texts_stay_small_and_fast() -> None:
    big = Scope(char="A", user="B", fields={"description": "x" * 50_000})
    assert len(fill("{{description}}" * 1000, big)) <= 200_000
    assert len(fill("{{space::999999999}}{{newline::1e9}}", big)) < 200
    assert fill("{{" * 5000 + "user" + "}}" * 5000, big).count("{") < 10_001
    assert fill("{{#if user}}" * 9000, big) == "{{#if user}}" * 9000
    assert fill("{{#if user}}" * 9000 + "x" + "{{/if}}" * 9000, big).count("{{#if") == 9000 - 40
    assert fill("{{//}}" * 9000, big) == ""
    assert fill("{{//a" * 200_000, big) == "{{//a" * 200_000


def test_each_random_macro_of_a_long_text_has_a_short_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator reads the whole seed: with the text in it, 14,000 of them took ten seconds."""
    seeds: list[str] = []

    class Recorded(random.Random):
        def __init__(self, seed: str) -> None:
            seeds.append(seed)
            super().__init__(seed)

    monkeypatch.setattr(random, "Random", Recorded)
    text = "{{random:a,b}}" * 2000
    filled = fill(text, SCOPE)
    assert filled == fill(text, SCOPE) and 800 < filled.count("a") < 1200
    assert fill(text.replace("a,b", "b,a"), SCOPE) != filled
    assert len(set(seeds)) == 4000 and max(map(len, seeds)) < 200


PIECES = st.sampled_from([
    "{{", "}}", "{", "}", "user", "char", "random", ":", "::", ",", "#if ", "/if", "else", "//", "trim", "roll", "1d6",
    "comment", "pick", "\n", " ", "x", "<user>", "time", "!", "\\", "{{/trim}}", "reverse", "hidden_key:", "getvar",
])  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=25).map("".join), st.text(max_size=5))
def test_any_text_is_filled_the_same_way_twice(text: str, seed: str) -> None:
    scope = replace(SCOPE, seed=seed)
    assert fill(text, scope) == fill(text, scope)
    unknown_macros(text)
    if "{{" not in text and "<" not in text:
        assert fill(text, scope) == text
