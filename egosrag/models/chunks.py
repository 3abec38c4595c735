"""The pieces of a streamed reply, in one form for every model of ours."""

from __future__ import annotations

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk


def chunk(text: str) -> ChatGenerationChunk:
    """A piece of the reply."""
    return ChatGenerationChunk(message=AIMessageChunk(content=text))


def last_chunk(text: str, reason: str, model: str, tokens: tuple[int, int, int]) -> ChatGenerationChunk:
    """The last piece, which tells why the reply ended and what it took.

    Args:
        text: what was still held back.
        reason: "stop", "eos" or "length".
        model: the model's name.
        tokens: of the prompt, of the reply, and those of the prompt that were not computed again.
    """
    asked, generated, cached = tokens
    message = AIMessageChunk(
        content=text,
        usage_metadata=UsageMetadata(
            input_tokens=asked,
            output_tokens=generated,
            total_tokens=asked + generated,
            input_token_details={"cache_read": cached},
        ),
        response_metadata={"finish_reason": reason, "model_name": model},
        chunk_position="last",
    )
    return ChatGenerationChunk(message=message)
