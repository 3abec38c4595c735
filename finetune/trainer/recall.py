"""How well a model tells instructions from outputs, measured directly (and the usual direction beside it).

The loss of an instruction given input and output is exact and needs no generation. ROUGE-L of a greedy attempt says
whether the model writes an instruction at all, or answers the output as if it were a question.
"""

from __future__ import annotations

import os
import re
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from egosrag.prompts.encode import encode, encode_text
from finetune.trainer.samples import written

if TYPE_CHECKING:
    from finetune.data.fit import Stops
    from finetune.data.shapes import Example
    from finetune.inverse import InverseArgs, Task

_WORDS = re.compile(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+")
_GENERATED = 16  # rows of each set that are written out: generation is slow
_NEW_TOKENS = 64


def measure(
    net: Any, tokenizer: Any, stops: Stops, probes: Mapping[str, Sequence[Task]], args: InverseArgs
) -> dict[str, float]:
    """Losses and ROUGE-L on each set of rows.

    Args:
        net: the model; it is put into evaluation mode, and back.
        tokenizer: its tokenizer.
        stops: the tokens that end a reply.
        probes: rows by the name of their set.
        args: the run's settings.

    Returns:
        ``inverse_nll_SET`` and ``forward_nll_SET`` (nats a token, mean over rows) and ``inverse_rouge_SET`` (0 to 1).
    """
    was_training = net.training
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if torch.cuda.is_available() else net.device
    net.eval().to(device)
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=args.precision == "bf16"):
            return _measure(net, tokenizer, stops, probes, args)
    finally:
        net.train(was_training)


def _measure(
    net: Any, tokenizer: Any, stops: Stops, probes: Mapping[str, Sequence[Task]], args: InverseArgs
) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, tasks in probes.items():
        inverse = [task.inverse(args.system) for task in tasks]
        forward = [task.forward(args.system) for task in tasks]
        found[f"inverse_nll_{name}"] = statistics.fmean(_nll(net, tokenizer, stops, e, args) for e in inverse)
        found[f"forward_nll_{name}"] = statistics.fmean(_nll(net, tokenizer, stops, e, args) for e in forward)
        some = inverse[:_GENERATED]
        written = _written(net, tokenizer, stops, some, args)
        pairs = zip(written, some, strict=True)
        found[f"inverse_rouge_{name}"] = statistics.fmean(rouge_l(said, meant.answer) for said, meant in pairs)
    return found


@torch.inference_mode()
def _nll(net: Any, tokenizer: Any, stops: Stops, example: Example, args: InverseArgs) -> float:
    answer = [*encode_text(tokenizer, example.answer), stops.turn][: args.max_length - 1]
    prompt = encode(tokenizer, example.prompt, template=args.template)[-(args.max_length - len(answer)) :]
    ids = torch.tensor([prompt + answer], device=net.device)
    labels = torch.tensor([[-100] * len(prompt) + answer], device=net.device)
    return float(net(input_ids=ids, position_ids=_positions(ids), labels=labels).loss)


def _positions(ids: torch.Tensor) -> torch.Tensor:
    return torch.arange(ids.shape[1], device=ids.device)[None]


def _written(net: Any, tokenizer: Any, stops: Stops, examples: Sequence[Example], args: InverseArgs) -> list[str]:
    """What the model writes for each example."""
    room = args.max_length - _NEW_TOKENS
    prompts = [encode(tokenizer, example.prompt, template=args.template)[-room:] for example in examples]
    return written(net, tokenizer, prompts, [stops.turn, stops.text], _NEW_TOKENS)


def rouge_l(said: str, meant: str) -> float:
    """ROUGE-L: F1 of the longest common subsequence of words, Chinese by the character (Lin 2004)."""
    one, other = _WORDS.findall(said.lower()), _WORDS.findall(meant.lower())
    if not one or not other:
        return 0.0
    row = [0] * (len(other) + 1)
    for word in one:
        last = 0
        for n, match in enumerate(other, 1):
            last, row[n] = row[n], last + 1 if word == match else max(row[n], row[n - 1])
    return 2 * row[-1] / (len(one) + len(other))
