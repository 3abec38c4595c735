"""Generate (report 7.2.3): the model goes on after ``Tim: "``, and the closing mark ends what it says.

No stop strings are asked for: a mark or a name ends the speech only where it stands right, which the decoder knows
and a stop string does not; when the decoder is sure, the model's stream is closed.

A speech that says the same over and over is broken off (small models lose the thread), with the reason "length".

What a model says that reads worse than its card tells (``revises_drafts``) is checked against the card before anything
of it is given out: see :mod:`egosrag.pocket.grounding`.

An empty speech: a model that samples is asked once more with the next seed; one that does not sample would say
the same again. What is still empty is given back as it is, with the reason why it ended.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

from langchain_core.callbacks import CallbackManagerForChainRun
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import run_in_executor

from egosrag.egos.step import Composed, Count, Step, Talk
from egosrag.models.continuation import continue_prefix
from egosrag.models.traits import traits_of
from egosrag.pocket.grounding import grounded
from egosrag.schema import Reply, StopReason, Timing, Usage
from egosrag.text.quotes import QuoteDecoder
from egosrag.text.retention import runaway


class Generate(Step[Composed, Reply]):
    """Says the role's next line.

    Args:
        model: any chat model; those that cannot continue a prefix are asked to in words.
        count: tokens of a list of messages, for the usage of replies whose model does not tell it.
    """

    def __init__(self, model: Any, count: Count) -> None:
        self.name = "Generate"
        self.model = model
        self.count = count
        self._quotes = traits_of(model).revises_drafts

    def run(self, value: Composed, config: RunnableConfig | None = None) -> Reply:
        """The reply, whole."""
        *_, reply = self.pieces(value, config)
        assert isinstance(reply, Reply)
        return reply

    def stream(  # type: ignore[override]  # pieces of text come before the output
        self,
        input: Composed,
        config: RunnableConfig | None = None,
        **kwargs: Any,  # noqa: A002
    ) -> Iterator[str | Reply]:
        """Text as it becomes certain, then the reply."""

        def traced(
            values: Iterator[Composed], run_manager: CallbackManagerForChainRun, config: RunnableConfig
        ) -> Iterator[str | Reply]:
            for value in values:
                yield from self.pieces(value, config)

        yield from self._transform_stream_with_config(iter([input]), traced, config)  # type: ignore[arg-type]

    async def astream(  # type: ignore[override]  # as ``stream``
        self,
        input: Composed,
        config: RunnableConfig | None = None,
        **kwargs: Any,  # noqa: A002
    ) -> AsyncIterator[str | Reply]:
        """As ``stream``, piece by piece, in a thread of its own: the event loop is not held up."""
        pieces = self.stream(input, config, **kwargs)
        while (piece := await run_in_executor(config, next, pieces, None)) is not None:
            yield piece

    def pieces(
        self, composed: Composed, config: RunnableConfig | None = None, **sampling: Any
    ) -> Generator[str | Reply]:
        """Text as it becomes certain, then the reply. Closing the iterator stops the model.

        Args:
            composed: the prompt.
            config: callbacks, tags and metadata.
            **sampling: settings of the model for this reply alone, such as ``temperature`` and ``seed``.
        """
        started = time.perf_counter()
        speech = _Speech(composed)
        talk = composed.talk
        checked = self._quotes and talk and talk.turns and talk.turns[-1].speaker != composed.speaker
        for text in self._said(speech, composed, config, started, **sampling):
            if not checked:
                yield text
        temperature = sampling.get("temperature", getattr(self.model, "temperature", None))
        if not speech.text and temperature:
            again = _Speech(composed)
            again.usage = speech.usage
            speech = again
            seed = sampling.get("seed", getattr(self.model, "seed", None)) or 0
            for text in self._said(speech, composed, config, started, **{**sampling, "seed": seed + 1}):
                if not checked:
                    yield text
        if checked and talk:
            speech.ground(talk)
            speech.first_s = time.perf_counter() - started
            yield speech.text
        timing = Timing(first_token_s=speech.first_s, total_s=time.perf_counter() - started)
        told = {"reply": speech.last.completion_tokens, "cached": speech.last.cached_tokens}
        yield Reply(
            speaker=composed.speaker,
            text=speech.text,
            stop_reason=speech.reason,
            usage=speech.usage,
            timing=timing,
            ledger=composed.ledger.model_copy(update=told),
            evidence=composed.evidence,
        )

    def _said(
        self, speech: _Speech, composed: Composed, config: RunnableConfig | None, started: float, **kwargs: Any
    ) -> Iterator[str]:
        usage = Usage()
        stream = continue_prefix(self.model, list(composed.messages), composed.prefix, config=config, **kwargs)
        try:
            for chunk in stream:
                usage = usage + _usage(chunk)
                text = speech.feed(chunk)
                if text:
                    speech.first_s = speech.first_s or time.perf_counter() - started
                    yield text
                if speech.decoder.closed:
                    break
                if runaway(speech.text):
                    speech.finish_reason = "length"
                    break
        finally:
            close = getattr(stream, "close", None)
            if close:
                close()  # the model stops writing what nobody will read
        text = speech.finish()
        if text:
            speech.first_s = speech.first_s or time.perf_counter() - started
            yield text
        if not usage.prompt_tokens:  # a stream that was closed early often never told
            prompt = self.count([*composed.messages, AIMessage(composed.prefix)])
            usage = usage + Usage(prompt_tokens=prompt)
        if not usage.completion_tokens and speech.raw:
            without = self.count([AIMessage("")])
            usage = usage + Usage(completion_tokens=self.count([AIMessage(speech.raw)]) - without)
        speech.last = usage
        speech.usage = speech.usage + usage


class _Speech:
    """One reply in the making."""

    def __init__(self, composed: Composed) -> None:
        self.decoder = QuoteDecoder(composed.prefix, composed.speakers)
        self.text = ""
        self.raw = ""
        self.finish_reason = ""
        self.first_s: float | None = None
        self.usage = Usage()  # of all calls
        self.last = Usage()  # of the call that said this
        self.replaced = False

    def feed(self, chunk: AIMessageChunk) -> str:
        self.finish_reason = str(chunk.response_metadata.get("finish_reason") or self.finish_reason)
        self.raw += str(chunk.text)
        new = self.decoder.feed(str(chunk.text))
        self.text += new
        return new

    def finish(self) -> str:
        new = self.decoder.finish()
        self.text += new
        return new

    def ground(self, talk: Talk) -> None:
        """Says what the card tells where it tells it better: a whole sentence, so the speech has its end."""
        ended = self.reason == "quote" or not (self.decoder.outer or self.reason == "length")
        text = grounded(self.text if ended else "", talk)
        self.replaced = text != self.text
        self.text = text

    @property
    def reason(self) -> StopReason:
        if self.replaced:
            return "quote"
        said = self.decoder.stop_reason
        if said in ("quote", "speaker"):
            return "quote" if said == "quote" else "speaker"
        return "length" if self.finish_reason == "length" else "eos"


def _usage(chunk: AIMessageChunk) -> Usage:
    told = chunk.usage_metadata
    if not told:
        return Usage()
    cached = (told.get("input_token_details") or {}).get("cache_read") or 0
    return Usage(prompt_tokens=told["input_tokens"], completion_tokens=told["output_tokens"], cached_tokens=cached)
