"""The base class of the four EGOS steps, which makes each of them a LangChain Runnable, and their token counter."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from langchain_core.callbacks import CallbackManagerForChainRun
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig

In = TypeVar("In")
Out = TypeVar("Out")
Count = Callable[[Sequence[BaseMessage] | str], int]
"""Number of tokens of a text, or of the prompt that messages make, by the model's own tokenizer and template."""

CACHED_COUNTS = 4096  # texts whose token count is kept: the turns of a long session, with their scenes


def cached_count(count: Count, size: int = CACHED_COUNTS) -> Count:
    """``count`` with a cache for texts: the turns of a conversation are counted again for every reply.

    Args:
        count: number of tokens of a text or of messages. Messages are never cached: each prompt is counted once.
        size: number of texts kept; the least recently used one is dropped first.
    """
    known: dict[str, int] = {}

    def counted(prompt: Sequence[BaseMessage] | str) -> int:
        if not isinstance(prompt, str):
            return count(prompt)
        tokens = known.pop(prompt, None)
        known[prompt] = count(prompt) if tokens is None else tokens
        if len(known) > size:
            del known[next(iter(known))]
        return known[prompt]

    return counted


class Step(Runnable[In, Out]):
    """A step of the report's figure 5: implement ``run`` to get ``invoke``, ``batch``, ``stream``, ``|`` and traces."""

    @abstractmethod
    def run(self, value: In, config: RunnableConfig | None = None) -> Out:
        """Do the work of the step, under the callbacks of ``config``."""

    def invoke(self, input: In, config: RunnableConfig | None = None, **kwargs: Any) -> Out:  # noqa: A002
        """Do the work of the step as a traced run that has the step's name."""

        def traced(value: In, run_manager: CallbackManagerForChainRun, config: RunnableConfig) -> Out:
            return self.run(value, config)

        return self._call_with_config(traced, input, config)
