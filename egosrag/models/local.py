"""The local chat model: any causal checkpoint of transformers, with or without a LoRA adapter."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, ModelProfile
from langchain_core.language_models.chat_models import agenerate_from_stream, generate_from_stream
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import ConfigDict, Field, PrivateAttr

from egosrag.errors import ModelError
from egosrag.models.runtime.checkpoint import open_adapter, open_engine
from egosrag.models.runtime.engine import Engine, Run
from egosrag.models.runtime.sampling import Sampling
from egosrag.models.stops import Detokenizer, StopFilter
from egosrag.models.streaming import Tokens, chunk, last_chunk
from egosrag.prompts.encode import count_text, encode, turn_end

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SAMPLING = frozenset(f.name for f in fields(Sampling))


class LocalChatModel(BaseChatModel):
    """A checkpoint in this process (report 5.1), as a LangChain chat model.

    A trailing ``AIMessage`` is a prefix: the reply is what comes after it. ``stop`` strings are found in the text,
    trimmed, and never partly streamed. ``response_metadata["finish_reason"]`` is "stop", "eos" or "length";
    ``usage_metadata`` counts real tokens, ``input_token_details.cache_read`` those that were not computed again.
    The settings of ``Sampling`` may also be given to a single call, as ``model.invoke(..., temperature=0.7)``.

    Raises:
        ModelError: the checkpoint or the adapter cannot be loaded, or a setting is wrong.
        WindowError: (on a call) the prompt leaves no room for a reply.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    model: str = Field("pocket", description="pocket, a folder or a hub id")
    adapter: str | None = Field(None, description="folder of a LoRA adapter for this base")
    template: bool = Field(True, description="False: no chat template, and a newline ends the reply (report 5.2)")
    dtype: str | None = Field(None, description="float32, bfloat16 or float16; by device when None")
    device: str | None = Field(None, description="as torch names it; CUDA where there is one when None")
    context_window: int | None = Field(None, ge=2, description="tokens; never above the checkpoint's own window")
    temperature: float = Field(0.0, ge=0, description="0 takes the likeliest token")
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0, description="0 for all")
    repetition_penalty: float = Field(1.0, gt=0)
    max_new_tokens: int = Field(256, ge=1)
    kv_cache_mb: int = Field(512, ge=0, description="MiB of keys and values kept for later calls; 0 keeps none")
    seed: int | None = Field(None, description="the same seed and call give the same reply")

    _engine: Engine = PrivateAttr()
    _adapter: str | None = PrivateAttr(None)
    _ends: frozenset[int] = PrivateAttr(frozenset())

    def model_post_init(self, context: Any, /) -> None:
        """Load the checkpoint, or share the one that is loaded already."""
        super().model_post_init(context)
        self._engine = open_engine(self.model, dtype=self.dtype, device=self.device)
        if self.adapter is not None:
            self._adapter = open_adapter(self._engine, self.adapter)
        end = turn_end(self.tokenizer) if self.template else None
        self._ends = self._engine.ends | ({end} if end is not None else set())

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The checkpoint's tokenizer."""
        return self._engine.tokenizer

    @property
    def continues_prefix(self) -> bool:
        """A trailing AIMessage is continued."""
        return True

    @property
    def multi_turn(self) -> bool:
        """Whether it was trained on conversations of many turns: what this house trains was not (report 7.2.4)."""
        ours = self.model == "pocket" or (Path(self.model) / "run.json").is_file()
        return self.template and self.adapter is None and not ours

    @property
    def reads_passages(self) -> bool:
        """Whether it reads better than what it reads tells: pocket's model card says no.

        A manual is quoted then, a role says the sentences of its card, sentences of the sources stand in a card beside
        what it extracted, and a scene has nobody say what they did not.
        """
        return self.model != "pocket"

    def count_tokens(self, messages: Sequence[BaseMessage] | str) -> int:
        """Tokens of a text, or of the whole prompt that messages make, template included."""
        if isinstance(messages, str):
            return count_text(self.tokenizer, messages)
        return len(encode(self.tokenizer, messages, template=self.template))

    def get_num_tokens(self, text: str) -> int:
        """Tokens of a text, by the checkpoint's tokenizer."""
        return self.count_tokens(text)

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """Tokens of the prompt that the messages make; tools are not supported and not counted."""
        return self.count_tokens(messages)

    @property
    def _llm_type(self) -> str:
        return "egosrag-local"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        names = ("model", "adapter", "template", "dtype", "device", "context_window", *sorted(_SAMPLING))
        return {name: getattr(self, name) for name in names}

    @property
    def _window(self) -> int:
        return min(self.context_window or self._engine.window, self._engine.window)

    def _resolve_model_profile(self) -> ModelProfile:
        # What the reply may take is kept free, but never more than half of the window.
        reserve = min(self.max_new_tokens, self._window // 2)
        return ModelProfile(
            max_input_tokens=self._window - reserve, max_output_tokens=reserve, text_inputs=True, text_outputs=True
        )

    def _sampling(self, given: dict[str, Any]) -> Sampling:
        if "max_tokens" in given:  # LangChain's own name for it
            given = {"max_new_tokens": given["max_tokens"], **given}
        wrong = sorted(given.keys() - _SAMPLING - {"max_tokens", "stream"})
        if wrong:
            raise ModelError(f"unknown setting {', '.join(wrong)}: a call takes {', '.join(sorted(_SAMPLING))}")
        own = Sampling(**{name: getattr(self, name) for name in _SAMPLING})
        return replace(own, **{name: value for name, value in given.items() if name in _SAMPLING})

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        sampling = self._sampling(kwargs)
        ids = encode(self.tokenizer, messages, template=self.template)
        run = self._engine.start(ids, sampling, adapter=self._adapter, window=self._window, keep=self.kv_cache_mb << 20)
        filtered = StopFilter([*(stop or []), *([] if self.template else ["\n"])])
        untold, reason = _Untold(run), "length"
        text = Detokenizer(self._decode, ids)
        with closing(self._engine.tokens(run)) as tokens:
            for token in tokens:
                if token in self._ends:
                    reason = "eos"
                    break
                piece = filtered.feed(text.feed(token))
                if piece:
                    # Told as it goes: a caller that has heard enough closes the stream and still knows what it took.
                    yield chunk(piece, untold.take())
                if filtered.hit is not None:
                    reason = "stop"
                    break
        rest = filtered.feed(text.finish()) + filtered.finish()
        reason = "stop" if filtered.hit is not None else reason
        yield last_chunk(rest, reason, self.model, untold.take())

    def _decode(self, ids: list[int]) -> str:
        text = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(text)

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
        # Token by token, so that a cancelled task stops the work; the inherited one would let its thread run on.
        stream: AsyncIterator[ChatGenerationChunk] = self._astream(messages, stop, run_manager, **kwargs)
        return await agenerate_from_stream(stream)


class _Untold:
    """The tokens of a run that its caller has not been told of yet."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._asked = len(run.prompt)
        self._told = (0, 0, 0)

    def take(self) -> Tokens:
        now = (self._asked, self._run.generated, self._run.cached)
        asked, generated, cached = self._told
        self._told = now
        return now[0] - asked, now[1] - generated, now[2] - cached
