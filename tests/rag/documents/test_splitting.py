"""Passages: whole sentences, exact offsets, bounded sizes, nothing lost; Chinese and English alike."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egosrag.errors import SettingsError
from egosrag.rag.documents.splitting import LATIN_SCALE, section_at, split_pages
from egosrag.schema import Heading, Page
from egosrag.text.language import language_of

TEXT = st.text(alphabet=st.sampled_from("开关门盖尾abcDr 12.5,!?。！？；，…“”（）「」\"'\n■|：e.g"), max_size=900)


@given(TEXT, st.integers(20, 120), st.data())
@settings(max_examples=150, deadline=None)
def test_passages_are_exact_and_bounded_and_cover_the_text(text: str, window: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, window - 1))
    page = Page(source="m", page=4, text=text)
    passages = split_pages([page], window=window, overlap=overlap)
    limit = int(window * LATIN_SCALE) if language_of(text) == "en" else window
    covered = set[int]()
    for passage in passages:
        assert passage.text == text[passage.start : passage.end]
        assert 0 < len(passage.text) <= limit
        assert (passage.page, passage.source) == (4, "m")
        covered |= set(range(passage.start, passage.end))
    assert all(c.isspace() for i, c in enumerate(text) if i not in covered)
    assert [p.start for p in passages] == sorted({p.start for p in passages})
    assert len({p.id for p in passages}) == len(passages)


def test_passages_hold_whole_sentences_and_share_some() -> None:
    text = "".join(f"这是第{n:02d}个句子，它说明如何操作车辆的某个部分。" for n in range(40))
    passages = split_pages([Page(source="m", page=1, text=text)], window=100, overlap=40)
    assert all(p.text.startswith("这是第") and p.text.endswith("。") for p in passages)
    assert all(b.start < a.end for a, b in zip(passages, passages[1:], strict=False))


def test_an_endless_sentence_is_cut_at_commas_and_then_hard() -> None:
    (first, *rest) = split_pages([Page(source="m", page=1, text="一二三四五，" * 20)], window=50, overlap=0)
    assert first.text.endswith("，")
    assert max(len(p.text) for p in split_pages([Page(source="m", page=1, text="字" * 50_000)])) == 300
    assert rest


def test_a_warning_stays_with_its_head() -> None:
    text = "■先做这一步，然后再做那一步。\n警告！\n■切勿在行驶时打开，否则可能受伤。"
    passages = split_pages([Page(source="m", page=1, text=text)], window=26, overlap=0)
    assert [p.text for p in passages] == [text[:15], text[16:]]


def test_the_section_of_an_offset_is_the_path_of_headings_above_it() -> None:
    text = "前文。\n加油\n打开油箱盖。\n步骤\n拧。\n漆面\n打蜡。"
    marked = [(1, "加油"), (2, "步骤"), (1, "漆面")]
    headings = tuple(Heading(start=text.index(title), level=level, title=title) for level, title in marked)
    page = Page(source="m", page=1, text=text, section="保养 > 清洁", headings=headings)
    sections = {word: section_at(page, text.index(word)) for word in ("前文", "打开", "拧", "打蜡")}
    assert sections == {
        "前文": "保养 > 清洁",
        "打开": "保养 > 加油",
        "拧": "保养 > 加油 > 步骤",
        "打蜡": "保养 > 漆面",
    }


@pytest.mark.parametrize(("window", "overlap"), [(10, 0), (100, 100), (100, -1)])
def test_impossible_sizes_are_an_error(window: int, overlap: int) -> None:
    with pytest.raises(SettingsError, match="window"):
        split_pages([], window=window, overlap=overlap)
