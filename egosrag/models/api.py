"""The chat model on an OpenAI-compatible server, with each provider's way to continue a prefix (prefill)."""

from __future__ import annotations

import re
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
from pydantic import Field, PrivateAttr

from egosrag.caller import cache_key, current_caller
from egosrag.errors import EgosRagError, ModelError, WindowError
from egosrag.models.background import iterate_cancellable
from egosrag.models.continuation import EchoFilter, request_prefix, sendable_stops
from egosrag.models.sampling import TalkSampling
from egosrag.models.streaming import TokenCounts, chunk, last_chunk
from egosrag.models.tokens import approximate_tokens
from egosrag.models.usage import usage_of
from egosrag.text.encoding import without_surrogates
from egosrag.traits import Traits

PrefixStyle = Literal["deepseek", "vllm", "none"]

_BESIDE_THE_PROTOCOL = ("top_k", "min_p", "repetition_penalty")

# How servers say that a prompt is too long: OpenAI and vLLM (context length, longer than the maximum model length),
# llama.cpp (exceeds the available context size), LM Studio (context overflows, tokens to keep), SGLang (token count
# exceeds), DashScope (Range of input length), Zhipu (超长, 最大长度), and others in the same words.
_OVERFLOW = re.compile(
    r"context[ _-]?(?:length|window|size)|context the overflows|context overflow|exceed_context|maximum model length"
    r"|tokens? (?:count )?exceeds?|tokens to keep from the initial prompt|(?:input|prompt) (?:is )?too (?:long|large)"
    r"|range of input length|输入.{0,6}超|超长|超过.{0,8}(?:长度|上限|限制)|最大长度",
    re.IGNORECASE,
)
_TAG = re.compile(r"<[^>]*>")
_MESSAGE_KEYS = ("message", "msg", "detail", "error", "error_msg", "errorMessage", "error_message", "reason", "title")


class ApiChatModel(ChatOpenAI):
    """A chat model on an OpenAI-compatible server.

    A trailing ``AIMessage`` is a prefix. ``prefix_style`` is the way in which the server continues it: "deepseek"
    marks the message with ``"prefix": true``; "vllm" sends ``continue_final_message``; "none" asks for the prefix in
    the last user message and removes its echo from the reply. ``finish_reason`` is "stop", "eos" or "length"; with a
    server that does not distinguish a stop string from an end of sequence it is "stop" where stop strings were sent.
    Retries with backoff (``max_retries``) and ``timeout`` are ChatOpenAI's.

    It is greedy unless a temperature is set; in conversations the server's own defaults apply instead. ``top_k``,
    ``min_p`` and ``repetition_penalty`` are not part of OpenAI's protocol: vLLM, SGLang and llama.cpp know them, OpenAI
    refuses them, so they are sent only where they are set.

    Raises:
        ModelError: (on a call) the server cannot be reached, refuses the key, or does not know the model.
        WindowError: (on a call) the prompt is too long for the model.
    """

    prefix_style: PrefixStyle = "none"
    context_window: int | None = Field(None, ge=2, description="tokens of prompt and reply together")
    key_name: str = Field("OPENAI_API_KEY", description="the environment variable of the key, for messages")
    temperature: float | None = Field(0.0, ge=0, description="0 for greedy decoding; None for the server's own")
    top_k: int | None = Field(None, ge=0, description="0 for all")
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0)
    stream_usage: bool | None = True
    use_responses_api: bool | None = False

    _in_background: ApiChatModel | None = PrivateAttr(None)

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """False: LangChain's loader only restores classes of its own."""
        return False

    @property
    def continues_prefix(self) -> bool:
        """A trailing AIMessage is continued, by the server or by asking for it."""
        return True

    @property
    def traits(self) -> Traits:
        """Served chat models were trained on conversations of many turns, and read passages well."""
        return Traits()

    @property
    def talk_sampling(self) -> TalkSampling:
        """The server's own defaults: no temperature is sent."""
        return TalkSampling(temperature=None)

    def count_tokens(self, messages: Sequence[BaseMessage] | str) -> int:
        """An estimate: the server's tokenizer is not at hand, and tiktoken's would have to be downloaded."""
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
        if payload.get("temperature", 0) is None:
            del payload["temperature"]
        if stop == [] and "stop" in payload:  # none of those given may be sent: not the model's own either
            del payload["stop"]
        extra = {name: payload.pop(name, getattr(self, name)) for name in _BESIDE_THE_PROTOCOL}
        if extra := {name: value for name, value in extra.items() if value is not None}:
            if "repetition_penalty" in extra:
                extra["repeat_penalty"] = extra["repetition_penalty"]  # llama.cpp's name for it
            payload["extra_body"] = {**extra, **(payload.get("extra_body") or {})}
        if "max_new_tokens" in payload:
            payload["max_completion_tokens"] = payload.pop("max_new_tokens")
        if "max_completion_tokens" in payload and not self._at_openai:
            # Only OpenAI uses the new name; other servers ignore or refuse it.
            payload["max_tokens"] = payload.pop("max_completion_tokens")
        if payload["messages"][-1:] and payload["messages"][-1]["role"] == "assistant":
            if self.prefix_style == "deepseek":
                payload["messages"][-1]["prefix"] = True
            elif self.prefix_style == "vllm":
                extra = payload.get("extra_body") or {}
                payload["extra_body"] = {**extra, "continue_final_message": True, "add_generation_prompt": False}
        return payload

    def _stops(self, stop: list[str] | None) -> list[str]:
        """The stop strings of a call: its own, or else the model's."""
        stops = self.stop if stop is None else stop
        return [stops] if isinstance(stops, str) else list(stops or ())

    @property
    def server(self) -> str:
        """The server's name and port, for messages."""
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
        if current_caller() is not None:  # who may leave at any time, also while the server reads the prompt
            yield from iterate_cancellable(lambda: self._for_background()._astream(messages, stop, None, **kwargs))
            return
        reply = _ReplyStream(messages, self._stops(stop), self)
        try:
            # No run_manager: LangChain reports the chunks that are yielded here.
            for received in super()._stream(reply.messages, reply.stops, None, **kwargs):
                yield from reply.feed(received)
                if reply.filter.closed:
                    break
            yield reply.finish()
        except openai.OpenAIError as error:
            if not self._refuses_stream_options(error, kwargs):
                raise self._one_line_error(error) from error
            yield from self._stream(messages, stop, run_manager, **{**kwargs, "stream_usage": False})

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        reply = _ReplyStream(messages, self._stops(stop), self)
        try:
            async for received in super()._astream(reply.messages, reply.stops, None, **kwargs):
                for ready in reply.feed(received):
                    yield ready
                if reply.filter.closed:
                    break
            yield reply.finish()
        except openai.OpenAIError as error:
            if not self._refuses_stream_options(error, kwargs):
                raise self._one_line_error(error) from error
            async for ready in self._astream(messages, stop, run_manager, **{**kwargs, "stream_usage": False}):
                yield ready

    def _for_background(self) -> ApiChatModel:
        """This model with connections of its own: those of a client belong to one event loop.

        Without LangChain's time limit for a chunk, since the caller has a limit. LangChain uses ``asyncio.wait_for``,
        which in Python 3.11 loses a cancellation that comes together with a chunk.
        """
        if self._in_background is None:
            update: dict[str, Any] = {"stream_chunk_timeout": None}
            if self.http_async_client is None:
                client = self.root_async_client.with_options(http_client=openai.DefaultAsyncHttpxClient())
                update |= {"root_async_client": client, "async_client": client.chat.completions}
            self._in_background = self.model_copy(update=update)
        return self._in_background

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

    def _refuses_stream_options(self, error: Exception, kwargs: dict[str, Any]) -> bool:
        """Whether the server refused the ``stream_options`` of a call with ``kwargs``.

        From then on this model asks for no usage; calls that run at the same time are asked again as well.
        """
        refused = isinstance(error, (openai.BadRequestError, openai.UnprocessableEntityError))
        named = re.search("stream_options|include_usage", f"{getattr(error, 'body', '')} {error}")
        if not (refused and named) or kwargs.get("stream_usage") is False:
            return False
        self.stream_usage = False
        return True

    def _convert_chunk_to_generation_chunk(
        self, chunk: dict[str, Any], default_chunk_class: type, base_generation_info: dict[str, Any] | None
    ) -> ChatGenerationChunk | None:
        choices = chunk.get("choices") or [{}]
        if not chunk.get("choices") and not chunk.get("usage") and (message := _message_in(chunk)):
            raise self._one_line_error(_ErrorInReply(message))
        chunk = _with_cached_tokens(chunk)
        converted = super()._convert_chunk_to_generation_chunk(chunk, default_chunk_class, base_generation_info)
        if converted is None:
            return None
        # What LangChain would drop: which stop string it was (vLLM), that the model is thinking, and its refusal.
        stop_reason, delta = choices[0].get("stop_reason"), choices[0].get("delta") or {}
        info = {"stop_reason": stop_reason} if isinstance(stop_reason, str) else {}
        if delta.get("reasoning_content") or delta.get("reasoning"):
            info["thinking"] = "yes"
        if isinstance(refusal := delta.get("refusal"), str) and refusal:
            info["refusal"] = refusal
        if info:
            converted.generation_info = {**(converted.generation_info or {}), **info}
        return converted

    def _one_line_error(self, error: Exception) -> EgosRagError:
        """What went wrong, in one line; the server's own message only where it helps, without the key."""
        server = self.server
        detail = self._server_message(error)
        if self._is_overflow(error):
            return WindowError(f"the prompt does not fit the window of {self.model_name}: {detail}")
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
            return ModelError(
                f'{server} does not accept prefix_style "{self.prefix_style}": use "none", or the style that this'
                f" server supports ({detail})"
            )
        if isinstance(error, (openai.BadRequestError, openai.UnprocessableEntityError)):
            if named := [name for name in _BESIDE_THE_PROTOCOL if name in detail]:
                return ModelError(f"{server} refused the setting {', '.join(named)}: leave it out ({detail})")
            return ModelError(f"{server} refused the request: {detail}")
        return ModelError(f"{server} failed: {detail}")

    def _is_overflow(self, error: Exception) -> bool:
        """Whether the server says that the prompt is too long."""
        if isinstance(error, ContextOverflowError) or getattr(error, "status_code", None) == 413:
            return True
        other = (openai.AuthenticationError, openai.PermissionDeniedError, openai.RateLimitError, openai.NotFoundError)
        return not isinstance(error, other) and bool(_OVERFLOW.search(f"{getattr(error, 'body', '')} {error}"))

    def _server_message(self, error: Exception) -> str:
        """The server's message in one line, cut to 200 characters, with the key replaced by ``***``."""
        own = _message_in(getattr(error, "body", None))
        text = " ".join(str(own or getattr(error, "message", None) or type(error).__name__).split())
        key = self.root_client.api_key
        return (text.replace(key, "***") if key else text)[:200]


class _ErrorInReply(Exception):
    """An error that the server sent in place of a chunk, in an answer of status 200."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def _with_cached_tokens(chunk: dict[str, Any]) -> dict[str, Any]:
    """A chunk with DeepSeek's count of cached tokens under OpenAI's name for it."""
    usage = chunk.get("usage")
    if not isinstance(usage, dict) or usage.get("prompt_tokens_details"):
        return chunk
    hits = usage.get("prompt_cache_hit_tokens")
    details = {"prompt_tokens_details": {"cached_tokens": hits}} if isinstance(hits, int) else {}
    return {**chunk, "usage": {**usage, **details}}


def _message_in(body: Any) -> str:
    """The message in an error body of any shape: nested objects, lists (FastAPI), text or an HTML page."""
    if isinstance(body, str):
        return " ".join(_TAG.sub(" ", body).split())
    if isinstance(body, list):
        return "; ".join(filter(None, map(_message_in, body)))
    if isinstance(body, dict):
        return next((found for key in _MESSAGE_KEYS if (found := _message_in(body.get(key)))), "")
    return ""


class _ReplyStream:
    """One reply as it is received: what to send for it, and the server's chunks in the form of our other models.

    Attributes:
        messages: to send; for prefix_style "none" with the request for the prefix.
        stops: to send; without those that would end the reply inside an echo of the prefix.
        filter: removes the echo, and ends the reply at a stop string.
    """

    def __init__(self, messages: list[BaseMessage], stops: list[str], model: ApiChatModel) -> None:
        last = messages[-1] if messages else None
        prefix = str(last.text) if isinstance(last, AIMessage) and model.prefix_style == "none" else ""
        self.messages = request_prefix(messages[:-1], prefix) if prefix else messages
        self.stops = sendable_stops(prefix, stops) if prefix else stops
        self.filter = EchoFilter(prefix, stops)
        self._model, self._server = model.model_name, model.server
        self._reason = ""  # until the server gives one
        self._usage = TokenCounts()
        self._text = False  # whether the model said anything
        self._half = ""
        self._refusal = ""
        self._thinks = False
        self._parsed: Any = None  # of structured output

    def feed(self, received: ChatGenerationChunk) -> Iterator[ChatGenerationChunk]:
        """Take a chunk from the server; the chunks of the reply that became certain with it."""
        info = received.generation_info or {}
        if reason := info.get("finish_reason"):
            if reason == "content_filter":
                raise ModelError(f"the server withheld the reply of {self._model}: its content filter refused it")
            eos = reason == "stop" and not self.stops and not info.get("stop_reason")
            self._reason = "eos" if eos else reason
        message = received.message
        if isinstance(message, AIMessageChunk):
            if message.usage_metadata:
                usage = usage_of(message)
                # The server's cache is shared by all callers of this process, so they do not learn what was in it.
                cached = 0 if cache_key() else usage.cached_tokens
                self._usage = TokenCounts(usage.prompt_tokens, usage.completion_tokens, cached)
            self._parsed = message.additional_kwargs.get("parsed", self._parsed)
            if message.tool_call_chunks:
                yield received
                return
        self._refusal += str(info.get("refusal", ""))
        self._thinks = self._thinks or "thinking" in info
        said = self._half + str(message.text)
        # Servers cut an emoji into the two escapes of its surrogate pair, and send one after the other.
        self._half = said[-1:] if "\ud800" <= said[-1:] <= "\udbff" else ""
        if text := self.filter.feed(without_surrogates(said[: len(said) - len(self._half)])):
            self._text = self._text or bool(text.strip())
            yield chunk(text)

    def finish(self) -> ChatGenerationChunk:
        """The last chunk.

        Raises:
            ModelError: the server gave no finish reason, as the connection was closed before the reply's end; or the
                model said nothing because it refused, or spent all of its tokens thinking.
        """
        if self._refusal and not self._text:
            raise ModelError(f"{self._model} refused to answer: {' '.join(self._refusal.split())[:200]}")
        rest = self.filter.finish()
        if self._reason == "length" and not (self._text or rest.strip()) and (self._thinks or self.filter.thinking):
            raise ModelError(f"{self._model} spent all of its tokens thinking and said nothing: raise max_new_tokens")
        reason = "stop" if self.filter.closed else self._reason
        if not reason:
            raise ModelError(f"{self._server} closed the connection in the middle of a reply: check that it still runs")
        last = last_chunk(rest, reason, self._model, self._usage)
        if self._parsed is not None:
            last.message.additional_kwargs["parsed"] = self._parsed
        return last
