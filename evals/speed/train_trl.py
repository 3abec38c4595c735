"""The peer of ``evals.speed.train``, in a process of its own: TRL's SFTTrainer on the rows of a plan.

python -m evals.speed.train_trl '{"model": ..., "rows": ..., "out": ..., "peer": "trl", ...}'
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

SETTINGS: dict[str, dict[str, Any]] = {
    "trl": {},
    "trl_plain": {"gradient_checkpointing": False},
    # Padding-free batches have no length limit in TRL; the rows are all shorter than ours.
    "trl_flat": {"gradient_checkpointing": False, "padding_free": True, "max_length": None},
}


def train(plan: dict[str, Any]) -> dict[str, Any]:
    """Train by a plan: model, rows, out, peer, batch, steps, lr and precision.

    Returns:
        ``loss``: (step, loss) pairs; ``seconds`` from the start of training to the end of the last step;
        ``peak_memory_gib`` on a GPU.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, ProgressCallback, TrainerCallback
    from trl import SFTTrainer

    class Clock(TrainerCallback):
        started = ended = 0.0

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.started = time.monotonic()

        def on_log(self, *_: Any, logs: dict[str, float] | None = None, **__: Any) -> None:
            if logs and "loss" in logs:
                self.ended = time.monotonic()

    tokenizer = AutoTokenizer.from_pretrained(plan["model"])
    clock = Clock()
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(plan["model"], dtype=torch.float32),
        args=_config(plan),
        train_dataset=_dataset(plan, tokenizer),
        processing_class=tokenizer,
        callbacks=[clock],
    )
    for noisy in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(noisy)
    trainer.train()
    cuda = torch.cuda.is_available()
    return {
        "loss": [(entry["step"], entry["loss"]) for entry in trainer.state.log_history if "loss" in entry],
        "seconds": round(clock.ended - clock.started, 2),
        "peak_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2) if cuda else None,
    }


def _dataset(plan: dict[str, Any], tokenizer: Any) -> Any:
    """Prompts as finetune.sft renders them; TRL appends the end-of-turn token to the completion itself."""
    from datasets import Dataset

    rows = [json.loads(line) for line in Path(plan["rows"]).read_text(encoding="utf-8").splitlines()]
    prompts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": row["instruction"]}], tokenize=False, add_generation_prompt=True
        )
        for row in rows
    ]
    return Dataset.from_dict({"prompt": prompts, "completion": [row["output"] for row in rows]})


def _config(plan: dict[str, Any]) -> Any:
    import torch
    from trl import SFTConfig

    return SFTConfig(
        output_dir=str(Path(plan["out"]).with_suffix("")),
        per_device_train_batch_size=plan["batch"],
        max_steps=plan["steps"],
        learning_rate=plan["lr"],
        lr_scheduler_type="constant",
        bf16=plan["precision"] == "bf16",
        seed=0,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=plan["precision"] == "fp32" and not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        **{"max_length": 1024} | SETTINGS[plan["peer"]],
    )


if __name__ == "__main__":
    job = json.loads(sys.argv[1])
    Path(job["out"]).write_text(json.dumps(train(job)), encoding="utf-8")
