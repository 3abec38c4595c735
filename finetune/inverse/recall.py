"""Inverse recall: how well a model recovers the instruction of an output (and the forward direction beside it).

The loss of an instruction given input and output is exact and needs no generation. ROUGE-L of a greedy attempt shows
whether the model writes an instruction at all, or answers the output as if it were a question.
"""

from __future__ import annotations

import os
import re
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from egosrag.errors import TrainingError
from egosrag.prompts.encode import encode
from finetune.data.shapes import BadRow, Example
from finetune.data.tokenization import StopTokens, fit_prompt, tokenize
from finetune.inverse.args import InverseArgs
from finetune.inverse.rows import Task
from finetune.trainer.generation import generate_greedy

_WORDS = re.compile(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+")
_GENERATED_ROWS = 16  # of each set: generation is slow
_MAX_NEW_TOKENS = 64


def measure_recall(
    model: Any, tokenizer: Any, stops: StopTokens, sets: Mapping[str, Sequence[Task]], args: InverseArgs
) -> dict[str, float]:
    """Losses and ROUGE-L on each set of rows.

    Args:
        model: put into evaluation mode for the measurement.
        tokenizer: its tokenizer.
        stops: the tokens that end a reply.
        sets: rows by the name of their set.
        args: the run's settings.

    Returns:
        ``inverse_nll_SET`` and ``forward_nll_SET`` (nats per token, mean over rows) and ``inverse_rouge_SET`` (0 to 1).
    """
    was_training = model.training
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if torch.cuda.is_available() else model.device
    model.eval().to(device)
    recall: dict[str, float] = {}
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=args.computes_in_bf16):
            for name, tasks in sets.items():
                inverse = [task.inverse(args.system) for task in tasks]
                forward = [task.forward(args.system) for task in tasks]
                recall[f"inverse_nll_{name}"] = _mean_nll(model, tokenizer, stops, inverse, args)
                recall[f"forward_nll_{name}"] = _mean_nll(model, tokenizer, stops, forward, args)
                recall[f"inverse_rouge_{name}"] = _mean_rouge(model, tokenizer, stops, inverse[:_GENERATED_ROWS], args)
    finally:
        model.train(was_training)
    return recall


def _mean_nll(model: Any, tokenizer: Any, stops: StopTokens, examples: Sequence[Example], args: InverseArgs) -> float:
    """The mean over the rows that fit ``max_length``: those that training would use."""
    rows = [_answer_nll(model, tokenizer, stops, example, args) for example in examples]
    return _mean([nll for nll in rows if nll is not None], args)


def _mean(values: Sequence[float], args: InverseArgs) -> float:
    if not values:
        raise TrainingError(f"no held-out row fits max_length {args.max_length}: raise it")
    return statistics.fmean(values)


@torch.inference_mode()
def _answer_nll(model: Any, tokenizer: Any, stops: StopTokens, example: Example, args: InverseArgs) -> float | None:
    """Nats per token of the answer and its stop token; None for a row that does not fit."""
    try:
        (row,), *_ = tokenize(example, args, tokenizer, stops)
    except BadRow:
        return None
    ids, labels = (torch.tensor([values], device=model.device) for values in row)
    positions = torch.arange(ids.shape[1], device=ids.device)[None]
    return float(model(input_ids=ids, position_ids=positions, labels=labels).loss)


def _mean_rouge(model: Any, tokenizer: Any, stops: StopTokens, examples: Sequence[Example], args: InverseArgs) -> float:
    """ROUGE-L between the answers that the model generates and the examples' own."""
    prompts, references = [], []
    for example in examples:
        try:
            prompt = fit_prompt(example.prompt, _MAX_NEW_TOKENS, args, tokenizer)
        except BadRow:
            continue
        prompts.append(encode(tokenizer, prompt, template=args.template))
        references.append(example.answer)
    if not prompts:
        return _mean([], args)
    generated = generate_greedy(model, tokenizer, prompts, [stops.turn, stops.text], _MAX_NEW_TOKENS)
    return _mean([rouge_l(text, reference) for text, reference in zip(generated, references, strict=True)], args)


def rouge_l(text: str, reference: str) -> float:
    """ROUGE-L: F1 of the longest common subsequence of words, Chinese by the character (Lin 2004)."""
    one, other = _WORDS.findall(text.lower()), _WORDS.findall(reference.lower())
    if not one or not other:
        return 0.0
    # row[n]: length of the longest common subsequence of the words of ``text`` so far and other[:n]
    row = [0] * (len(other) + 1)
    for word in one:
        diagonal = 0
        for n, match in enumerate(other, 1):
            diagonal, row[n] = row[n], diagonal + 1 if word == match else max(row[n], row[n - 1])
    return 2 * row[-1] / (len(one) + len(other))
