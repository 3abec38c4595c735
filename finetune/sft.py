"""Supervised fine-tuning and continued training: full weights or LoRA, with or without the chat template.

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

from finetune.trainer.args import SftArgs, command


def sft(args: SftArgs) -> dict[str, Any]:
    """Train as ``args`` says.

    Returns:
        The run record, as in ``run.json``.

    Raises:
        TrainingError: the data, the model, the machine or the place of the result does not do.
    """
    from transformers import set_seed

    from finetune.data import dataset as data
    from finetune.trainer import flops, folder, model, record, train

    out = Path(args.out)
    resume = folder.prepare(out, resume=args.resume, overwrite=args.overwrite)
    tokenizer, stops = model.reader(args)
    found = data.load(args, tokenizer, stops)
    set_seed(args.seed)  # before the model: LoRA's A is random
    net = model.load(args, tokenizer, stops)
    run = train.run(net, tokenizer, found.rows, args, resume=resume)
    partial = train.save(run, out)
    if partial is None:
        return {}
    bf16, processes = args.precision == "bf16", run.trainer.args.world_size
    learned = found.counts.learned / found.counts.tokens
    result = record.write(
        partial,
        args,
        run.state,
        run.progress,
        processes=processes,
        mfu=flops.mfu(net, run.progress.speed(run.state), learned, record.device(), processes) if bf16 else None,
        dtypes=model.dtypes(net) | {"autocast": "bfloat16" if bf16 else None},
        template=record.template_of(tokenizer, args.template and args.shape != "text"),
        stops={"turn": stops.turn, "text": stops.text},
        data=data.describe(found, args),
    )
    folder.publish(partial, out)
    return result


def _run(args: SftArgs) -> None:
    result = sft(args)
    if result:
        told = ("steps", "tokens", "tokens_per_second", "peak_memory_gib", "mfu")
        print(json.dumps({key: result[key] for key in told}))
        how = f"{args.model} --adapter {args.out}" if args.lora else args.out
        print(f"saved to {args.out}; talk to it with: egosrag chat --role ROLE.json --model {how}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; see the module docstring."""
    return command(SftArgs, _run, argv, doc=__doc__)


if __name__ == "__main__":
    sys.exit(main())
