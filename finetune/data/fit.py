"""An example as token ids and labels that fit: what is learned, what is only read, what is cut.

Prompts are encoded by ``egosrag.prompts.encode``, which serving uses too, so a model is trained on exactly the
tokens that it will be given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from egosrag.prompts.encode import encode, encode_text
from finetune.data.shapes import BadRow, Example
from finetune.trainer.args import SftArgs

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100


@dataclass(frozen=True)
class Stops:
    """The tokens that end what is learned: ``turn`` a reply, ``text`` a document; equal where there is one only."""

    turn: int
    text: int


def fit(
    example: Example, args: SftArgs, tokenizer: PreTrainedTokenizerBase, stops: Stops
) -> tuple[list[int], list[int], bool]:
    """Ids and labels within ``max_length``; what is over goes from the oldest turns, then from the question.

    Args:
        example: with a prompt.
        args: ``max_length`` and ``template`` are read.
        tokenizer: of the model that is trained.
        stops: the tokens that end a reply and a document.

    Returns:
        Ids, labels (``IGNORED`` where nothing is learned) and whether anything was cut.

    Raises:
        BadRow: the answer leaves the prompt no room.
    """
    prompt, cut = list(example.prompt), False
    answer = [*encode_text(tokenizer, example.answer), *([stops.turn] if example.closed else [])]
    ids, labels = _prompt(prompt, args, tokenizer, stops)
    while len(ids) + len(answer) > args.max_length and (shorter := _without_oldest(prompt)):
        prompt, cut = shorter, True
        ids, labels = _prompt(prompt, args, tokenizer, stops)
    over = len(ids) + len(answer) - args.max_length
    if over > 0:
        head = _head(prompt, ids, args, tokenizer)
        if head + over >= len(ids):
            raise BadRow(f"the answer's {len(answer)} tokens leave the prompt no room in max_length {args.max_length}")
        over += _to_line_end(ids[head + over :], tokenizer)
        del ids[head : head + over], labels[head : head + over]
        cut = True
    return ids + answer, labels + answer, cut


def _prompt(
    prompt: list[BaseMessage], args: SftArgs, tokenizer: PreTrainedTokenizerBase, stops: Stops
) -> tuple[list[int], list[int]]:
    """The prompt's ids, with labels at the assistant's earlier replies."""
    whole = encode(tokenizer, prompt, template=args.template)
    labels = [IGNORED] * len(whole)
    for n, message in enumerate(prompt[:-1]):
        if not isinstance(message, AIMessage):
            continue
        start = len(encode(tokenizer, prompt[:n], template=args.template))
        reply = [*encode_text(tokenizer, str(message.content)), stops.turn]
        # A template may rewrite history (drop old reasoning, say); then the reply is no longer there to be learned.
        if whole[start : start + len(reply)] == reply:
            labels[start : start + len(reply)] = reply
    return whole, labels


def _without_oldest(prompt: list[BaseMessage]) -> list[BaseMessage]:
    """The prompt without its oldest question and reply; empty when it has one question only."""
    asked = [n for n, message in enumerate(prompt) if isinstance(message, HumanMessage)]
    return prompt[: asked[0]] + prompt[asked[1] :] if len(asked) > 1 else []


def _head(prompt: list[BaseMessage], ids: list[int], args: SftArgs, tokenizer: PreTrainedTokenizerBase) -> int:
    """How many ids stand before the question's own text: the system prompt and the template's marks."""
    emptied = [HumanMessage("") if isinstance(message, HumanMessage) else message for message in prompt]
    same = 0
    for one, other in zip(ids, encode(tokenizer, emptied, template=args.template), strict=False):
        if one != other:
            break
        same += 1
    return same


def _to_line_end(ids: list[int], tokenizer: PreTrainedTokenizerBase) -> int:
    """How many more ids to cut so that the rest opens with a whole line; 0 when no line ends soon."""
    special = set(tokenizer.all_special_ids)
    for n, token in enumerate(ids[:128], 1):
        if token in special:
            break
        if "\n" in tokenizer.decode([token]):
            return n
    return 0
