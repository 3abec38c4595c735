"""The prompt within the token budget: it never overflows the window, and what is left out first is stated."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egosrag.errors import WindowError
from egosrag.models.scripted import ScriptedChatModel
from egosrag.rag.answer.token_budget import compose_prompt
from egosrag.rag.retrieval.search import ScoredPassage
from egosrag.schema import Passage

QUESTION = {"zh": "智能钥匙在多远的距离内有效？", "en": "How far away does the smart key work?"}
SENTENCE = {"zh": "智能钥匙在距离车辆二十五米以内有效。", "en": "The smart key works within 25 metres of the car. "}


def hits(language: str, lengths: list[int]) -> list[ScoredPassage]:
    texts = [SENTENCE[language] * n for n in lengths]
    return [
        ScoredPassage(Passage(id=str(n), source="m.pdf", page=n, start=0, end=len(text), text=text), 1.0)
        for n, text in enumerate(texts, 1)
    ]


@settings(max_examples=40, deadline=None)
@given(
    language=st.sampled_from(["zh", "en"]),
    lengths=st.lists(st.integers(1, 40), max_size=6),
    turns=st.lists(st.integers(0, 60), max_size=5),
    window=st.integers(200, 1500),
)
def test_the_prompt_fits_and_contains_the_whole_question(
    language: str, lengths: list[int], turns: list[int], window: int
) -> None:
    model = ScriptedChatModel(responses=[], context_window=window, max_new_tokens=64)
    history = [(f"{n}?", SENTENCE[language] * n) for n in turns]
    found = hits(language, lengths)
    messages, kept = compose_prompt(model, QUESTION[language], history, found, language)
    assert model.count_tokens(messages) + 64 <= window
    assert QUESTION[language] in str(messages[-1].text)
    assert [p.id for p in kept] == [hit.passage.id for hit in found][: len(kept)]
    assert all(hit.passage.text.startswith(p.text) for p, hit in zip(kept, found, strict=False))
    assert bool(kept) == bool(found)


def test_old_turns_are_left_out_before_the_second_passage_and_after_the_third() -> None:
    history = [("old", "old " * 30), ("new", "new " * 30)]
    prompts = []
    for window in range(1000, 200, -20):
        model = ScriptedChatModel(responses=[], context_window=window, max_new_tokens=16)
        messages, kept = compose_prompt(model, QUESTION["en"], history, hits("en", [6, 6, 6, 6]), "en")
        text = str(messages[-1].text)
        prompts.append((len(kept), "old old" in text, "new new" in text))
    order = list(dict.fromkeys(prompts))
    assert order[:3] == [(4, True, True), (3, True, True), (2, True, True)]
    assert order[3:6] == [(2, False, True), (2, False, False), (1, False, False)]


def test_a_question_that_does_not_fit_alone_is_an_error() -> None:
    model = ScriptedChatModel(responses=[], context_window=300, max_new_tokens=16)
    with pytest.raises(WindowError, match="ask a shorter one"):
        compose_prompt(model, QUESTION["en"] * 60, [], [], "en")
