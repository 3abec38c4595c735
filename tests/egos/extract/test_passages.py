"""What Extract finds without a model: passages, sentences, lines of the role, labels of a reply."""

from __future__ import annotations

import re

import pytest

from egosrag.egos.extract.chunks import select_chunks, source_sentences, split_sources
from egosrag.egos.extract.dialogue import role_lines
from egosrag.egos.extract.evidence import parse_labelled_lines
from tests.egos.extract.sources import model, novel


def test_labels_are_parsed_in_the_forms_that_models_write() -> None:
    said = "Sure! Here it is:\n1. **Background**: a baker\n- born in Hull\n"
    said += "## Personality Traits:\n* kind\nRelationships - none\n说话风格: 话不多\nNone"
    assert parse_labelled_lines(said) == [
        ("background", "a baker"), ("background", "born in Hull"), ("personality", "kind"),
        ("personality", "Relationships - none"), ("speaking_style", "话不多"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "name", "lines"),
    [
        ("“Come in,” said Gatsby. “Who is it?” asked Nick.", "Gatsby", ["Come in"]),
        ('Gatsby said: "Come in, old sport." He left.', "Gatsby", ["Come in, old sport."]),
        ('Nick: "Who is it?"\nGatsby: "It is me."', "Gatsby", ["It is me."]),
        ("阿虚:「现在就开始？」\n春日:「那里就很好」(指向操场)", "春日", ["那里就很好"]),
        ("悟空道：“师父莫怕。”八戒笑道：“猴哥！”", "悟空", ["师父莫怕。"]),
        ("“我们走吧。”悟空说。", "悟空", ["我们走吧。"]),
        ("八戒道：“猴哥！”悟空道：“莫怕莫怕。”那悟空笑道：“你这呆子。”", "悟空", ["莫怕莫怕。", "你这呆子。"]),
        ("他对悟空说：“师父有难。”", "悟空", []),
        ('Nick said to Gatsby: "Come in now." “Go!” Gatsby: "I will go."', "Gatsby", ["I will go."]),
        ("Leonard to Sheldon:「Agreed then.」", "Sheldon", []),
        ("佟湘玉：展堂。（下楼）老邢。\n老邢：你来得正好。", "佟湘玉", ["展堂。（下楼）老邢。"]),
    ],
)
def test_lines_of_the_role_are_found_by_patterns(text: str, name: str, lines: list[str]) -> None:
    found = role_lines([("a", text)], name)
    assert [line.text for line in found] == lines
    assert all(text[place.start : place.end] == place.quote for line in found for place in line.evidence)


def test_sentences_join_wrapped_lines_and_what_follows_a_quotation() -> None:
    text = "Mr. Fox left. “Stop!” he cried. "
    text += "A long line of a novel that was broken by hand for its width goes\non here.\n\n第一句。“第二句！”第三句"
    found = [text[a:b] for a, b in source_sentences(text)]
    assert found[:3] == ["Mr. Fox left.", "“Stop!” he cried.", found[2]]
    assert found[2].endswith("goes\non here.")
    assert found[3:] == ["第一句。", "“第二句！”", "第三句"]


def test_chunks_cover_the_text_and_fit_the_budget() -> None:
    counted = model().count_tokens
    text = novel(40) + "\n\n" + "verylongword" * 400
    chunks = split_sources([("a", text)], 60, counted)
    assert all(counted(chunk.text) <= 60 and text[chunk.start : chunk.end] == chunk.text for chunk in chunks)
    covered = "".join(chunk.text for chunk in chunks)
    assert re.sub(r"\s", "", covered) == re.sub(r"\s", "", text)


def test_a_passage_ends_with_a_paragraph_where_it_can() -> None:
    text = "\n".join(f'"I have {n} ships. They are old," said Ann. "I never lost one."' for n in range(20, 40))
    chunks = split_sources([("a", text)], 70, model().count_tokens, paragraphs=True)
    assert len(chunks) > 2
    assert all(chunk.text.startswith('"I have') and chunk.text.endswith('lost one."') for chunk in chunks)
    torn = split_sources([("a", text)], 70, model().count_tokens)
    assert not all(chunk.text.startswith('"I have') for chunk in torn)


def test_neighbouring_chunks_fill_the_limit() -> None:
    chunks = split_sources([("a", novel(40))], 40, model().count_tokens)
    naming = [chunk for chunk in chunks if "Gatsby" in chunk.text]
    read = select_chunks(chunks, "Gatsby", len(naming) + 2)
    assert len(read) == len(naming) + 2
    assert {chunk.start for chunk in naming} < {chunk.start for chunk in read}
