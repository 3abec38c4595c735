"""llama.cpp as a peer: the same weights as GGUF, behind its own OpenAI-compatible server, used as ``openai:NAME``.

It needs the extra ``gguf`` (ready-made wheels of llama.cpp's server, and its GGUF writer).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from langchain_core.messages import BaseMessage

from egosrag.errors import EgosRagError
from egosrag.models import load_chat_model

_ROLES = {"system": "system", "human": "user", "ai": "assistant"}
Weights = Literal["F32", "Q8_0"]

_QWEN2_WORDS = json.dumps(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|")[1:-1]


def to_gguf(folder: Path, path: Path, weights: Weights) -> Path:
    """Write a Qwen2 checkpoint with a byte-level tokenizer as GGUF.

    Args:
        folder: Written by ``save_pretrained``, with one safetensors file.
        path: The file to write.
        weights: Number format of the matrices; vectors stay F32.

    Raises:
        EgosRagError: gguf is not installed.
    """
    try:
        import gguf
        from gguf.quants import quantize
    except ImportError as error:
        raise EgosRagError("llama.cpp is not installed: pip install -c constraints.txt -e '.[gguf]'") from error
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    writer = gguf.GGUFWriter(str(path), "qwen2")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    _add_tokenizer(writer, folder, config["vocab_size"])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, config["num_hidden_layers"])
    kind = gguf.GGMLQuantizationType[weights]
    for name, tensor in load_file(folder / "model.safetensors").items():
        stored = quantize(tensor, kind) if tensor.ndim == 2 and weights != "F32" else tensor
        writer.add_tensor(
            names.get_name(name, try_suffixes=(".weight", ".bias")),
            stored,
            raw_dtype=kind if stored is not tensor else None,
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: Any, folder: Path, size: int) -> None:
    from gguf import TokenType
    from transformers import AutoTokenizer

    data = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tokens = [f"[unused {n}]" for n in range(size)]
    types = [int(TokenType.UNUSED)] * size
    for text, n in data["model"]["vocab"].items():
        tokens[n], types[n] = text, int(TokenType.NORMAL)
    for added in data["added_tokens"]:
        tokens[added["id"]], types[added["id"]] = added["content"], int(TokenType.CONTROL)
    writer.add_tokenizer_model("gpt2")
    # llama.cpp knows how to cut text into words by name only; for a way of its own, a checkpoint gets GPT-2's.
    writer.add_tokenizer_pre("qwen2" if _QWEN2_WORDS in json.dumps(data["pre_tokenizer"]) else "gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(pair) for pair in data["model"]["merges"]])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_add_bos_token(False)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def peer(weights: Weights) -> Callable[[str], Callable[[Sequence[BaseMessage], int], str]]:
    """A peer of ``evals.speed.chat``: a function from a checkpoint folder to one from a prompt to a reply."""

    def start(folder: str) -> Callable[[Sequence[BaseMessage], int], str]:
        server = _served(to_gguf(Path(folder), Path(folder) / f"{weights}.gguf", weights))
        os.environ["OPENAI_BASE_URL"] = f"{server.listening_address}/v1"
        model = load_chat_model("openai:llama.cpp", prefix_style="vllm")

        def say(messages: Sequence[BaseMessage], tokens: int) -> str:
            assert server  # the closure keeps the server running
            return str(model.invoke(list(messages), max_new_tokens=tokens).text)

        return say

    return start


def own_server(file: str, *, cache: bool = True) -> Callable[[Sequence[BaseMessage], int], str]:
    """A GGUF file behind llama.cpp's own server, asked over HTTP: a function from a prompt to a greedy reply.

    Args:
        file: The GGUF file.
        cache: Whether the server keeps the prefix of the last prompt, as it does by default and as Ollama and
            llama-cpp-python do.
    """
    import httpx

    server = _served(Path(file))
    client = httpx.Client(base_url=server.listening_address, timeout=None, trust_env=False)

    def say(messages: Sequence[BaseMessage], tokens: int) -> str:
        chat = [{"role": _ROLES[message.type], "content": str(message.text)} for message in messages]
        body = {"messages": chat, "max_tokens": tokens, "temperature": 0, "cache_prompt": cache}
        assert server  # the closure keeps the server running
        answer = client.post("/v1/chat/completions", json=body)
        answer.raise_for_status()
        text = str(answer.json()["choices"][0]["message"]["content"] or "")
        return text.removeprefix(chat[-1]["content"])  # it repeats the begun reply

    return say


def _served(file: Path) -> Any:
    from xllamacpp import CommonParams, Server

    params = CommonParams()
    params.model.path = str(file)
    params.n_ctx, params.n_parallel, params.port = 8192, 1, 0
    params.verbosity = 0  # otherwise it logs every request
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = processors
    return Server(params)
