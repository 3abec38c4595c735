"""Evidence: the sentences of a source that support a statement, in prose and in the dialogue of a story."""

from __future__ import annotations

import pytest

from egosrag.egos.extract.chunks import Chunk
from egosrag.egos.extract.evidence import find_support
from egosrag.egos.extract.mentions import Mentions
from egosrag.egos.extract.relations import stated_relation

STORY = """Edda Marlow stood at the top of the steps. A boy rowed in.

"What do they call you, sailor?" said Edda.

"Pip Arden, ma'am. He said you need an apprentice."

"Were you a captain?" he asked.

"I was a cook," said Edda. "For 20 years. It was a good stove."

"You are afraid," said Pip.

"Of fog? Yes," said Edda. "It never shouts."

Her brother Tom came with the bread boat. Pip ate three plates of soup.
"""
ZH_STORY = """顾青禾放下螺丝刀。

阿铁问：“我娘说，您收徒弟。”

“先坐一个时辰，”顾青禾说，“听一听。”

“师傅，您怕打雷？”

“怕，”顾青禾说，“山洪来的那天晚上，先打的雷。”

顾小满笑着对阿铁说：“我爹走得比他的钟快。”
"""


def supported(statement: str) -> str | None:
    """The quote that supports a statement about the story's role."""
    text, name = (STORY, "Edda") if statement.isascii() else (ZH_STORY, "顾青禾")
    support = find_support(statement, name, Chunk(0, 0, len(text), text), "a.txt", Mentions(text, name).about)
    return support[0].quote if support else None


@pytest.mark.parametrize(
    ("statement", "quote"),
    [
        ("Edda was a cook for 20 years.", '"I was a cook," said Edda. "For 20 years.'),
        ("Edda fears fog.", '"Of fog? Yes," said Edda.'),
        ("Tom is Edda's brother.", "Her brother Tom came with the bread boat."),
        ("Pip is Edda's apprentice.", "you need an apprentice"),
        ("顾青禾怕打雷。", "“怕，”顾青禾说"),
        ("阿铁是顾青禾的徒弟。", "您收徒弟"),
        ("顾小满是顾青禾的女儿。", "我爹走得比他的钟快"),
    ],
)
def test_a_story_supports_what_it_shows_in_speech_in_answers_and_in_relations(statement: str, quote: str) -> None:
    assert quote in (supported(statement) or "")


@pytest.mark.parametrize(
    "statement",
    [
        "Edda was a captain.",  # only asked
        "Edda is a good mother.",  # a generality of words that occur somewhere
        "Edda was a cook for 30 years.",
        "Tom is Edda's cousin.",
        "Pip ate three plates of soup.",  # about another
        "I was a cook.",
        '"I was a cook," said Edda.',
        "顾小满笑着说。",
        "阿铁是顾青禾的弟弟。",
    ],
)
def test_what_is_asked_invented_or_about_another_is_not_supported(statement: str) -> None:
    assert supported(statement) is None


@pytest.mark.parametrize(
    ("statement", "quote", "kept"),
    [
        ("Juno is a surveyor.", '"How long?" asked the surveyor, and Juno laughed.', False),
        ("Juno is a pilot.", "Juno, the pilot of the Goose, laughed.", True),
        ("Juno is a pilot.", "Juno laughed as the pilot of the Goose laughs.", True),
        ("Juno is eleven years old.", '"Eleven years of salt and letters," said Juno.', False),
        ("Juno is eleven years old.", "Juno had turned eleven years before the war.", True),
        ("洛三娘二十一岁。", "洛三娘走了二十一年。", False),
        ("洛三娘二十一岁。", "洛三娘那年二十一岁。", True),
    ],
)
def test_another_s_work_and_a_number_of_years_are_not_the_role_s(statement: str, quote: str, kept: bool) -> None:
    name = "Juno" if statement.isascii() else "洛三娘"
    found = find_support(statement, name, Chunk(0, 0, len(quote), quote), "a.txt", Mentions(quote, name).about)
    assert bool(found) is kept


@pytest.mark.parametrize(
    ("statement", "other"),
    [
        ("Tom Marlow is her younger brother.", "Tom Marlow"),
        ("Edda's cat is called Biscuit.", "Biscuit"),
        ("Edda is a sister of mercy.", None),
        ("阿铁是他的徒弟。", "阿铁"),
        ("顾青禾是修钟匠。", None),
    ],
)
def test_a_statement_of_a_relation_is_known_by_its_form(statement: str, other: str | None) -> None:
    relation = stated_relation(statement, "Edda" if statement.isascii() else "顾青禾")
    assert (relation.other if relation else None) == other
