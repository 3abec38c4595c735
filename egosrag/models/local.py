"""The local chat model: any causal checkpoint of transformers, with or without a LoRA adapter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import ModelProfile
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from pydantic import ConfigDict, Field, PrivateAttr

from egosrag.errors import ModelError
from egosrag.models.base import InProcessChatModel, by_own_names
from egosrag.models.runtime.checkpoint import open_adapter, open_engine
from egosrag.models.runtime.engine import Engine
from egosrag.models.runtime.sampling import Sampling
from egosrag.models.sampling import TalkSampling
from egosrag.models.streaming import Detokenizer, StopFilter, UnreportedUsage, chunk, last_chunk
from egosrag.models.tokens import check_length
from egosrag.prompts.encode import count_text, encode, encode_reply, end_of_turn_id
from egosrag.text.thoughts import ThoughtFilter
from egosrag.traits import Traits, read_traits

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SAMPLING = frozenset(f.name for f in fields(Sampling))


class LocalChatModel(InProcessChatModel):
    """A checkpoint in this process (report 5.1), as a LangChain chat model.

    A trailing ``AIMessage`` is a prefix (prefill): the reply is what comes after it. ``stop`` strings are found in the
    text, left out, and never partly streamed. ``response_metadata["finish_reason"]`` is "stop", "eos" or "length";
    ``usage_metadata`` counts real tokens, ``input_token_details.cache_read`` those that were found in a KV cache.
    The same seed and call give the same reply in float32, whatever is in the KV caches or runs at the same time. In 16
    bits that holds for calls one at a time without caches (``kv_cache_mb=0``): after a cached prefix, passes of other
    lengths round differently in the last of bfloat16's 8 bits, enough to choose another of two likely tokens.
    The parameters of ``Sampling`` may also be given to a single call, as ``model.invoke(..., temperature=0.7)``.
    Invoked directly it is greedy unless a temperature is set; conversations pass what the checkpoint recommends
    (``talk_sampling``) to each call.

    Raises:
        ModelError: the checkpoint or the adapter cannot be loaded, or a setting is wrong.
        WindowError: (on a call) the prompt leaves no token of the context window for a reply.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
    reads_slowly = True

    model: str = Field(description="the name of the embedded model, a folder or a hub id")
    adapter: str | None = Field(None, description="folder of a LoRA adapter for this base")
    template: bool = Field(True, description="False: no chat template, and a newline ends the reply (report 5.2)")
    dtype: str | None = Field(None, description="float32, bfloat16 or float16; by checkpoint and device when None")
    device: str | None = Field(None, description="as torch names it; CUDA where there is one when None")
    context_window: int | None = Field(None, ge=2, description="tokens; never above the checkpoint's own window")
    temperature: float = Field(0.0, ge=0, description="0 for greedy decoding")
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0, description="0 for all")
    min_p: float = Field(0.0, ge=0, le=1, description="0 for all")
    repetition_penalty: float = Field(1.0, gt=0)
    kv_cache_mb: int = Field(512, ge=0, description="MiB of KV caches kept for later calls; 0 keeps none")
    seed: int | None = Field(
        None, description="the same seed and call give the same reply; in 16 bits, where no other call has left a cache"
    )

    _engine: Engine = PrivateAttr()
    _adapter_name: str | None = PrivateAttr(None)
    _eos_ids: frozenset[int] = PrivateAttr(frozenset())
    _traits: Traits = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Load the checkpoint, or share the one that is loaded already."""
        super().model_post_init(context)
        self._engine = open_engine(self.model, dtype=self.dtype, device=self.device)
        self._traits = self._engine.traits
        if self.adapter is not None:
            self._adapter_name = open_adapter(self._engine, self.adapter)
            self._traits = read_traits(Path(self.adapter).expanduser(), self._traits)
        if not self.template:  # without a template there are no turns
            self._traits = replace(self._traits, single_turn=True)
        end = end_of_turn_id(self.tokenizer) if self.template else None
        self._eos_ids = self._engine.eos_ids | ({end} if end is not None else set())

    @property
    def engine(self) -> Engine:
        """The loaded checkpoint; all models of one folder, dtype and device share it."""
        return self._engine

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The checkpoint's tokenizer."""
        return self._engine.tokenizer

    @property
    def eos_ids(self) -> frozenset[int]:
        """The ids that end a reply: the checkpoint's end of sequence, and the template's end of turn."""
        return self._eos_ids

    @property
    def traits(self) -> Traits:
        """What the checkpoint's folder states, and the adapter's over it."""
        return self._traits

    @property
    def talk_sampling(self) -> TalkSampling:
        """What the checkpoint recommends for conversations; nothing where it states none."""
        return self._engine.talk_sampling

    def count_tokens(self, messages: Sequence[BaseMessage] | str) -> int:
        """Tokens of a text, or of the whole prompt that messages make, template included."""
        if isinstance(messages, str):
            return count_text(self.tokenizer, messages)
        return len(encode(self.tokenizer, messages, template=self.template))

    def log_likelihoods(self, messages: Sequence[BaseMessage], text: str) -> list[float]:
        """The log-likelihood in nats of each token of ``text`` as the reply to ``messages``.

        Args:
            messages: the prompt; a trailing AIMessage is the beginning of the reply, which ``text`` continues.
            text: the reply, or the rest of it.

        Raises:
            ModelError: as on a call.
            WindowError: prompt and text are longer than the context window.
        """
        ids, start = encode_reply(self.tokenizer, messages, text, template=self.template)
        generation = self._engine.start(
            ids[:start],
            Sampling(max_new_tokens=1),
            adapter=self._adapter_name,
            window=self._window - len(ids) + start,
            cache_bytes=self.kv_cache_mb << 20,
        )
        return self._engine.log_likelihoods(generation, ids[start:])

    @property
    def _llm_type(self) -> str:
        return "egosrag-local"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        names = ("model", "adapter", "template", "dtype", "device", "context_window", "stop", *sorted(_SAMPLING))
        return {name: getattr(self, name) for name in names}

    @property
    def _window(self) -> int:
        return min(self.context_window or self._engine.window, self._engine.window)

    def _resolve_model_profile(self) -> ModelProfile:
        # The reply's share of the window, but never more than half of it.
        reserve = min(self.max_new_tokens, self._window // 2)
        return ModelProfile(
            max_input_tokens=self._window - reserve, max_output_tokens=reserve, text_inputs=True, text_outputs=True
        )

    def _sampling(self, arguments: dict[str, Any]) -> Sampling:
        """The model's sampling parameters, with those of one call."""
        arguments = by_own_names(arguments)
        unknown = sorted(arguments.keys() - _SAMPLING - {"stream"})
        if unknown:
            raise ModelError(f"unknown setting {', '.join(unknown)}: a call takes {', '.join(sorted(_SAMPLING))}")
        own = Sampling(**{name: getattr(self, name) for name in _SAMPLING})
        return replace(own, **{name: value for name, value in arguments.items() if name in _SAMPLING})

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
        generation = self._engine.start(
            ids, sampling, adapter=self._adapter_name, window=self._window, cache_bytes=self.kv_cache_mb << 20
        )
        usage, reason = UnreportedUsage(generation), "length"
        stop_filter = StopFilter([*self._stops(stop), *([] if self.template else ["\n"])])
        detokenizer = Detokenizer(self._decode, ids)
        thoughts = ThoughtFilter(thinking=self._ends_with_thoughts(ids))
        with closing(self._engine.generate(generation)) as tokens:
            for token in tokens:
                if token in self._eos_ids:
                    reason = "eos"
                    break
                text = stop_filter.feed(thoughts.feed(detokenizer.feed(token)))
                if text:
                    # With each chunk, so that a caller who closes the stream early knows its usage too.
                    yield chunk(text, usage.take())
                if stop_filter.hit is not None:
                    reason = "stop"
                    break
        rest = stop_filter.feed(thoughts.feed(detokenizer.finish()) + thoughts.finish()) + stop_filter.finish()
        reason = "stop" if stop_filter.hit is not None else reason
        if reason == "length" and thoughts.thinking and not thoughts.spoken:
            raise ModelError(f"{self.model} spent all of its tokens thinking and said nothing: raise max_new_tokens")
        yield last_chunk(rest, reason, self.model, usage.take())

    def _ends_with_thoughts(self, ids: list[int]) -> bool:
        """Whether a prompt ends with the opening tag of thoughts: some chat templates write it themselves."""
        end = str(self.tokenizer.decode(ids[-8:], skip_special_tokens=False))
        return end.rstrip().endswith("<think>")

    def _decode(self, ids: list[int]) -> str:
        text = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(text)
