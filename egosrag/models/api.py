"""The chat model behind an OpenAI-compatible server, with each provider's way to continue a prefix."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

import openai
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.exceptions import ContextOverflowError
from langchain_core.language_models import LanguageModelInput, ModelProfile
from langchain_core.language_models.chat_models import agenerate_from_stream, generate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI
from pydantic import Field

from egosrag.errors import EgosRagError, ModelError, WindowError
from egosrag.models.continuation import Continuation, ask, sendable_stops
from egosrag.models.streaming import chunk, last_chunk
from egosrag.models.tokens import approximate_tokens

PrefixStyle = Literal["deepseek", "vllm", "none"]


class ApiChatModel(ChatOpenAI):
    """A chat model on an OpenAI-compatible server.

    A trailing ``AIMessage`` is a prefix. ``prefix_style`` tells how the server is asked to continue it: "deepseek"
    marks the message with ``"prefix": true``; "vllm" sends ``continue_final_message``; "none" asks for the prefix in
    the last user message and takes its echo off the reply. ``finish_reason`` is "stop", "eos" or "length"; a server
    that does not tell a stop string from an end of sequence gives "stop" where stop strings were sent.
    Retries with backoff (``max_retries``) and ``timeout`` are ChatOpenAI's.

    Raises:
        ModelError: (on a call) the server cannot be reached, refuses the key, or does not know the model.
        WindowError: (on a call) the prompt is too long for the model.
    """

    prefix_style: PrefixStyle = "none"
    context_window: int | None = Field(None, ge=2, description="tokens that prompt and reply may take together")
    key_name: str = Field("OPENAI_API_KEY", description="the environment variable that a message about the key names")
    stream_usage: bool | None = True
    use_responses_api: bool | None = False

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Not among LangChain's own classes, so its loader could not bring it back."""
        return False

    @property
    def continues_prefix(self) -> bool:
        """A trailing AIMessage is continued, by the server or by asking for it."""
        return True

    @property
    def multi_turn(self) -> bool:
        """Served chat models were trained on conversations of many turns."""
        return True

    def count_tokens(self, messages: Sequence[BaseMessage] | str) -> int:
        """An estimate: the server's tokenizer is not at hand, and tiktoken would have to be downloaded."""
        return approximate_tokens(messages)

    def get_num_tokens(self, text: str) -> int:
        """An estimate, as ``count_tokens``."""
        return approximate_tokens(text)

    def get_num_tokens_from_messages(
        self, messages: Sequence[BaseMessage], tools: Sequence[Any] | None = None, **kwargs: Any
    ) -> int:
        """An estimate, as ``count_tokens``; tools are not counted."""
        return approximate_tokens(messages)

    def _resolve_model_profile(self) -> ModelProfile | None:
        known: ModelProfile = super()._resolve_model_profile() or ModelProfile()
        if self.context_window is None:
            return known or None
        reserve = min(self.max_tokens or 256, self.context_window // 2)
        return ModelProfile(**{**known, "max_input_tokens": self.context_window - reserve})

    def _get_request_payload(
        self, input_: LanguageModelInput, *, stop: list[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        payload: dict[str, Any] = super()._get_request_payload(input_, stop=stop, **kwargs)
        if "max_new_tokens" in payload:
            payload["max_completion_tokens"] = payload.pop("max_new_tokens")
        if "max_completion_tokens" in payload and not self._at_openai:
            # Only OpenAI has renamed it; other servers ignore or refuse the new name.
            payload["max_tokens"] = payload.pop("max_completion_tokens")
        if payload["messages"][-1:] and payload["messages"][-1]["role"] == "assistant":
            if self.prefix_style == "deepseek":
                payload["messages"][-1]["prefix"] = True
            elif self.prefix_style == "vllm":
                extra = payload.get("extra_body") or {}
                payload["extra_body"] = {**extra, "continue_final_message": True, "add_generation_prompt": False}
        return payload

    @property
    def server(self) -> str:
        """The server's name and port, as a message names it."""
        url = urlsplit(str(self.root_client.base_url))
        return url.hostname + (f":{url.port}" if url.port else "") if url.hostname else "the server"

    @property
    def _at_openai(self) -> bool:
        return (urlsplit(str(self.root_client.base_url)).hostname or "").endswith("openai.com")

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        reader = _Reader(messages, stop, self)
        try:
            # No run_manager: LangChain reports the chunks that are yielded here.
            for piece in super()._stream(reader.messages, reader.stops, None, **kwargs):
                yield from reader.feed(piece)
                if reader.continuation.closed:
                    break
            yield reader.finish()
        except openai.OpenAIError as error:
            raise self._told(error) from error

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        reader = _Reader(messages, stop, self)
        try:
            async for piece in super()._astream(reader.messages, reader.stops, None, **kwargs):
                for ready in reader.feed(piece):
                    yield ready
                if reader.continuation.closed:
                    break
            yield reader.finish()
        except openai.OpenAIError as error:
            raise self._told(error) from error

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, **kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages, stop, **kwargs))

    def _convert_chunk_to_generation_chunk(
        self, chunk: dict[str, Any], default_chunk_class: type, base_generation_info: dict[str, Any] | None
    ) -> ChatGenerationChunk | None:
        made = super()._convert_chunk_to_generation_chunk(chunk, default_chunk_class, base_generation_info)
        choices = chunk.get("choices") or [{}]
        if made is not None and isinstance(choices[0].get("stop_reason"), str):
            # vLLM tells which stop string it was; LangChain would drop it.
            made.generation_info = {**(made.generation_info or {}), "stop_reason": choices[0]["stop_reason"]}
        return made

    def _told(self, error: Exception) -> EgosRagError:
        """The one line that says what went wrong; the server's own words only where they help, without the key."""
        server = self.server
        detail = self._clean(error)
        if isinstance(error, openai.APITimeoutError):
            return ModelError(f"{server} did not answer in time: try again, or raise the timeout")
        if isinstance(error, openai.APIConnectionError):
            return ModelError(f"no connection to {server}: check that the server runs and that its address is right")
        if isinstance(error, (openai.AuthenticationError, openai.PermissionDeniedError)):
            return ModelError(f"{server} refused the key: check {self.key_name}")
        if isinstance(error, openai.NotFoundError):
            return ModelError(f"{server} has no model {self.model_name}, or its address is wrong: {detail}")
        if isinstance(error, openai.RateLimitError):
            return ModelError(f"{server} asks for fewer requests, or the account is empty: {detail}")
        if isinstance(error, openai.UnprocessableEntityError) and self.prefix_style != "none":
            told = f'{server} cannot be asked with prefix_style "{self.prefix_style}"'
            return ModelError(f'{told}: take "none", or the server\'s own way ({detail})')
        if isinstance(error, (openai.BadRequestError, openai.UnprocessableEntityError)):
            words = detail.lower()
            if isinstance(error, ContextOverflowError) or (
                "context" in words and ("length" in words or "window" in words)
            ):
                return WindowError(f"the prompt does not fit the window of {self.model_name}: {detail}")
            return ModelError(f"{server} refused the request: {detail}")
        return ModelError(f"{server} failed: {detail}")

    def _clean(self, error: Exception) -> str:
        body = getattr(error, "body", None)
        told = (body.get("message") or body.get("detail")) if isinstance(body, dict) else None  # FastAPI's own: detail
        text = " ".join(str(told or getattr(error, "message", None) or type(error).__name__).split())
        key = self.root_client.api_key
        return (text.replace(key, "***") if key else text)[:200]


class _Reader:
    """One reply as it comes in: what to send for it, and the server's chunks in the form of our other models."""

    def __init__(self, messages: list[BaseMessage], stop: list[str] | None, model: ApiChatModel) -> None:
        last = messages[-1] if messages else None
        prefix = str(last.text) if isinstance(last, AIMessage) and model.prefix_style == "none" else ""
        self.messages = ask(messages[:-1], prefix) if prefix else messages
        self.stops = (sendable_stops(prefix, stop) if stop and prefix else stop) or None
        self.continuation = Continuation(prefix, stop or ())
        self._model, self._server = model.model_name, model.server
        self._reason = ""  # until the server gives one
        self._usage = (0, 0, 0)

    def feed(self, piece: ChatGenerationChunk) -> Iterator[ChatGenerationChunk]:
        """What can be shown of the reply after ``piece``."""
        info = piece.generation_info or {}
        if reason := info.get("finish_reason"):
            if reason == "content_filter":
                raise ModelError(f"the server withheld the reply of {self._model}: its content filter refused it")
            told_eos = reason == "stop" and not self.stops and not info.get("stop_reason")
            self._reason = "eos" if told_eos else reason
        message = piece.message
        if isinstance(message, AIMessageChunk):
            if usage := message.usage_metadata:
                cached = usage.get("input_token_details", {}).get("cache_read") or 0
                self._usage = (usage["input_tokens"], usage["output_tokens"], cached)
            if message.tool_call_chunks:
                yield piece
                return
        if text := self.continuation.feed(str(message.text)):
            yield chunk(text)

    def finish(self) -> ChatGenerationChunk:
        """The last piece.

        Raises:
            ModelError: the server did not say that it was at its end: a connection that is only closed says nothing.
        """
        rest = self.continuation.finish()
        reason = "stop" if self.continuation.closed else self._reason
        if not reason:
            raise ModelError(f"{self._server} closed the connection within its reply: see whether it still runs")
        return last_chunk(rest, reason, self._model, self._usage)
