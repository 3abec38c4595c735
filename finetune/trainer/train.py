"""Train on tokenized rows with Hugging Face's Trainer: packed batches, atomic checkpoints, an atomic result."""

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
from egosrag.traits import write_traits
from finetune.trainer.args import SftArgs, training_device
from finetune.trainer.progress import Progress
from finetune.trainer.run_folder import CHECKPOINTS, PARTIAL, last_complete_checkpoint, save_error
from finetune.trainer.samples import Samples


@dataclass(frozen=True)
class TrainingResult:
    """A finished run in memory: its trainer, which has the trained model, and its progress callback."""

    trainer: AtomicTrainer
    progress: Progress

    @property
    def state(self) -> TrainerState:
        """The trainer's state, loss curve included."""
        return self.trainer.state

    @property
    def is_main_process(self) -> bool:
        """Whether this process is the one that writes files."""
        return bool(self.trainer.is_world_process_zero())


class AtomicTrainer(Trainer):
    """The Trainer, with checkpoints that are complete or absent."""

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        try:
            super()._save_checkpoint(model, trial)
        except (OSError, SafetensorError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
            if self.args.should_save:
                shutil.rmtree(folder, ignore_errors=True)
            raise save_error(folder, error, last_complete_checkpoint(Path(self.args.output_dir))) from error

    def load_if_finished(self, checkpoint: Path) -> bool:
        """Load ``checkpoint`` if it is of the last step, since ``train`` would take one step more; whether it is."""
        state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        if not 0 < self.args.max_steps <= state.global_step:
            return False
        self._load_from_checkpoint(str(checkpoint))
        self.state = state
        return True


def split_batch(batch_size: int, micro_batch: int | None, processes: int) -> tuple[int, int]:
    """Split ``batch_size`` rows per step over processes and micro-batches.

    Returns:
        Rows of a micro-batch, and micro-batches per process and step (gradient accumulation).

    Raises:
        TrainingError: the batch cannot be divided evenly.
    """
    share, rest = divmod(batch_size, processes)
    micro = min(micro_batch or share, share)
    if rest or not share or share % micro:
        raise TrainingError(
            f"batch_size {batch_size} is not a multiple of {processes} processes x micro_batch {micro or 1}: change one"
        )
    return micro, share // micro


def training_arguments(args: SftArgs, *, sequential: bool, checkpoints: bool) -> TrainingArguments:
    """The settings in the form that the Trainer takes.

    Args:
        args: the run's settings.
        sequential: take the rows in their order instead of shuffling them.
        checkpoints: write checkpoints at every ``save_steps``.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    micro, accumulation_steps = split_batch(args.batch_size, args.micro_batch, processes)
    return TrainingArguments(
        output_dir=str(Path(args.out) / CHECKPOINTS),
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=accumulation_steps,
        learning_rate=args.lr,
        lr_scheduler_type=args.schedule,
        warmup_steps=int(args.warmup) if args.warmup >= 1 else args.warmup,
        num_train_epochs=args.epochs,
        max_steps=args.max_steps,
        weight_decay=args.weight_decay,
        max_grad_norm=args.max_grad_norm,
        seed=args.seed,
        bf16=args.computes_in_bf16,
        activation_checkpointing=args.activation_checkpointing,
        fsdp=args.fsdp or None,
        dataloader_num_workers=args.workers,
        dataloader_pin_memory=torch.cuda.is_available(),
        train_sampling_strategy="sequential" if sequential else "random",
        use_cpu=training_device() == "cpu",
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


def train(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    rows: Dataset,
    args: SftArgs,
    *,
    resume: Path | None = None,
    sequential: bool = False,
    checkpoints: bool = True,
) -> TrainingResult:
    """Train ``model`` in place.

    Args:
        model: from ``finetune.trainer.model.load_model``.
        tokenizer: saved with every checkpoint.
        rows: the columns input_ids and labels.
        args: the run's settings; checkpoints go into ``args.out``.
        resume: a checkpoint to resume from.
        sequential: take the rows in their order instead of shuffling them.
        checkpoints: write checkpoints at every ``save_steps``.

    Raises:
        TrainingError: a checkpoint cannot be saved, or the one to resume from does not fit.
    """
    progress = Progress()
    trainer = AtomicTrainer(
        model=model,
        args=training_arguments(args, sequential=sequential, checkpoints=checkpoints),
        train_dataset=rows,
        data_collator=DataCollatorWithFlattening(return_flash_attn_kwargs=True),
        processing_class=tokenizer,
        callbacks=[progress, *([Samples(args, tokenizer)] if args.sample_prompts else [])],
    )
    for console_callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(console_callback)
    try:
        if not (resume and trainer.load_if_finished(resume)):
            trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    except (ValueError, KeyError, RuntimeError, OSError) as error:
        if resume is None or "out of memory" in str(error):
            raise _explain(error, args) from error
        reason = " ".join(str(error).split())[:160]
        raise TrainingError(
            f"cannot continue from {resume.name}: {reason}; start again with --overwrite true"
        ) from error
    return TrainingResult(trainer, progress)


def _explain(error: Exception, args: SftArgs) -> Exception:
    """The error to raise in place of ``error``: out of memory becomes one that says what to change."""
    if "out of memory" in str(error):
        micro = args.micro_batch or args.batch_size
        return TrainingError(f"out of memory with micro_batch {micro}: halve it, or set activation_checkpointing true")
    return error


def save_model(result: TrainingResult, out: Path, *, single_turn: bool | None) -> Path | None:
    """Write the trained model or adapter to ``out/.partial``, for ``publish``. Every process must call this.

    The traits of the model that the run started from are kept (``egosrag.traits``); ``single_turn`` is added to them.

    Args:
        result: the finished run.
        out: the output folder.
        single_turn: whether the training prompts have one user message each; None leaves the trait as it is.

    Returns:
        The folder, to add files to and to publish; None if this process writes nothing.

    Raises:
        TrainingError: it cannot be written; the checkpoints are kept.
    """
    partial = out / PARTIAL
    try:
        if result.is_main_process:
            shutil.rmtree(partial, ignore_errors=True)
        result.trainer.save_model(str(partial), _internal_call=True)
        if not result.is_main_process:
            return None
        (partial / "training_args.bin").unlink(missing_ok=True)  # a pickle; run.json has its contents
        model = result.trainer.accelerator.unwrap_model(result.trainer.model)
        model.generation_config.save_pretrained(partial)
        write_traits(partial, **({} if single_turn is None else {"single_turn": single_turn}))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise save_error(out, error, last_complete_checkpoint(out / CHECKPOINTS)) from error
    return partial
