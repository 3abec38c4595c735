"""For random rows and limits: labels are exactly the replies with their stop, prompts are whole, packing is exact."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from egosrag.prompts.encode import encode, encode_text
from finetune.data.args import DataArgs
from finetune.data.shapes import BadRow, ContextReply, Example
from finetune.data.tokenization import IGNORED, StopTokens, tokenize

pytestmark = pytest.mark.usefixtures("tiny_qwen")
quick = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

# Words, quotation marks, line breaks, special-token text and characters of several bytes.
pieces = st.sampled_from(
    [
        "yes",
        " no",
        "\n",
        "。",
        "“是的。”",
        '"',
        "<|im_end|>",
        "<|im_start|>user\n",
        "<|endoftext|>",
        "😀",
        "é",
        " ",
        "12",
    ]
)
texts = st.lists(pieces, min_size=1, max_size=24).map("".join).filter(lambda text: text.strip())


@st.composite
def conversations(draw: Any) -> tuple[BaseMessage, ...]:
    messages: list[BaseMessage] = [SystemMessage(draw(texts))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 4))):
        reply = draw(texts)
        messages += [HumanMessage(draw(texts)), draw(st.sampled_from([AIMessage, ContextReply]))(reply)]
    return (*messages, HumanMessage(draw(texts)))


@cache
def _tokenizer(folder: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def _stops(tokenizer: Any) -> StopTokens:
    return StopTokens(*(tokenizer.convert_tokens_to_ids(token) for token in ("<|im_end|>", "<|endoftext|>")))


def _args(length: int, **more: Any) -> DataArgs:
    return DataArgs(data=["-"], max_length=length, **more)


def _spans(labels: list[int]) -> list[list[int]]:
    """The runs of tokens with labels, each ended by the stop token."""
    spans: list[list[int]] = [[]]
    for label in labels:
        if label == IGNORED and spans[-1]:
            spans.append([])
        elif label != IGNORED:
            spans[-1].append(label)
    return [span for span in spans if span]


@given(
    prompt=conversations(), answer=texts, length=st.integers(1, 400), prefix=st.sampled_from(["", "Tim:", "悟空：“"])
)
@quick
def test_labels_are_the_replies_and_their_stops_and_the_prompt_parses_back(
    tiny_qwen: Any, prompt: tuple[BaseMessage, ...], answer: str, length: int, prefix: str
) -> None:
    tokenizer = _tokenizer(str(tiny_qwen))
    stops = _stops(tokenizer)
    whole = (*prompt, AIMessage(prefix)) if prefix else prompt
    example = Example("here", whole, answer, closed=not prefix)
    expected = [*encode_text(tokenizer, answer), *([] if prefix else [stops.turn])]
    try:
        (row,), truncated, unlabelled = tokenize(example, _args(length), tokenizer, stops)
    except BadRow as bad:
        # Only if not even the last character of the last question fits beside the answer.
        question = str(prompt[-1].content).rstrip()
        shortest = [
            *(m for m in prompt if isinstance(m, SystemMessage)),
            HumanMessage(question[-1:]),
            *whole[len(prompt) :],
        ]
        assert len(encode(tokenizer, shortest)) + len(expected) > length and "max_length" in str(bad)
        return
    assert len(row.ids) == len(row.labels) <= length
    assert all(label in (IGNORED, token) for token, label in zip(row.ids, row.labels, strict=True))
    served = row.ids[: -len(expected)]
    assert row.ids[-len(expected) :] == expected == row.labels[-len(expected) :]
    # The prompt is what serving sends for a tail of the conversation with the end of its first question.
    kept = _parse(tokenizer, served)
    assert encode(tokenizer, [*kept, *([AIMessage(prefix)] if prefix else [])]) == served
    system = [m for m in prompt if isinstance(m, SystemMessage)]
    turns = [m for m in prompt if not isinstance(m, SystemMessage)]
    own, tail = kept[: len(system)], kept[len(system) :]
    assert [m.content for m in own] == [m.content for m in system] and len(tail) % 2 == 1
    original = turns[len(turns) - len(tail) :]
    assert [m.content for m in tail[1:]] == [m.content for m in original[1:]]
    assert str(tail[0].content).strip() and str(original[0].content).endswith(str(tail[0].content))
    assert truncated == (len(tail) < len(turns) or tail[0].content != original[0].content)
    # Learned: every reply that is left and has a weight, with its stop, in order.
    replies = [m for m in original if isinstance(m, AIMessage) and not isinstance(m, ContextReply)]
    learned = [[*encode_text(tokenizer, str(m.content)), stops.turn] for m in replies]
    spans = _spans(row.labels[: -len(expected)])
    assert len(spans) + unlabelled == len(learned) and all(span in learned for span in spans)
    assert not unlabelled or any(str(m.content) != str(m.content).strip() for m in replies)


def _parse(tokenizer: Any, ids: list[int]) -> list[BaseMessage]:
    """The messages of a prompt in Qwen's template, read from its special tokens."""
    start, end = (tokenizer.convert_tokens_to_ids(token) for token in ("<|im_start|>", "<|im_end|>"))
    kinds: dict[str, type[BaseMessage]] = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
    messages: list[BaseMessage] = []
    opened: list[int] = []
    for token in ids:
        if token == start:
            opened = []
        elif token == end:
            role, _, content = tokenizer.decode(opened).partition("\n")
            messages.append(kinds[role](content))
        else:
            opened.append(token)
    assert tokenizer.decode(opened).startswith("assistant\n")
    default = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
    return messages[1:] if messages[0].content == default else messages


@given(prompt=conversations(), answer=texts, length=st.integers(1, 300))
@quick
def test_without_a_template_the_answer_and_its_stop_are_learned(
    tiny_qwen: Any, prompt: tuple[BaseMessage, ...], answer: str, length: int
) -> None:
    tokenizer = _tokenizer(str(tiny_qwen))
    stops = _stops(tokenizer)
    try:
        (row,), *_ = tokenize(Example("here", prompt, answer), _args(length, template=False), tokenizer, stops)
    except BadRow:
        return
    expected = [*encode_text(tokenizer, answer), stops.turn]
    assert len(row.ids) <= length and [x for x in row.labels if x != IGNORED] == expected == row.ids[-len(expected) :]
    assert tokenizer.decode(row.ids[: -len(expected)]).endswith("\n")


@given(text=texts, length=st.integers(2, 40))
@quick
def test_the_windows_of_a_document_are_its_tokens(tiny_qwen: Any, text: str, length: int) -> None:
    tokenizer = _tokenizer(str(tiny_qwen))
    stops = _stops(tokenizer)
    rows = tokenize(Example("here", (), text), _args(length), tokenizer, stops).rows
    ids = [*encode_text(tokenizer, text), stops.text]
    joined = [token for row in rows for token in row.ids]
    assert joined in (ids, ids[:-1]) and all(row.ids == row.labels and 2 <= len(row.ids) <= length for row in rows)


@given(rows=st.lists(st.tuples(conversations(), texts), min_size=1, max_size=5), everything=st.booleans())
@quick
def test_packing_changes_no_row(tiny_qwen: Any, rows: list[Any], everything: bool) -> None:
    from transformers import DataCollatorWithFlattening

    tokenizer = _tokenizer(str(tiny_qwen))
    args = _args(2048, loss="all" if everything else "answer")
    made = [tokenize(Example("r", p, a), args, tokenizer, _stops(tokenizer)).rows[0] for p, a in rows]
    packed = DataCollatorWithFlattening()([{"input_ids": r.ids, "labels": r.labels} for r in made])
    positions, ids = packed["position_ids"][0].tolist(), packed["input_ids"][0].tolist()
    starts = [n for n, position in enumerate(positions) if position == 0]
    assert len(starts) == len(made)
    for row, start, end in zip(made, starts, [*starts[1:], len(ids)], strict=True):
        assert ids[start:end] == row.ids and positions[start:end] == list(range(end - start))
        # No row predicts the first token of the next: the first label is ignored, as it is in a row alone.
        assert packed["labels"][0].tolist()[start:end] == [IGNORED, *row.labels[1:]]


@given(rows=st.lists(st.tuples(conversations(), texts), min_size=2, max_size=3))
@settings(quick, max_examples=10)
def test_the_loss_of_a_packed_batch_is_that_of_its_rows(tiny_qwen: Any, rows: list[Any]) -> None:
    import torch
    from transformers import DataCollatorWithFlattening

    from finetune.trainer.model import load_weights

    tokenizer = _tokenizer(str(tiny_qwen))
    model = load_weights(str(tiny_qwen), torch.float32).eval()
    made = [tokenize(Example("r", p, a), _args(512), tokenizer, _stops(tokenizer)) for p, a in rows if p]
    batch = [{"input_ids": t.rows[0].ids, "labels": t.rows[0].labels} for t in made]
    assume(batch)

    def loss(part: list[dict[str, list[int]]]) -> tuple[float, int]:
        packed = DataCollatorWithFlattening(return_flash_attn_kwargs=True)(part)
        number = int((packed["labels"][0, 1:] != IGNORED).sum())
        with torch.inference_mode():
            return float(model(**packed, use_cache=False).loss), number

    alone = [loss([one]) for one in batch]
    together, number = loss(batch)
    assert number == sum(n for _, n in alone)
    assert together == pytest.approx(sum(value * n for value, n in alone) / number, rel=1e-4)
