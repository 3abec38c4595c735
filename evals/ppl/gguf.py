"""The weights of a GGUF file for scoring: dequantized by transformers, which gives every log-likelihood it computes.

llama.cpp's server returns those of generated tokens, not of the given ones that PPL mode scores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from egosrag.errors import ModelError

if TYPE_CHECKING:
    import torch


def is_gguf(name: str) -> bool:
    """Whether a model's name is that of a GGUF file."""
    return name.lower().endswith(".gguf")


def load_gguf(name: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """The model of a GGUF file and its tokenizer.

    Args:
        name: the file.
        dtype: of the weights once they are dequantized.

    Raises:
        ModelError: there is no such file, it is damaged, or transformers does not know its architecture.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from egosrag.models.runtime.gguf_file import read_gguf

    file = read_gguf(name)  # says what is wrong in one line
    source = {"pretrained_model_name_or_path": str(file.path.parent), "gguf_file": file.path.name}
    try:
        tokenizer = AutoTokenizer.from_pretrained(**source)
        model, report = AutoModelForCausalLM.from_pretrained(**source, dtype=dtype, output_loading_info=True)
    except Exception as error:  # the converters raise errors of any kind
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(f"transformers cannot read {name} ({file.architecture}): {reason}") from error
    if missing := sorted(report["missing_keys"]):
        raise ModelError(f"{name} has no weights for {missing[0]}: the file is not whole")
    # The weights are plain now, but transformers still calls them quantized: it would not move them, nor merge into
    # them.
    model.hf_quantizer, model.is_quantized, model.quantization_method = None, False, None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    return model, tokenizer
