"""Tiny checkpoints for the tests: Qwen2.5's folder layout and tokenizer kind, made in a second, random weights.

``make_tiny_qwen`` saves a two-layer ``Qwen2ForCausalLM`` with a byte-level BPE trained here, so that quotation
marks merge with their neighbours (``."``, ``？”``) as they do in the real vocabulary. With ``reply`` the weights are
set, not random: the model then generates exactly that text after any prompt, and its end-of-sequence token.
"""

from __future__ import annotations

import json
from pathlib import Path

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")

# Qwen2.5's pre-tokenizer (tokenizer.json of every Qwen2.5 checkpoint).
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# The chat template of Qwen2.5-Instruct, word for word.
CHAT_TEMPLATE = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are Qwen, created by Alibaba Cloud. You are a helpful assistant.' }}
    {%- endif %}
    {{- "\\n\\n# Tools\\n\\nYou may call one or more functions to assist with the user query.\\n\\nYou are provided \
with function signatures within <tools></tools> XML tags:\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools>\\n\\nFor each function call, return a json object with function name and arguments within \
<tool_call></tool_call> XML tags:\\n<tool_call>\\n{\\"name\\": <function-name>, \\"arguments\\": <args-json-object>}\
\\n</tool_call><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or \
(message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\\n' + message.content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- message.content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

_CORPUS = [
    *['Me: "Who are you?" Tim: "I am Tim." "Yes!" "No," he said. Tim: "'] * 8,
    *["我：“你是谁？” 悟空：“我是孙悟空。” “走吧！” “好，”他说。悟空：“"] * 8,
    *["system user assistant You are a helpful assistant. The quick brown fox jumps over the lazy dog."] * 4,
    *["如何打开前机舱盖？ 车辆行驶时请勿打开尾门。 前机舱盖的开关在驾驶席下方。"] * 4,
    *["How do I open the bonnet? Pull the lever under the driver's seat. The page number is 307."] * 4,
]


def make_tiny_tokenizer(path: str | Path, *, vocab: int = 640) -> None:
    """Train the byte-level BPE and save it under ``path`` as Qwen2.5 saves its own."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, trainers
    from tokenizers.models import BPE

    tok = Tokenizer(BPE())
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab - len(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        min_frequency=2,
        show_progress=False,
    )
    tok.train_from_iterator(_CORPUS, trainer)
    first = tok.get_vocab_size()
    tok.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    tok.save(str(path / "tokenizer.json"))
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    config = {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": {str(first + i): {"content": text, **flags} for i, text in enumerate(SPECIAL)},
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
        "bos_token": None,
        "chat_template": CHAT_TEMPLATE.rstrip("\n") + "\n",
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "model_max_length": 131072,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
    (path / "tokenizer_config.json").write_text(json.dumps(config, ensure_ascii=False, indent=2), encoding="utf-8")


def make_tiny_qwen(
    path: str | Path, *, vocab: int = 640, seed: int = 0, window: int = 1024, reply: str | None = None
) -> None:
    """Save a tiny Qwen2 checkpoint under ``path`` in the layout of Qwen2.5's folders.

    Args:
        path: the folder; made when absent.
        vocab: tokens of the vocabulary, special tokens included, at most.
        seed: of the random weights.
        window: ``max_position_embeddings``.
        reply: what the model generates after any prompt, then ``<|im_end|>``; its tokens must differ from each other,
            62 at most. Without it the weights are random.
    """
    import torch
    from transformers import AutoTokenizer, GenerationConfig, Qwen2Config, Qwen2ForCausalLM

    make_tiny_tokenizer(path, vocab=vocab)
    tokenizer = AutoTokenizer.from_pretrained(path)
    end, pad = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=window,
        tie_word_embeddings=reply is None,
        bos_token_id=pad,
        eos_token_id=end,
        pad_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(config).to(torch.float32)
    if reply is not None:
        _set_reply(model, [*tokenizer.encode(reply, add_special_tokens=False), end])
    # Qwen2.5-Instruct's own generation_config: a model that applied it unasked would sample.
    model.generation_config = GenerationConfig(
        bos_token_id=pad,
        eos_token_id=[end, pad],
        pad_token_id=pad,
        do_sample=True,
        repetition_penalty=1.1,
        temperature=0.7,
        top_k=20,
        top_p=0.8,
    )
    model.save_pretrained(path)


def _set_reply(model: object, chain: list[int]) -> None:
    """Set the weights so that each token of ``chain`` follows the one before, and the first follows all others."""
    import torch

    hidden = model.config.hidden_size  # type: ignore[attr-defined]
    if len(set(chain)) != len(chain) or len(chain) >= hidden:
        raise ValueError(f"the tokens of the text must differ, {hidden - 2} at most: {chain}")
    with torch.no_grad():
        for layer in model.model.layers:  # type: ignore[attr-defined]
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        embed, head = model.model.embed_tokens.weight, model.lm_head.weight  # type: ignore[attr-defined]
        embed.zero_()
        head.zero_()
        embed[:, 0] = 1.0
        head[chain[0], 0] = 1.0
        for i, (token, following) in enumerate(zip(chain, chain[1:], strict=False), 1):
            embed[token] = torch.eye(hidden)[i]
            head[following] = torch.eye(hidden)[i]


def make_tiny_adapter(base: str | Path, path: str | Path, *, seed: int = 0, scale: float = 1.0) -> None:
    """Save a LoRA adapter for the checkpoint folder ``base`` under ``path``; its B is random, so it has an effect."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        peft_model = get_peft_model(model, config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in peft_model.named_parameters():
            if "lora_B" in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * scale)
    peft_model.save_pretrained(path)
