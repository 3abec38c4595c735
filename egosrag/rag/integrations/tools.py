"""What an agent's model reads of the manual as a tool: its name, when to call it, and the answer with its pages."""

from __future__ import annotations

from egosrag.schema import Answer
from egosrag.text.language import one_line

TOOL_NAME = "ask_manual"
TOOL_DESCRIPTION = (
    "Answers one complete question from the manual, with quotes and the page of each. It says so where the manual does"
    " not answer the question; do not answer it from elsewhere then."
)


def cited_text(answer: Answer) -> str:
    """The answer, and a line for each citation: its number, document, page and quote."""
    cited = (f'[{n}] {c.source}, p. {c.page}: "{one_line(c.quote)}"' for n, c in enumerate(answer.citations, 1))
    return "\n".join([answer.answer, *cited])
