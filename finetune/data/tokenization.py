"""Tokenize one example: token ids and labels within ``max_length``, and what is truncated to fit.

Prompts are encoded by ``egosrag.prompts.encode``, which serving uses too, so a model is trained on exactly the tokens
that it will be given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from egosrag.prompts.encode import encode, encode_text
from finetune.data.args import DataArgs
from finetune.data.shapes import BadRow, Example

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100  # the label of a token without a loss, as in transformers
_LINE_BREAK_WITHIN = 128  # tokens: a truncated prompt starts at the next line if it begins within so many


@dataclass(frozen=True)
class StopTokens:
    """The token ids that end a trained text: ``turn`` a reply, ``text`` a document; equal if the model has only one."""

    turn: int
    text: int


class TokenizedRow(NamedTuple):
    """Token ids and labels of equal length; labels are ``IGNORED`` at tokens without a loss."""

    ids: list[int]
    labels: list[int]


def tokenize(
    example: Example, args: DataArgs, tokenizer: PreTrainedTokenizerBase, stops: StopTokens
) -> tuple[list[TokenizedRow], bool]:
    """Token ids and labels of an example.

    A document becomes as many rows of ``max_length`` tokens as it takes. A prompt with its answer is one row; if it is
    too long, the oldest turns are dropped first, then the beginning of the question.

    Args:
        example: the prompt and its answer, or a document.
        args: ``max_length``, ``template`` and ``loss`` are read.
        tokenizer: of the model that is trained.
        stops: the tokens that end a reply and a document.

    Returns:
        The rows, and whether the prompt was truncated.

    Raises:
        BadRow: the answer leaves no tokens for the prompt.
    """
    if not example.prompt:
        ids = [*encode_text(tokenizer, example.answer), stops.text]
        windows = (ids[at : at + args.max_length] for at in range(0, len(ids), args.max_length))
        # A window of one token has nothing to predict.
        return [TokenizedRow(window, list(window)) for window in windows if len(window) > 1], False
    row, truncated = _fit(example, args, tokenizer, stops)
    return [TokenizedRow(row.ids, list(row.ids)) if args.loss == "all" else row], truncated


def _fit(
    example: Example, args: DataArgs, tokenizer: PreTrainedTokenizerBase, stops: StopTokens
) -> tuple[TokenizedRow, bool]:
    """Prompt and answer within ``max_length``, and whether the prompt was truncated."""
    prompt, truncated = list(example.prompt), False
    answer = [*encode_text(tokenizer, example.answer), *([stops.turn] if example.closed else [])]
    ids, labels = _tokenize_prompt(prompt, args, tokenizer, stops)
    while len(ids) + len(answer) > args.max_length and (shorter := _without_oldest_turn(prompt)):
        prompt, truncated = shorter, True
        ids, labels = _tokenize_prompt(prompt, args, tokenizer, stops)
    excess = len(ids) + len(answer) - args.max_length
    if excess > 0:
        head = _head_length(prompt, ids, args, tokenizer)
        if head + excess >= len(ids):
            raise BadRow(
                f"the answer's {len(answer)} tokens leave no space for the prompt in max_length {args.max_length}"
            )
        excess += _tokens_to_line_break(ids[head + excess :], tokenizer)
        del ids[head : head + excess], labels[head : head + excess]
        truncated = True
    return TokenizedRow(ids + answer, labels + answer), truncated


def _tokenize_prompt(
    prompt: list[BaseMessage], args: DataArgs, tokenizer: PreTrainedTokenizerBase, stops: StopTokens
) -> TokenizedRow:
    """The prompt's ids, with labels at the assistant's earlier replies."""
    ids = encode(tokenizer, prompt, template=args.template)
    labels = [IGNORED] * len(ids)
    for n, message in enumerate(prompt[:-1]):
        if not isinstance(message, AIMessage):
            continue
        start = len(encode(tokenizer, prompt[:n], template=args.template))
        reply = [*encode_text(tokenizer, str(message.content)), stops.turn]
        # A template may rewrite the history (drop old reasoning, say): a reply that is not there gets no labels.
        if ids[start : start + len(reply)] == reply:
            labels[start : start + len(reply)] = reply
    return TokenizedRow(ids, labels)


def _without_oldest_turn(prompt: list[BaseMessage]) -> list[BaseMessage]:
    """The prompt without its oldest question and reply; empty if it has one question only."""
    questions = [n for n, message in enumerate(prompt) if isinstance(message, HumanMessage)]
    return prompt[: questions[0]] + prompt[questions[1] :] if len(questions) > 1 else []


def _head_length(prompt: list[BaseMessage], ids: list[int], args: DataArgs, tokenizer: PreTrainedTokenizerBase) -> int:
    """The number of ids before the question's own text: the system prompt and the template's tokens."""
    emptied = [HumanMessage("") if isinstance(message, HumanMessage) else message for message in prompt]
    length = 0
    for one, other in zip(ids, encode(tokenizer, emptied, template=args.template), strict=False):
        if one != other:
            break
        length += 1
    return length


def _tokens_to_line_break(ids: list[int], tokenizer: PreTrainedTokenizerBase) -> int:
    """The number of ids up to the end of the current line; 0 if no line ends nearby."""
    special = set(tokenizer.all_special_ids)
    for n, token in enumerate(ids[:_LINE_BREAK_WITHIN], 1):
        if token in special:
            break
        if "\n" in tokenizer.decode([token]):
            return n
    return 0
