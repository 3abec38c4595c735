"""The scripted chat model: a public fake whose replies are given, and which raises when they run out."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import ModelProfile
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from pydantic import ConfigDict, Field, PrivateAttr

from egosrag.errors import ModelError, ScriptExhausted, WindowError
from egosrag.models.base import InProcessChatModel, by_own_names
from egosrag.models.streaming import StopFilter, TokenCounts, chunk, last_chunk
from egosrag.traits import Traits

# A Chinese character, a run of other letters and digits, or any other single character but white space.
_TOKEN = re.compile(r"[\u3400-\u9fff]|(?:(?![\u3400-\u9fff])\w)+|[^\w\s]")


class ScriptedCall(NamedTuple):
    """One call of a scripted model.

    Attributes:
        messages: the whole prompt, a trailing prefix included.
        prefix: the text of the trailing AIMessage, or None.
        stop: the stop strings.
    """

    messages: tuple[BaseMessage, ...]
    prefix: str | None
    stop: tuple[str, ...]


class ScriptedChatModel(InProcessChatModel):
    """A chat model for tests and demonstrations.

    Each string of ``responses`` is the raw text that one call would generate after its prefix; stop strings,
    ``max_new_tokens`` and the context window apply to it as to a real model. A token is a Chinese character, a run of
    other letters and digits, or any other single character; white space counts nothing, and each message of a prompt
    counts 4 tokens more, as a chat template would. It states the trait ``single_turn``.

    Raises:
        ScriptExhausted: (on a call) every response has been used.
        WindowError: (on a call) the prompt leaves no token of the context window for a reply.
    """

    model_config = ConfigDict(extra="forbid")

    responses: list[str]
    context_window: int = Field(4096, ge=2, description="tokens of prompt and reply together")
    chunk_size: int = Field(3, ge=1, description="characters of a streamed chunk")

    _calls: list[ScriptedCall] = PrivateAttr(default_factory=list)
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    @classmethod
    def from_file(cls, path: str | Path, **settings: Any) -> ScriptedChatModel:
        """A model whose responses are a JSON list of strings.

        Raises:
            ModelError: there is no such file, or it is not a JSON list of strings.
        """
        try:
            script = json.loads(Path(path).expanduser().read_text(encoding="utf-8"))
        except OSError as error:
            raise ModelError(f"the script {path} cannot be read: {error.strerror or error}") from error
        except ValueError as error:
            raise ModelError(f"the script {path} is not JSON: write a list of strings, one a call ({error})") from error
        if not isinstance(script, list) or not all(isinstance(text, str) for text in script):
            raise ModelError(f"the script {path} is not a list of strings: write one string for each call")
        return cls(responses=script, **settings)

    @property
    def calls(self) -> list[ScriptedCall]:
        """The calls that it received, in order."""
        return list(self._calls)

    @property
    def traits(self) -> Traits:
        """As a model that was trained on single turns."""
        return Traits(single_turn=True)

    def count_tokens(self, messages: Sequence[BaseMessage] | str) -> int:
        """Tokens of a text, or of the whole prompt that messages make, by the rule of the class."""
        if isinstance(messages, str):
            return len(_TOKEN.findall(messages))
        return sum(4 + len(_TOKEN.findall(str(message.text))) for message in messages)

    @property
    def _llm_type(self) -> str:
        return "egosrag-scripted"

    def _resolve_model_profile(self) -> ModelProfile:
        reserve = min(self.max_new_tokens, self.context_window // 2)
        return ModelProfile(
            max_input_tokens=self.context_window - reserve,
            max_output_tokens=reserve,
            text_inputs=True,
            text_outputs=True,
        )

    def _next(self, messages: list[BaseMessage], stops: list[str]) -> str:
        last = messages[-1] if messages else None
        prefix = str(last.text) if isinstance(last, AIMessage) else None
        with self._lock:
            self._calls.append(ScriptedCall(tuple(messages), prefix, tuple(stops)))
            number = len(self._calls)
        if number > len(self.responses):
            raise ScriptExhausted(
                f"call {number} of a script with {len(self.responses)} responses: give the script one more"
            )
        return self.responses[number - 1]

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        prompt_tokens = self.count_tokens(messages)
        remaining = self.context_window - prompt_tokens
        if remaining < 1:
            raise WindowError(
                f"the prompt has {prompt_tokens} tokens and the window of the script holds {self.context_window}:"
                " shorten it"
            )
        stops = self._stops(stop)
        raw = self._next(messages, stops)
        limit = min(remaining, by_own_names(kwargs).get("max_new_tokens", self.max_new_tokens))
        tokens = list(_TOKEN.finditer(raw))
        generated = raw if len(tokens) <= limit else raw[: tokens[limit - 1].end()]
        stop_filter = StopFilter(stops)
        streamed = ""
        for start in range(0, len(generated), self.chunk_size):
            if text := stop_filter.feed(generated[start : start + self.chunk_size]):
                streamed += text
                yield chunk(text)
            if stop_filter.hit is not None:
                break
        rest = stop_filter.finish()
        reason = "stop" if stop_filter.hit is not None else "length" if generated != raw else "eos"
        completion_tokens = self.count_tokens(streamed + rest + (stop_filter.hit or ""))
        yield last_chunk(rest, reason, "scripted", TokenCounts(prompt_tokens, completion_tokens))
