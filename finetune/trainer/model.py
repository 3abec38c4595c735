"""Load the model to train: tokenizer, stop tokens, weights and their dtypes, LoRA adapter, fused loss.

Trained weights are fp32 whatever the checkpoint's dtype: an AdamW step at lr 2e-5 is smaller than half a bf16 ulp of
most weights, and would be lost. Computation in bf16 (``precision``) is under autocast. The frozen base of a LoRA run is
never updated, so it stays in bf16 there.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from egosrag.errors import TrainingError
from egosrag.models.runtime.cpu import has_fast_bfloat16
from egosrag.prompts.encode import encode, end_of_turn_id
from egosrag.traits import read_traits
from finetune.data.tokenization import StopTokens
from finetune.trainer.args import SftArgs, training_device

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_tokenizer_and_stops(args: SftArgs) -> tuple[PreTrainedTokenizerBase, StopTokens]:
    """The tokenizer and the stop tokens: all that the data needs, before the weights are loaded.

    Raises:
        TrainingError: no such model, no chat template, or no device for bf16.
    """
    check_device(args)
    tokenizer = load_tokenizer(args.model)
    return tokenizer, find_stop_tokens(tokenizer, args.template and args.shape != "text", args.model)


def load_model(args: SftArgs, tokenizer: PreTrainedTokenizerBase, stops: StopTokens) -> PreTrainedModel | PeftModel:
    """Load the model ready to train; ``stops`` are set in its configurations and in ``tokenizer``.

    Raises:
        TrainingError: no such model, weights of another shape than the configuration's, a ``max_length`` beyond the
            context window, or no such modules for LoRA.
    """
    import torch

    from finetune.trainer.loss import use_fused_loss

    frozen_bf16 = args.lora and args.computes_in_bf16
    model = load_weights(args.model, torch.bfloat16 if frozen_bf16 else torch.float32)
    window = getattr(model.config, "max_position_embeddings", None)
    if window and args.max_length > window:
        raise TrainingError(f"max_length {args.max_length} exceeds the model's context window of {window}: lower it")
    _set_stop_tokens(model, tokenizer, stops)
    use_fused_loss(model)
    return _with_lora(model, args, tokenizer) if args.lora else model


def check_device(args: SftArgs) -> None:
    """Fail early if bf16 is requested and the device that trains does not multiply it by itself.

    Raises:
        TrainingError: it does not.
    """
    if args.precision == "bf16" and not has_fast_bfloat16(training_device()):
        raise TrainingError(
            "bf16 needs a GPU or a CPU (AMX, AVX-512 BF16) that computes in it, and there is none: add --precision fp32"
        )


def checkpoint_path(name: str) -> str:
    """The hub id or folder of ``name``: ``pocket`` is the embedded model, as for ``egosrag --model``."""
    return str(files("egosrag") / "data" / "pocket") if name == "pocket" else name


def prompt_set(name: str) -> str:
    """The set of prompts that the checkpoint was trained on (``egosrag.traits``); role-play rows are rendered in it.

    Raises:
        ModelError: the traits in its ``config.json`` cannot be read.
    """
    folder = Path(checkpoint_path(name))
    return read_traits(folder).prompts if folder.is_dir() else ""


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a hub id or folder.

    Raises:
        TrainingError: there is none.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(checkpoint_path(name))  # type: ignore[no-any-return]
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(f"no tokenizer in {name}: {_one_line(error)}; give a hub id or a folder") from error


def load_weights(name: str, dtype: torch.dtype) -> PreTrainedModel:
    """The causal language model of a hub id or folder, with every weight from the checkpoint.

    Raises:
        ModelError: there is none, or its weights are missing, pickled, or do not fit its configuration.
    """
    from egosrag.models.runtime.checkpoint import checkpoint_folder
    from egosrag.models.weights import load_causal_lm
    from finetune.trainer.loss import attention_implementation

    model = load_causal_lm(checkpoint_folder(name), name, dtype=dtype, attn_implementation=attention_implementation())
    model.name_or_path = model.config.name_or_path = checkpoint_path(name)  # an adapter states it as its base
    return model


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def find_stop_tokens(tokenizer: PreTrainedTokenizerBase, template: bool, name: str = "the model") -> StopTokens:
    """The tokens that a trained model learns to stop at: the end of a reply in the chat template, and of a document.

    Raises:
        TrainingError: there is no chat template, or it ends a reply without a special token.
    """
    vocabulary = tokenizer.get_vocab()
    text = vocabulary.get("<|endoftext|>", tokenizer.eos_token_id)
    if text is None:
        raise TrainingError(f"{name} has no end-of-text token: set eos_token in its tokenizer_config.json")
    if not template:
        return StopTokens(turn=text, text=text)
    if not tokenizer.chat_template:
        raise TrainingError(f"{name} has no chat template: train with --template false, or start from one that has")
    turn = end_of_turn_id(tokenizer)
    if turn is None:
        raise TrainingError(f"the chat template of {name} ends a reply without a special token: use --template false")
    return StopTokens(turn=turn, text=text)


def _set_stop_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, stops: StopTokens) -> None:
    """Set the trained stop token in every place that a server may read it from."""
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(stops.turn)
    if tokenizer.pad_token_id in (None, stops.turn):
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(stops.text)
    model.config.eos_token_id = stops.turn
    config = model.generation_config
    config.eos_token_id = list(dict.fromkeys([stops.turn, stops.text]))
    config.pad_token_id = tokenizer.pad_token_id


def _with_lora(model: PreTrainedModel, args: SftArgs, tokenizer: PreTrainedTokenizerBase) -> PeftModel:
    import torch
    from peft import LoraConfig, get_peft_model

    tokens = None
    if args.train_special_tokens:
        # A base model has never seen the template's tokens in use, and frozen rows of the (tied) head can't learn to
        # emit them (QwenLM/Qwen3#1064). PEFT ties the head to these rows where the model does.
        tokens = {"embed_tokens": template_tokens(tokenizer)}
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=args.lora_r,
        lora_alpha=args.lora_alpha,
        lora_dropout=args.lora_dropout,
        target_modules=args.lora_targets if args.lora_targets == "all-linear" else args.lora_targets.split(","),
        trainable_token_indices=tokens,
    )
    try:
        peft = get_peft_model(model, config)
    except ValueError as error:
        raise TrainingError(f"no LoRA on lora_targets {args.lora_targets}: {_one_line(error)}") from error
    for weight in peft.parameters():
        if weight.requires_grad:
            weight.data = weight.data.to(torch.float32)
    if args.activation_checkpointing:
        peft.enable_input_require_grads()
    return peft  # type: ignore[no-any-return]


def template_tokens(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids of the special tokens that the chat template writes around a conversation."""
    ids = encode(tokenizer, [SystemMessage("?"), HumanMessage("?"), AIMessage("?"), HumanMessage("?")])
    return sorted(set(ids) & set(tokenizer.all_special_ids))


def weight_dtypes(model: Any) -> dict[str, list[str]]:
    """The dtypes of trained and of frozen weights, for ``run.json``."""
    dtypes: dict[str, set[str]] = {"trained": set(), "frozen": set()}
    for weight in model.parameters():
        dtypes["trained" if weight.requires_grad else "frozen"].add(str(weight.dtype).removeprefix("torch."))
    return {key: sorted(value) for key, value in dtypes.items()}
