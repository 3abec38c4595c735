"""Descriptions: sentences of a source that describe the role in so many words, each under the heading that fits."""

from __future__ import annotations

import pytest

from egosrag.egos.extract.descriptions import descriptions
from egosrag.egos.extract.headings import fitting_heading

PAGE = """Imre Sola

| Imre Sola | |
| --- | --- |
| Age | 44 |

Imre Sola is the doctor of the Meridian. He lost his licence in 2187. The ship then gave him a cabin.

Personality
He is calm in danger. He cannot stand waste. "I never throw anything away, not even a button," he told us.

Relations
Nils is his assistant. He likes chess. His parrot is called Juliette.
Bram Teller owns a boat.
"""
STORY = """Imre Sola opened the door. He looked out into the rain.

"Who is there?" asked Sola. "It is late, and the doctor is asleep."

"It is me," said Nils. "I have brought the letters."

Imre Sola was a doctor, and he never locked his door. Nils was his assistant.

"Come in," said Sola. "There is soup on the stove for everybody who is wet."
"""
ZH_PAGE = """白鹿

白鹿是望海楼的说书人。他十岁被商队带到海州。后来他靠一段书救下了客人。

白鹿怕高。他管听众叫“列位看官”。

柳敬亭是他的师父。他三年前去世。
"""
ZH_STORY = """白鹿推开门，看了看外面的雨。

“谁在外面？”白鹿问，“这么晚了。”

“是我。”柳敬亭说，“我来听书。”

白鹿是望海楼的说书人。柳敬亭是他的师父。

“请进，”白鹿说，“炉子是热的。”
"""


def stated(text: str, name: str) -> list[tuple[str, str]]:
    found = descriptions([("a.txt", text)], name)
    for item in found:
        (place,) = item.statement.evidence
        assert text[place.start : place.end] == place.quote
    return [(item.label, item.statement.text) for item in found]


def test_of_a_page_every_sentence_about_the_role_is_quoted() -> None:
    assert stated(PAGE, "Imre Sola") == [
        ("background", "Age: 44"),
        ("background", "Imre Sola is the doctor of the Meridian."),
        ("background", "Imre Sola lost his licence in 2187."),
        ("background", "The ship then gave him a cabin."),
        ("personality", "Imre Sola is calm in danger."),
        ("personality", "Imre Sola cannot stand waste."),
        ("relations", "Nils is his assistant."),
        ("personality", "Imre Sola likes chess."),
        ("relations", "Imre Sola's parrot is called Juliette."),
    ]


def test_of_a_story_only_what_lasts_is_quoted() -> None:
    assert stated(STORY, "Imre Sola") == [
        ("background", "Imre Sola was a doctor, and he never locked his door."),
        ("relations", "Nils was his assistant."),
    ]


def test_the_same_in_chinese() -> None:
    assert stated(ZH_PAGE, "白鹿")[:5] == [
        ("background", "白鹿是望海楼的说书人。"),
        ("background", "白鹿十岁被商队带到海州。"),
        ("background", "后来他靠一段书救下了客人。"),
        ("personality", "白鹿怕高。"),
        ("speaking_style", "白鹿管听众叫“列位看官”。"),
    ]
    assert stated(ZH_STORY, "白鹿") == [("background", "白鹿是望海楼的说书人。"), ("relations", "柳敬亭是他的师父。")]


@pytest.mark.parametrize(
    ("label", "statement", "expected"),
    [
        ("background", "Ann is afraid of fog.", "personality"),
        ("personality", "Ann calls every visitor sailor.", "speaking_style"),
        ("speaking_style", "Tom is her younger brother.", "relations"),
        ("speaking_style", "Ann was born in Hull.", "background"),
        (
            "personality",
            "Ann likes old proverbs and talks about them.",
            "personality",
        ),  # fits two, so the model decides
        ("background", "Ann keeps the lighthouse.", "background"),
        ("relations", "Tom trusts her with his life.", "relations"),  # about Tom as well
        ("background", "安怕雾。", "personality"),
        ("personality", "安称呼客人为水手。", "speaking_style"),
        ("background", "汤姆是她的弟弟。", "relations"),
        ("speaking_style", "安出生在赫尔。", "background"),
    ],
)
def test_a_statement_is_put_under_another_heading_only_where_its_words_decide(
    label: str, statement: str, expected: str
) -> None:
    assert fitting_heading(label, statement, "安" if "安" in statement or "她" in statement else "Ann") == expected
