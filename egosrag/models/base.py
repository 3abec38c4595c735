"""What our models in this process have in common: LangChain's standard parameters, and replies by streaming."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.language_models.chat_models import agenerate_from_stream, generate_from_stream
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import Field, field_validator, model_validator


def by_own_names(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a model or a call with LangChain's ``max_tokens`` as our ``max_new_tokens``, which has priority."""
    own = {name: value for name, value in arguments.items() if name != "max_tokens"}
    if arguments.get("max_tokens") is not None:
        own.setdefault("max_new_tokens", arguments["max_tokens"])
    return own


class InProcessChatModel(BaseChatModel):
    """A chat model without a server. A subclass has ``_stream`` and ``count_tokens``.

    LangChain's ``max_tokens`` may be given in place of ``max_new_tokens``, to the model and to a call.
    """

    reads_slowly: ClassVar[bool] = False
    """Whether reading a long prompt takes longer than a second call with a short one: the model is computed here."""

    max_new_tokens: int = Field(256, ge=1)
    stop: list[str] = Field([], description="stop strings of the calls that give none")
    streaming: bool = Field(False, description="invoke streams too, so that callbacks receive each token")

    @model_validator(mode="before")
    @classmethod
    def _langchain_name(cls, values: Any) -> Any:
        return by_own_names(values) if isinstance(values, dict) else values

    @field_validator("stop", mode="before")
    @classmethod
    def _list_of_stops(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value or []

    @property
    def continues_prefix(self) -> bool:
        """A trailing AIMessage is continued."""
        return True

    def count_tokens(self, messages: Sequence[BaseMessage] | str) -> int:
        """Tokens of a text, or of the whole prompt that messages make."""
        raise NotImplementedError

    def get_num_tokens(self, text: str) -> int:
        """Tokens of a text, as ``count_tokens``."""
        return self.count_tokens(text)

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """Tokens of the prompt that the messages make; tools are not supported and not counted."""
        return self.count_tokens(messages)

    def _stops(self, stop: list[str] | None) -> list[str]:
        """The stop strings of a call: its own, or else the model's."""
        return list(self.stop if stop is None else stop)

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        # Also the key of LangChain's cache of replies.
        params: dict[str, Any] = super()._get_invocation_params(stop=self._stops(stop) or None, **kwargs)
        return params

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        kwargs = by_own_names(kwargs)
        params = super()._get_ls_params(stop=self._stops(stop) or None, **kwargs)
        params["ls_provider"] = "egosrag"
        params["ls_max_tokens"] = kwargs.get("max_new_tokens", self.max_new_tokens)
        params.setdefault("ls_model_name", self._llm_type.removeprefix("egosrag-"))
        return params

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, run_manager, **kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        # Token by token, so that a cancelled task stops the work; the inherited method would let its thread run on.
        stream: AsyncIterator[ChatGenerationChunk] = self._astream(messages, stop, run_manager, **kwargs)
        return await agenerate_from_stream(stream)
