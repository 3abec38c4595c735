"""Merge a LoRA adapter into its base: ``python -m finetune.merge --adapter DIR --out DIR``.

The sum is made in fp32 and rounded once, at the end: rounding each product to bf16 first changes the model (PEFT's
issue 1388 measured 2.1178 to 2.1214 in loss). ``merge.json`` says how far the logits moved.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from egosrag.errors import TrainingError
from finetune.trainer.args import _f, command
from finetune.trainer.folder import PARTIAL, publish


@dataclass(kw_only=True)
class MergeArgs:
    """Settings of ``finetune.merge``."""

    adapter: str = field(metadata={"help": "the folder of the LoRA adapter"})
    out: str = field(metadata={"help": "the folder that gets the merged checkpoint; it must be new or empty"})
    base: str | None = _f(None, "the model it was trained on, where the adapter's own note of it does not lead there")
    dtype: Literal["bf16", "fp32"] = _f("bf16", "what the merged weights are rounded to")


def merge(args: MergeArgs) -> dict[str, Any]:
    """Write the merged checkpoint to ``args.out``.

    Returns:
        ``max_logit_change``: the largest difference of a logit between adapter and merged model, in fp32 and as saved.

    Raises:
        TrainingError: no adapter or base, an adapter of another base, broken weights, or a folder in use.
    """
    import torch
    from peft import PeftModel
    from safetensors import SafetensorError

    from finetune.trainer.model import load_tokenizer, load_weights

    out = Path(args.out)
    partial = out / PARTIAL
    shutil.rmtree(partial, ignore_errors=True)  # of a merge that was killed
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise TrainingError(f"{out} is in use: give --out a new folder")
    base = load_weights(args.base or _base_of(args.adapter), torch.float32)
    tokenizer = load_tokenizer(args.adapter if (Path(args.adapter) / "tokenizer.json").exists() else base.name_or_path)
    try:
        model = PeftModel.from_pretrained(base, args.adapter).eval()
        before = _logits(model, tokenizer)
        merged = model.merge_and_unload(safe_merge=True)
    except (ValueError, RuntimeError, KeyError, IndexError, OSError) as error:
        said = " ".join(str(error).split())[:200]
        raise TrainingError(f"the adapter {args.adapter} does not merge into {base.name_or_path}: {said}") from error
    exact = _logits(merged, tokenizer)
    merged = merged.to(torch.bfloat16 if args.dtype == "bf16" else torch.float32)
    saved = _logits(merged, tokenizer)
    merged.generation_config.eos_token_id = _stops(args.adapter, merged.generation_config.eos_token_id)
    merged.config.eos_token_id = tokenizer.eos_token_id
    try:
        merged.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        reason = getattr(error, "strerror", None) or error
        raise TrainingError(f"cannot write {out}: {reason}; free some space and try again") from error
    changes = {
        "merged_fp32": float((exact - before).abs().max()),
        f"saved_{args.dtype}": float((saved - before).abs().max()),
    }
    result = {"adapter": args.adapter, "base": base.name_or_path, "dtype": args.dtype, "max_logit_change": changes}
    (partial / "merge.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    publish(partial, out)
    return result


def _base_of(adapter: str) -> str:
    path = Path(adapter) / "adapter_config.json"
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["base_model_name_or_path"])
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(f"{adapter} has no adapter_config.json: give the out of a LoRA run") from error


def _stops(adapter: str, otherwise: Any) -> Any:
    """The stop tokens that the adapter was trained to end with."""
    path = Path(adapter) / "generation_config.json"
    return json.loads(path.read_text(encoding="utf-8"))["eos_token_id"] if path.exists() else otherwise


def _logits(model: Any, tokenizer: Any) -> Any:
    import torch

    ids = tokenizer("Who are you? 你是谁？", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        return model(input_ids=ids).logits.float()


def _run(args: MergeArgs) -> None:
    result = merge(args)
    print(json.dumps(result["max_logit_change"]))
    print(f"saved to {args.out}; talk to it with: egosrag chat --role ROLE.json --model {args.out}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; see the module docstring."""
    return command(MergeArgs, _run, argv, doc=__doc__)


if __name__ == "__main__":
    sys.exit(main())
