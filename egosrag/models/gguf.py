"""The GGUF chat model: a quantized file, run by llama.cpp in this process; nothing of torch is imported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import ModelProfile
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from pydantic import ConfigDict, Field, PrivateAttr

from egosrag.errors import ModelError
from egosrag.models.base import InProcessChatModel, by_own_names
from egosrag.models.runtime.gguf_file import GgufFile, read_gguf
from egosrag.models.runtime.gguf_loading import CACHE_MB, open_server
from egosrag.models.runtime.gguf_tokenizer import GgufTokenizer
from egosrag.models.runtime.llama_cpp import LlamaServer
from egosrag.models.runtime.prompt_files import SavedPrompts
from egosrag.models.sampling import TalkSampling
from egosrag.models.streaming import StopFilter, UnreportedUsage, chunk, last_chunk
from egosrag.models.tokens import check_length
from egosrag.prompts.encode import count_text, encode, encode_reply, end_of_turn_id
from egosrag.text.thoughts import ThoughtFilter
from egosrag.traits import Traits

_SAMPLING = ("max_new_tokens", "min_p", "repetition_penalty", "seed", "temperature", "top_k", "top_p")
# transformers' order; llama.cpp's own takes the temperature last, so that top_p means something else.
_SAMPLERS = ["penalties", "temperature", "top_k", "top_p", "min_p"]


class GgufChatModel(InProcessChatModel):
    """A GGUF file by llama.cpp (``pip install 'egosrag[gguf]'``), as a LangChain chat model.

    A trailing ``AIMessage`` is a prefix (prefill): the reply is what comes after it. ``stop`` strings are found in the
    text, left out, and never partly streamed. ``response_metadata["finish_reason"]`` is "stop", "eos" or "length";
    ``usage_metadata`` counts real tokens, ``input_token_details.cache_read`` those that were found in a KV cache.
    The sampling parameters may also be given to a single call, as ``model.invoke(..., temperature=0.7)``; they mean
    what they mean to transformers: ``repetition_penalty`` sees prompt and reply (llama.cpp's own default: 64 tokens).

    The same seed and call give the same reply, except where two tokens are equally likely but for rounding: llama.cpp
    rounds differently with a cached prefix, and with other calls in the same batch.

    Raises:
        ModelError: the file or the adapter cannot be loaded, a package is missing, or a setting is wrong.
        WindowError: (on a call) the prompt leaves no token of the context window for a reply.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
    reads_slowly = True

    model: str = Field(description="a GGUF file")
    adapter: str | None = Field(None, description="a GGUF file of a LoRA adapter for this base")
    template: bool = Field(True, description="False: no chat template, and a newline ends the reply (report 5.2)")
    context_window: int | None = Field(
        None, ge=2, description="tokens; 8192 when None, never above the file's own window"
    )
    temperature: float = Field(0.0, ge=0, description="0 for greedy decoding")
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0, description="0 for all")
    min_p: float = Field(0.0, ge=0, le=1, description="leave out tokens less likely than this share of the likeliest")
    repetition_penalty: float = Field(1.0, gt=0)
    kv_cache_mb: int = Field(
        CACHE_MB, ge=0, description="MiB of main memory for prefixes kept for later calls; 0 for none"
    )
    saved_prompts: SavedPrompts | None = Field(
        None, description="a folder for KV caches of prompts, kept for later processes, and its MiB at most"
    )
    seed: int | None = Field(None, description="the same seed and call give the same reply")

    _file: GgufFile = PrivateAttr()
    _server: LlamaServer = PrivateAttr()
    _window: int = PrivateAttr()
    _end_of_turn: str | None = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Load the file, or share the one that is loaded already."""
        super().model_post_init(context)
        self._file = read_gguf(self.model)
        self._server, self._window = open_server(
            self._file,
            adapter=self.adapter,
            window=self.context_window,
            cache_mb=self.kv_cache_mb,
            saved=self.saved_prompts,
        )
        end = end_of_turn_id(self.tokenizer) if self.template and self.tokenizer.chat_template else None
        self._end_of_turn = None if end is None else str(self._file.added_tokens[end])

    @property
    def server(self) -> LlamaServer:
        """The loaded file; all models of one file and adapter share it."""
        return self._server

    @property
    def tokenizer(self) -> GgufTokenizer:
        """The file's tokenizer."""
        return self._server.tokenizer

    @property
    def traits(self) -> Traits:
        """Those of any chat model: a GGUF file states none. Without a template there are no turns."""
        return Traits(single_turn=not self.template)

    @property
    def talk_sampling(self) -> TalkSampling:
        """What the file's publisher recommends for conversations; nothing where that is not known."""
        return self._file.talk_sampling

    def count_tokens(self, messages: Sequence[BaseMessage] | str) -> int:
        """Tokens of a text, or of the whole prompt that messages make, template included."""
        if isinstance(messages, str):
            return count_text(self.tokenizer, messages)
        return len(encode(self.tokenizer, messages, template=self.template))

    def log_likelihoods(self, messages: Sequence[BaseMessage], text: str) -> list[float]:
        """The log-likelihood in nats of the tokens of ``text`` as the reply to ``messages``.

        Args:
            messages: the prompt; a trailing AIMessage is the beginning of the reply, which ``text`` continues.
            text: the reply, or the rest of it.

        Raises:
            ModelError: as on a call.
            WindowError: prompt and text are longer than the context window.
        """
        ids, start = encode_reply(self.tokenizer, messages, text, template=self.template)
        generation = self._server.start(ids, {}, window=self._window, max_new_tokens=1)
        return self._server.log_likelihoods(generation, start)

    @property
    def _llm_type(self) -> str:
        return "egosrag-gguf"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        names = ("model", "adapter", "template", "context_window", "stop", *_SAMPLING)
        return {name: getattr(self, name) for name in names}

    def _resolve_model_profile(self) -> ModelProfile:
        # The reply's share of the window, but never more than half of it.
        reserve = min(self.max_new_tokens, self._window // 2)
        return ModelProfile(
            max_input_tokens=self._window - reserve, max_output_tokens=reserve, text_inputs=True, text_outputs=True
        )

    def _sampling(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The model's sampling parameters, with those of one call."""
        arguments = by_own_names(arguments)
        unknown = sorted(arguments.keys() - set(_SAMPLING) - {"stream"})
        if unknown:
            raise ModelError(f"unknown setting {', '.join(unknown)}: a call takes {', '.join(_SAMPLING)}")
        return {name: arguments.get(name, getattr(self, name)) for name in _SAMPLING}

    def _request(self, sampling: dict[str, Any]) -> dict[str, Any]:
        """Sampling parameters by llama.cpp's names."""
        seed = sampling["seed"]
        request = {
            "temperature": sampling["temperature"],
            "top_p": sampling["top_p"],
            "top_k": sampling["top_k"],
            "min_p": sampling["min_p"],
            "repeat_penalty": sampling["repetition_penalty"],
            "repeat_last_n": self._window,  # the whole text
            "seed": -1 if seed is None else seed % 0xFFFFFFFF,  # 32 bits, of which the largest number means none
            "samplers": _SAMPLERS,
        }
        if self._end_of_turn is not None:
            # llama.cpp knows the ends of turns of common templates only. Another one ends the reply where it is text.
            request |= {"preserved_tokens": [self._end_of_turn], "stop": [self._end_of_turn]}
        return request

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        sampling = self._sampling(kwargs)
        check_length(self.tokenizer, messages, self._window, self.model)
        ids = encode(self.tokenizer, messages, template=self.template)
        generation = self._server.start(
            ids, self._request(sampling), window=self._window, max_new_tokens=sampling["max_new_tokens"]
        )
        usage, reason = UnreportedUsage(generation), "length"
        stop_filter = StopFilter([*self._stops(stop), *([] if self.template else ["\n"])])
        thoughts = ThoughtFilter(thinking=self._ends_with_thoughts(ids))
        with closing(self._server.generate(generation)) as pieces:
            for piece in pieces:
                text = stop_filter.feed(thoughts.feed(piece))
                if text:
                    # With each chunk, so that a caller who closes the stream early knows its usage too.
                    yield chunk(text, usage.take())
                if stop_filter.hit is not None:
                    break
        rest = stop_filter.feed(thoughts.finish()) + stop_filter.finish()
        if stop_filter.hit is not None:
            reason = "stop"
        elif generation.reached_end:
            reason = "eos"
        if reason == "length" and thoughts.thinking and not thoughts.spoken:
            raise ModelError(f"{self.model} spent all of its tokens thinking and said nothing: raise max_new_tokens")
        yield last_chunk(rest, reason, self.model, usage.take())

    def _ends_with_thoughts(self, ids: list[int]) -> bool:
        """Whether a prompt ends with the opening tag of thoughts: some chat templates write it themselves."""
        return self.tokenizer.decode(ids[-8:]).rstrip().endswith("<think>")
