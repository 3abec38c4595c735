"""Tokenize one example: token ids and labels within ``max_length``, and what is truncated to fit.

Prompts are encoded by ``egosrag.prompts.encode``, which serving uses too, so a model is trained on exactly the tokens
that it will be given.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, SystemMessage

from egosrag.prompts.encode import encode, encode_own_text, encode_text
from finetune.data.args import DataArgs
from finetune.data.shapes import BadRow, ContextReply, Example, is_question

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100  # the label of a token without a loss, as in transformers
_MARKS = (chr(0xF0000), "x", "0")  # texts that a reply is replaced by, to find where it is in a rendered template
_LINE_BREAK_WITHIN = 500  # characters: a truncated question starts at the next line if one begins within so many


@dataclass(frozen=True)
class StopTokens:
    """The token ids that end a trained text: ``turn`` a reply, ``text`` a document; equal if the model has only one."""

    turn: int
    text: int


class TokenizedRow(NamedTuple):
    """Token ids and labels of equal length; labels are ``IGNORED`` at tokens without a loss."""

    ids: list[int]
    labels: list[int]


class Tokenized(NamedTuple):
    """An example as rows, whether its prompt was truncated, and how many of its earlier replies have no labels.

    A reply has none where the template does not repeat it word for word with a stop token behind it: without a
    template, or where the template drops old reasoning, say.
    """

    rows: list[TokenizedRow]
    truncated: bool = False
    unlabelled: int = 0


def tokenize(example: Example, args: DataArgs, tokenizer: PreTrainedTokenizerBase, stops: StopTokens) -> Tokenized:
    """Token ids and labels of an example.

    A document becomes as many rows of ``max_length`` tokens as it takes. A prompt with its answer is one row; if it is
    too long, the oldest exchanges are dropped first, then the beginning of the question. The system prompt, the tokens
    of the template and the answer are never cut.

    Args:
        example: the prompt and its answer, or a document.
        args: ``max_length``, ``template`` and ``loss`` are read.
        tokenizer: of the model that is trained.
        stops: the tokens that end a reply and a document.

    Raises:
        BadRow: the answer leaves no tokens for the question.
    """
    if not example.prompt:
        ids = [*encode_text(tokenizer, example.answer), stops.text]
        windows = (ids[at : at + args.max_length] for at in range(0, len(ids), args.max_length))
        # A window of one token has nothing to predict.
        return Tokenized([TokenizedRow(window, list(window)) for window in windows if len(window) > 1])
    answer = [*encode_own_text(tokenizer, example.answer), *([stops.turn] if example.closed else [])]
    prompt = fit_prompt(example.prompt, len(answer), args, tokenizer, example.breaks)
    ids = encode(tokenizer, prompt, template=args.template)
    labels, unlabelled = _prompt_labels(prompt, ids, args, tokenizer, stops)
    row = TokenizedRow(ids + answer, ids + answer if args.loss == "all" else labels + answer)
    return Tokenized([row], prompt != list(example.prompt), 0 if args.loss == "all" else unlabelled)


def fit_prompt(
    prompt: Sequence[BaseMessage],
    answer: int,
    args: DataArgs,
    tokenizer: PreTrainedTokenizerBase,
    breaks: Sequence[int] | None = None,
) -> list[BaseMessage]:
    """The prompt, shortened where it and an answer of ``answer`` tokens have more than ``max_length``.

    Args:
        prompt: the messages.
        answer: tokens of the answer.
        args: ``max_length`` and ``template`` are read.
        tokenizer: of the model that is trained.
        breaks: where the question may begin, as offsets in it; None: anywhere.

    Raises:
        BadRow: not even the end of the question fits.
    """
    budget = args.max_length - answer

    def fits(messages: Sequence[BaseMessage]) -> bool:
        return len(encode(tokenizer, messages, template=args.template)) <= budget

    if fits(prompt):
        return list(prompt)
    questions = [n for n, message in enumerate(prompt) if is_question(message)]
    kept = [[*prompt[: questions[0]], *prompt[at:]] for at in questions[1:]]
    first = bisect_left(range(len(kept)), True, key=lambda n: fits(kept[n]))
    if first < len(kept):
        return kept[first]
    last = kept[-1] if kept else list(prompt)
    if questions and (end := _question_end(last, questions[0], fits, breaks)) is not None:
        return end
    taken, rest = f"the answer's {answer} tokens leave", "prompt"
    if any(isinstance(message, SystemMessage) for message in prompt):
        taken, rest = f"the system prompt and the answer's {answer} tokens leave", "question"
    raise BadRow(f"{taken} no space for the {rest} in max_length {args.max_length}")


def _question_end(
    prompt: list[BaseMessage], at: int, fits: Callable[[list[BaseMessage]], bool], breaks: Sequence[int] | None
) -> list[BaseMessage] | None:
    """The prompt with the longest end of its question that fits, from a line break on if one is near."""
    question = str(prompt[at].content)

    def cut(start: int) -> list[BaseMessage]:
        return [*prompt[:at], type(prompt[at])(question[start:]), *prompt[at + 1 :]]

    if breaks is not None:
        return next((shorter for shorter in map(cut, breaks) if fits(shorter)), None)
    last = len(question.rstrip())
    start = bisect_left(range(last), True, key=lambda n: fits(cut(n)))
    while start < last and not fits(cut(start)):  # a shorter text may have a token more
        start += 1
    line = question.find("\n", start, start + _LINE_BREAK_WITHIN) + 1
    if question[start - 1 : start] != "\n" and line and line < last and fits(cut(line)):
        start = line
    return cut(start) if start < last else None


def _prompt_labels(
    prompt: Sequence[BaseMessage],
    ids: Sequence[int],
    args: DataArgs,
    tokenizer: PreTrainedTokenizerBase,
    stops: StopTokens,
) -> tuple[list[int], int]:
    """Labels at the assistant's earlier replies in the prompt's ids, and the number of replies without any."""
    labels, unlabelled = [IGNORED] * len(ids), 0
    for n, message in enumerate(prompt[:-1]):
        if not isinstance(message, AIMessage) or isinstance(message, ContextReply):
            continue
        span = _reply_span(prompt, n, ids, args, tokenizer, stops)
        if span:
            labels[span] = ids[span]
        else:
            unlabelled += 1
    return labels, unlabelled


def _reply_span(
    prompt: Sequence[BaseMessage],
    n: int,
    ids: Sequence[int],
    args: DataArgs,
    tokenizer: PreTrainedTokenizerBase,
    stops: StopTokens,
) -> slice | None:
    """Where the reply ``prompt[n]`` and its stop token are in ``ids``; None if the template writes it in another way.

    Its ids are those that change when it is replaced. They may have a space before them (Llama 2's template) and white
    space before the stop token.
    """
    text = str(prompt[n].content)
    own = encode_own_text(tokenizer, text)
    encoded = {mark: encode_text(tokenizer, mark) for mark in _MARKS}
    # A common first or last token would not change.
    differing = (mark for mark, other in encoded.items() if own[:1] != other[:1] and own[-1:] != other[-1:])
    mark = next(differing, _MARKS[0])
    replaced = encode(tokenizer, [*prompt[:n], AIMessage(mark), *prompt[n + 1 :]], template=args.template)
    start = _common(ids, replaced)
    end = len(ids) - _common(ids[start:][::-1], replaced[start:][::-1])
    if list(ids[start:end]) not in (own, *(encode_own_text(tokenizer, t) for t in (text.strip(), f" {text.strip()}"))):
        return None
    for stop in range(end, min(end + 2, len(ids))):
        if ids[stop] == stops.turn:
            return slice(start, stop + 1)
        if tokenizer.decode([ids[stop]]).strip():
            break
    return None


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """The length of the common beginning."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
