"""Token usage is read from the message's metadata, and is zero where a provider reports none."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk

from egosrag.models.usage import usage_of
from egosrag.schema import Usage

REPORTED = {"input_tokens": 30, "output_tokens": 4, "total_tokens": 34}


@pytest.mark.parametrize(
    ("message", "usage"),
    [
        (AIMessage("Hello.", usage_metadata=REPORTED), Usage(prompt_tokens=30, completion_tokens=4)),
        (
            AIMessageChunk("Hello.", usage_metadata={**REPORTED, "input_token_details": {"cache_read": 20}}),
            Usage(prompt_tokens=30, completion_tokens=4, cached_tokens=20),
        ),
        (
            AIMessage("Hello.", usage_metadata={**REPORTED, "input_token_details": {}}),
            Usage(prompt_tokens=30, completion_tokens=4),
        ),
        (AIMessage("Hello."), Usage()),
        (None, Usage()),
    ],
)
def test_usage_is_what_the_message_reports(message: AIMessage | None, usage: Usage) -> None:
    assert usage_of(message) == usage
