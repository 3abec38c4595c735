"""Checkpoints in Qwen2.5-0.5B's shape with random weights: the work of a forward pass does not depend on them."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SHAPE = {
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32_768,
    "vocab_size": 151_936,
}


def random_words(rng: random.Random, number: int) -> str:
    """A text of random words."""
    return " ".join("".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 8))) for _ in range(number))


def random_checkpoint(texts: Sequence[str], **shape: Any) -> tuple[Any, Any]:
    """A random model in Qwen2.5-0.5B's shape, and a byte-level BPE tokenizer trained on the texts.

    Args:
        texts: Training data of the tokenizer.
        shape: Fields of Qwen2Config that differ from ``SHAPE``.

    Returns:
        (model, tokenizer).
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=8000, initial_alphabet=alphabet, show_progress=False))
    bpe.add_special_tokens(["<|endoftext|>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|endoftext|>", pad_token="<|endoftext|>")
    torch.manual_seed(0)
    config = Qwen2Config(**(SHAPE | shape), tie_word_embeddings=True, eos_token_id=tokenizer.eos_token_id)
    return Qwen2ForCausalLM(config).eval(), tokenizer


def save_random_checkpoint(folder: Path, texts: list[str], **shape: Any) -> str:
    """Save a random checkpoint with a chat template as a folder that every side can load.

    It generates only whole words, whose text is tokenised to the same ids again, as a trained model's mostly is.

    Args:
        folder: Where to save it.
        texts: Training data of the tokenizer.
        shape: Fields of Qwen2Config that differ from ``SHAPE``.
    """
    import torch

    from egosrag.models import load_chat_model

    model, tokenizer = random_checkpoint(texts, **shape)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = load_chat_model("pocket").tokenizer.chat_template  # type: ignore[attr-defined]
    words = [i for token, i in tokenizer.get_vocab().items() if re.fullmatch("\u0120[a-z]{2,}", token)]
    never_generated = torch.ones(model.config.vocab_size, dtype=torch.bool)
    never_generated[words] = False
    with torch.no_grad():
        # Tied to the output layer: tokens of zero embedding are never the likeliest.
        model.get_input_embeddings().weight[never_generated] = 0.0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
