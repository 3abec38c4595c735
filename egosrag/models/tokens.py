"""Token counts and context windows: by the model's own tokenizer where it has one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.messages.utils import count_tokens_approximately

from egosrag.errors import WindowError
from egosrag.models.traits import unbound
from egosrag.prompts.encode import ChatTokenizer, count_text, encode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DEFAULT_WINDOW = 4096
_PART_CHARACTERS = 50_000
_CUT_TOKENS = 16
_PIPELINE_RESERVE = 256  # new tokens that transformers' pipelines reserve by default
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\u3000-\u303f]")


def tokenizer_of(model: Any) -> PreTrainedTokenizerBase | None:
    """The Hugging Face tokenizer of a local model, ours or langchain-huggingface's; None where there is none."""
    inner = unbound(model)
    for owner in (inner, getattr(inner, "pipeline", None), getattr(getattr(inner, "llm", None), "pipeline", None)):
        tokenizer = getattr(owner, "tokenizer", None)
        if hasattr(tokenizer, "apply_chat_template"):
            return cast("PreTrainedTokenizerBase", tokenizer)
    return None


def count_tokens(model: Any, messages_or_text: Sequence[BaseMessage] | str) -> int:
    """Tokens of a text, or of the prompt that messages make, chat template included.

    Exact for our local and scripted models and for langchain-huggingface's local ones; an estimate
    (``approximate_tokens``) for others.
    """
    inner = unbound(model)
    own = getattr(inner, "count_tokens", None)
    if own is not None:
        return int(own(messages_or_text))
    tokenizer = tokenizer_of(inner)
    if tokenizer is None:
        return approximate_tokens(messages_or_text)
    if isinstance(messages_or_text, str):
        return count_text(tokenizer, messages_or_text)
    return len(encode(tokenizer, messages_or_text, template=bool(tokenizer.chat_template)))


def check_length(tokenizer: ChatTokenizer, messages: Sequence[BaseMessage], window: int, name: str) -> None:
    """Refuse a prompt that is certainly too long, before all of it is tokenized: megabytes would take seconds.

    Args:
        tokenizer: the model's.
        messages: the prompt.
        window: tokens of prompt and reply together.
        name: the model's name, for the message.

    Raises:
        WindowError: the prompt is longer than the window.
    """
    texts = [str(message.text) for message in messages]
    if sum(map(len, texts)) <= _PART_CHARACTERS:
        return
    tokens = 0
    for text in texts:
        for start in range(0, len(text), _PART_CHARACTERS):
            # A cut inside a token makes more tokens of it, by a few.
            tokens += max(count_text(tokenizer, text[start : start + _PART_CHARACTERS]) - _CUT_TOKENS, 0)
            if tokens > window:
                raise WindowError(
                    f"the prompt has more than the {window} tokens that the window of {name} holds:"
                    " shorten it, or use a model with a longer window"
                )


def approximate_tokens(messages_or_text: Sequence[BaseMessage] | str) -> int:
    """An estimate for a model whose tokenizer is not at hand.

    LangChain's estimate of four characters a token, but a token for each Chinese, Japanese or Korean character, which
    is more than any current tokenizer needs.
    """
    if isinstance(messages_or_text, str):
        wide = len(_CJK.findall(messages_or_text))
        narrow = len(messages_or_text) - wide
        return wide + (narrow + 3) // 4
    texts = [str(message.text) for message in messages_or_text]
    wide = sum(len(_CJK.findall(text)) for text in texts)
    return wide + count_tokens_approximately([HumanMessage(_CJK.sub("", text)) for text in texts])


def context_window(model: Any) -> int:
    """Tokens that a prompt to ``model`` may have, without those reserved for the reply; 4096 where none are stated."""
    inner = unbound(model)
    profile = getattr(inner, "profile", None) or {}
    stated = profile.get("max_input_tokens")
    if stated:
        return int(stated)
    pipeline = getattr(inner, "pipeline", None) or getattr(getattr(inner, "llm", None), "pipeline", None)
    config = getattr(getattr(pipeline, "model", None), "config", None)
    window = getattr(config, "max_position_embeddings", None)
    return max(int(window) - _PIPELINE_RESERVE, int(window) // 2) if window else DEFAULT_WINDOW
