"""Supervised fine-tuning and continued training: all weights or LoRA, with or without the chat template.

    python -m finetune.sft --config finetune/configs/sft_05b.yaml
    torchrun --nproc-per-node 2 -m finetune.sft --config finetune/configs/sft_05b.yaml

The folder ``out`` gets a checkpoint (or an adapter) that ``egosrag --model`` loads, ``run.json`` and ``loss.png``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetune.cli import run_command
from finetune.trainer.args import SftArgs


def sft(args: SftArgs) -> dict[str, Any]:
    """Train with the settings ``args``.

    Returns:
        The record of the run, as in ``run.json``; empty in a process that writes nothing.

    Raises:
        TrainingError: the data, the model, the device or the output folder cannot be used.
    """
    from transformers import set_seed

    from finetune.data.dataset import load_data
    from finetune.trainer import flops, record, run_folder
    from finetune.trainer.model import load_model, load_tokenizer_and_stops, prompt_set, weight_dtypes
    from finetune.trainer.train import save_model, train

    out = Path(args.out)
    resume = run_folder.prepare(out, resume=args.resume, overwrite=args.overwrite)
    tokenizer, stops = load_tokenizer_and_stops(args)
    data = load_data(args, tokenizer, stops, prompt_set(args.model))
    set_seed(args.seed)  # before the model is loaded: LoRA's A matrices are random
    model = load_model(args, tokenizer, stops)
    result = train(model, tokenizer, data.rows, args, resume=resume)
    partial = save_model(result, out, single_turn=data.single_turn)
    if partial is None:
        return {}
    bf16, processes = args.computes_in_bf16, result.trainer.args.world_size
    loss_share, speed = data.counts.loss_tokens / data.counts.tokens, result.progress.tokens_per_second(result.state)
    mfu = flops.mfu(model, speed, loss_share, record.device_name(), processes) if bf16 else None
    more = {
        "processes": processes,
        "mfu": mfu,
        "dtypes": weight_dtypes(model) | {"autocast": "bfloat16" if bf16 else None},
        "template": record.template_record(tokenizer, args.template and args.shape != "text"),
        "stops": {"turn": stops.turn, "text": stops.text},
        "data": data.record(args),
    }
    run_record = record.write_record(partial, args, result.state, result.progress, more)
    run_folder.publish(partial, out)
    return run_record


def _run(args: SftArgs) -> None:
    run_record = sft(args)
    if run_record:
        keys = ("steps", "tokens", "tokens_per_second", "peak_memory_gib", "mfu")
        print(json.dumps({key: run_record[key] for key in keys}))
        model = f"{args.model} --adapter {args.out}" if args.lora else args.out
        print(f"saved to {args.out}; chat with it: egosrag chat --role ROLE.json --model {model}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module docstring."""
    return run_command("finetune.sft", SftArgs, _run, argv, doc=__doc__)


if __name__ == "__main__":
    sys.exit(main())
