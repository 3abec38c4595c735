"""Merge a LoRA adapter into its base model.

    python -m finetune.merge --adapter runs/lora_3b --out runs/lora_3b_merged

The merged checkpoint has the traits of its base, and over them those of the adapter (``egosrag.traits``). The sum is
computed in fp32 and rounded once, at the end: rounding each product to bf16 first changes the model (PEFT's
issue 1388 measured 2.1178 to 2.1214 in loss). ``merge.json`` states how far the logits moved.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from egosrag.errors import TrainingError
from egosrag.traits import read_traits, write_traits
from finetune.cli import required, run_command, setting
from finetune.trainer.run_folder import PARTIAL, publish

_PROBE = "Who are you? 你是谁？"  # the text whose logits are compared


@dataclass(kw_only=True)
class MergeArgs:
    """Settings of ``finetune.merge``."""

    adapter: str = required("folder of the LoRA adapter")
    out: str = required("folder for the merged checkpoint; it must be new or empty")
    base: str | None = setting(None, "the base model, if the name in adapter_config.json does not lead to it")
    dtype: Literal["bf16", "fp32"] = setting("bf16", "dtype that the merged weights are rounded to")


def merge(args: MergeArgs) -> dict[str, Any]:
    """Write the merged checkpoint to ``args.out``.

    Returns:
        The contents of ``merge.json``; ``max_logit_change``: the largest difference of a logit between adapter and
        merged model, in fp32 and as saved.

    Raises:
        TrainingError: no adapter, damaged weights, or an output folder in use.
        ModelError: weights of adapter or base are missing or pickled, or the adapter is of another base.
    """
    import torch

    from egosrag.models.weights import load_adapter
    from finetune.trainer.model import load_tokenizer, load_weights

    out = Path(args.out)
    partial = out / PARTIAL
    shutil.rmtree(partial, ignore_errors=True)  # of an interrupted merge
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise TrainingError(f"{out} is in use: give --out a new folder")
    base = load_weights(args.base or _base_name(args.adapter), torch.float32)
    tokenizer = load_tokenizer(args.adapter if (Path(args.adapter) / "tokenizer.json").exists() else base.name_or_path)
    model: Any = load_adapter(base, args.adapter, base.name_or_path).eval()
    try:
        before = _probe_logits(model, tokenizer)
        merged = model.merge_and_unload(safe_merge=True)
    except (ValueError, RuntimeError, KeyError, IndexError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise TrainingError(f"the adapter {args.adapter} does not merge into {base.name_or_path}: {reason}") from error
    exact = _probe_logits(merged, tokenizer)
    merged = merged.to(torch.bfloat16 if args.dtype == "bf16" else torch.float32)
    saved = _probe_logits(merged, tokenizer)
    merged.generation_config.eos_token_id = _stop_tokens(args.adapter, merged.generation_config.eos_token_id)
    merged.config.eos_token_id = tokenizer.eos_token_id
    changes = {
        "merged_fp32": float((exact - before).abs().max()),
        f"saved_{args.dtype}": float((saved - before).abs().max()),
    }
    result = {"adapter": args.adapter, "base": base.name_or_path, "dtype": args.dtype, "max_logit_change": changes}
    _save(merged, tokenizer, result, out)
    return result


def _save(merged: Any, tokenizer: Any, result: dict[str, Any], out: Path) -> None:
    """Write model, tokenizer, traits and ``merge.json``; an interrupted or failed write leaves nothing in ``out``."""
    from safetensors import SafetensorError

    partial = out / PARTIAL
    try:
        merged.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        reason = getattr(error, "strerror", None) or error
        raise TrainingError(f"cannot write {out}: {reason}; free some space and try again") from error
    _write_adapter_traits(result["adapter"], partial)
    (partial / "merge.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    publish(partial, out)


def _write_adapter_traits(adapter: str, merged: Path) -> None:
    """Add the traits that the adapter states to those of the base model, which ``save_pretrained`` kept."""
    if Path(adapter).is_dir():
        base = read_traits(merged)
        traits = asdict(read_traits(adapter, base))
        write_traits(merged, **{name: value for name, value in traits.items() if value != getattr(base, name)})


def _base_name(adapter: str) -> str:
    path = Path(adapter) / "adapter_config.json"
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["base_model_name_or_path"])
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(f"{adapter} has no adapter_config.json: give the output folder of a LoRA run") from error


def _stop_tokens(adapter: str, default: Any) -> Any:
    """The stop tokens that the adapter was trained with."""
    path = Path(adapter) / "generation_config.json"
    return json.loads(path.read_text(encoding="utf-8"))["eos_token_id"] if path.exists() else default


def _probe_logits(model: Any, tokenizer: Any) -> Any:
    import torch

    ids = tokenizer(_PROBE, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        return model(input_ids=ids).logits.float()


def _run(args: MergeArgs) -> None:
    result = merge(args)
    print(json.dumps(result["max_logit_change"]))
    print(f"saved to {args.out}; chat with it: egosrag chat --role ROLE.json --model {args.out}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module docstring."""
    return run_command("finetune.merge", MergeArgs, _run, argv, doc=__doc__)


if __name__ == "__main__":
    sys.exit(main())
