"""Token usage of a model call, read from the LangChain message that it returned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from egosrag.schema import Usage

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage


def usage_of(message: AIMessage | None) -> Usage:
    """The tokens that a message, or a chunk of a streamed one, reports in ``usage_metadata``.

    Args:
        message: from any chat model; None where a stream gave nothing.

    Returns:
        Prompt, completion and cached tokens; zeros where the provider reports none.
    """
    reported = message.usage_metadata if message is not None else None
    if not reported:
        return Usage()
    cached = (reported.get("input_token_details") or {}).get("cache_read") or 0
    return Usage(
        prompt_tokens=reported["input_tokens"], completion_tokens=reported["output_tokens"], cached_tokens=cached
    )
