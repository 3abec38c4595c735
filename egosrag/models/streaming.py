"""The pieces of a streamed reply, in one form for every model of ours."""

from __future__ import annotations

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk

Tokens = tuple[int, int, int]  # of the prompt, of the reply, and those of the prompt that were not computed again


def chunk(text: str, tokens: Tokens = (0, 0, 0)) -> ChatGenerationChunk:
    """A piece of the reply, with the tokens that no earlier piece told: LangChain adds up what the pieces tell."""
    return ChatGenerationChunk(message=AIMessageChunk(content=text, usage_metadata=_usage(tokens)))


def last_chunk(text: str, reason: str, model: str, tokens: Tokens) -> ChatGenerationChunk:
    """The last piece, which tells why the reply ended.

    Args:
        text: what was still held back.
        reason: "stop", "eos" or "length".
        model: the model's name.
        tokens: what no earlier piece told.
    """
    message = AIMessageChunk(
        content=text,
        usage_metadata=_usage(tokens) or UsageMetadata(input_tokens=0, output_tokens=0, total_tokens=0),
        response_metadata={"finish_reason": reason, "model_name": model},
        chunk_position="last",
    )
    return ChatGenerationChunk(message=message)


def _usage(tokens: Tokens) -> UsageMetadata | None:
    asked, generated, cached = tokens
    if not any(tokens):
        return None
    return UsageMetadata(
        input_tokens=asked,
        output_tokens=generated,
        total_tokens=asked + generated,
        input_token_details={"cache_read": cached},
    )
