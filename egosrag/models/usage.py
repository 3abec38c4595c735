"""The tokens that a model reports for a call, in one form."""

from __future__ import annotations

from langchain_core.messages import AIMessage

from egosrag.schema import Usage


def usage_of(message: AIMessage) -> Usage:
    """The tokens that a message, or a chunk of one, reports; zeros where it reports none."""
    reported = message.usage_metadata
    if not reported:
        return Usage()
    cached = (reported.get("input_token_details") or {}).get("cache_read") or 0
    return Usage(
        prompt_tokens=reported["input_tokens"], completion_tokens=reported["output_tokens"], cached_tokens=cached
    )
