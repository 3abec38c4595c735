"""One training run on tokenised rows: Hugging Face's Trainer with a flattened batch, and a result that is whole."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from safetensors import SafetensorError
from transformers import (
    DataCollatorWithFlattening,
    PreTrainedTokenizerBase,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerState,
    TrainingArguments,
)

from egosrag.errors import TrainingError
from finetune.trainer.args import SftArgs
from finetune.trainer.folder import CHECKPOINTS, PARTIAL, unsaved, whole_checkpoint
from finetune.trainer.record import Progress
from finetune.trainer.samples import Samples


@dataclass(frozen=True)
class Run:
    """What a run leaves in memory: the trained model, its trainer and what watched it."""

    trainer: WholeTrainer
    progress: Progress

    @property
    def state(self) -> TrainerState:
        """The trainer's state, loss curve included."""
        return self.trainer.state

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return bool(self.trainer.is_world_process_zero())


class WholeTrainer(Trainer):
    """The Trainer, whose checkpoints are whole or absent."""

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        try:
            super()._save_checkpoint(model, trial)
        except (OSError, SafetensorError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
            if self.args.should_save:
                shutil.rmtree(folder, ignore_errors=True)
            raise unsaved(folder, error, whole_checkpoint(Path(self.args.output_dir))) from error

    def is_done(self, checkpoint: Path) -> bool:
        """Whether ``checkpoint`` is the last step already; then it is loaded, for ``train`` would go one step over."""
        state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        if not 0 < self.args.max_steps <= state.global_step:
            return False
        self._load_from_checkpoint(str(checkpoint))
        self.state = state
        return True


def split_batch(batch_size: int, micro_batch: int | None, processes: int) -> tuple[int, int]:
    """(rows a process takes at once, how many such parts make a step) for ``batch_size`` rows a step in all.

    Raises:
        TrainingError: the batch cannot be split so.
    """
    share, rest = divmod(batch_size, processes)
    micro = min(micro_batch or share, share)
    if rest or not share or share % micro:
        raise TrainingError(
            f"batch_size {batch_size} is no multiple of {processes} processes x micro_batch {micro or 1}: change one"
        )
    return micro, share // micro


def training_arguments(args: SftArgs, *, sequential: bool, checkpoints: bool) -> TrainingArguments:
    """Our settings as the Trainer's."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    micro, parts = split_batch(args.batch_size, args.micro_batch, processes)
    return TrainingArguments(
        output_dir=str(Path(args.out) / CHECKPOINTS),
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=parts,
        learning_rate=args.lr,
        lr_scheduler_type=args.schedule,
        warmup_steps=int(args.warmup) if args.warmup >= 1 else args.warmup,
        num_train_epochs=args.epochs,
        max_steps=args.max_steps,
        weight_decay=args.weight_decay,
        max_grad_norm=args.max_grad_norm,
        seed=args.seed,
        bf16=args.precision == "bf16",
        activation_checkpointing=args.activation_checkpointing,
        fsdp=args.fsdp or None,
        dataloader_num_workers=args.workers,
        dataloader_pin_memory=torch.cuda.is_available(),
        train_sampling_strategy="sequential" if sequential else "random",
        use_cpu=args.precision == "fp32" and not torch.cuda.is_available(),
        remove_unused_columns=False,
        include_num_input_tokens_seen="all",
        logging_steps=args.log_steps,
        logging_first_step=True,
        save_strategy="steps" if checkpoints else "no",
        save_steps=args.save_steps,
        save_total_limit=args.keep,
        report_to="none",
        disable_tqdm=True,
    )


def run(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    rows: Dataset,
    args: SftArgs,
    *,
    resume: Path | None = None,
    sequential: bool = False,
    checkpoints: bool = True,
) -> Run:
    """Train ``model`` in place.

    Args:
        model: from ``finetune.trainer.model.load``.
        tokenizer: saved with every checkpoint.
        rows: with the columns input_ids and labels.
        args: the run's settings; checkpoints go into ``args.out``.
        resume: a checkpoint to go on from.
        sequential: take the rows in their order, not shuffled.
        checkpoints: write them; a short run does without.

    Raises:
        TrainingError: a checkpoint cannot be saved, or the one to resume from does not fit.
    """
    progress = Progress()
    trainer = WholeTrainer(
        model=model,
        args=training_arguments(args, sequential=sequential, checkpoints=checkpoints),
        train_dataset=rows,
        data_collator=DataCollatorWithFlattening(return_flash_attn_kwargs=True),
        processing_class=tokenizer,
        callbacks=[progress, *([Samples(args, tokenizer)] if args.sample_prompts else [])],
    )
    for noisy in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(noisy)
    try:
        if not (resume and trainer.is_done(resume)):
            trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    except (ValueError, KeyError, RuntimeError, OSError) as error:
        if resume is None or "out of memory" in str(error):
            raise _explained(error, args) from error
        said = " ".join(str(error).split())[:160]
        raise TrainingError(f"cannot go on from {resume.name}: {said}; start again with --overwrite true") from error
    return Run(trainer, progress)


def _explained(error: Exception, args: SftArgs) -> Exception:
    if "out of memory" in str(error):
        micro = args.micro_batch or args.batch_size
        return TrainingError(f"out of memory with micro_batch {micro}: halve it, or set activation_checkpointing true")
    return error


def save(run: Run, out: Path) -> Path | None:
    """Write the trained model or adapter beside its place; ``publish`` moves it there. All processes call this.

    Returns:
        The folder to add to and to publish; None where this process writes nothing.

    Raises:
        TrainingError: it cannot be written; the checkpoints stay.
    """
    partial = out / PARTIAL
    try:
        if run.first:
            shutil.rmtree(partial, ignore_errors=True)
        run.trainer.save_model(str(partial), _internal_call=True)
        if not run.first:
            return None
        (partial / "training_args.bin").unlink(missing_ok=True)  # a pickle; run.json says the same
        model = run.trainer.accelerator.unwrap_model(run.trainer.model)
        model.generation_config.save_pretrained(partial)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise unsaved(out, error, whole_checkpoint(out / CHECKPOINTS)) from error
    return partial
