"""Generate (report 7.2.3): the model continues ``Tim: "``, and the closing quotation mark ends the speech.

No stop strings are sent: a quotation mark or a name ends the speech only in the right place, which the quote decoder
knows and a stop string does not. When the decoder is sure, the model's stream is closed.

A speech that only repeats the line it answers, or an earlier reply of the role to another line, is sampled once more
with the next seed. So are an empty one of a model that samples, and a question in return to a question of fact. The
second speech is taken as it is. The stream is held back only while it may still become such a repetition.

An answer to a question of fact that the model did not read from the prompt (``grounding``) is replaced: the role says
that it does not know, in the model's own words. So is the answer to "Are you an AI?" that says yes (``character``): the
role says who it is. Such answers are held back until that is decided.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForChainRun
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import run_in_executor

from egosrag.egos import character, grounding
from egosrag.egos.repeats import repeatable_texts
from egosrag.egos.reviser import Reviser
from egosrag.egos.step import Count, Step
from egosrag.egos.view import Composed
from egosrag.models.continuation import continue_prefix
from egosrag.models.sampling import TalkSampling, call_temperature, talk_sampling
from egosrag.models.streaming import StopFilter
from egosrag.models.traits import unbound
from egosrag.models.usage import usage_of
from egosrag.presets import Unknown
from egosrag.prompts import load
from egosrag.schema import Reply, StopReason, Timing, Usage
from egosrag.text.quotes import QuoteDecoder
from egosrag.text.repetition import RepetitionFilter

# Where a reply ends that says that something is unknown: "..., but I think" goes on to an invention.
_UNKNOWN_END = re.compile(r"[.!?。！？…]+|[,，;；]\s*(?:but|though|because|and|不过|但|可|只|因为)", re.IGNORECASE)
RESAMPLING_TEMPERATURE = 0.7  # of a greedy model's second attempt, where its publisher recommends nothing


class Generate(Step[Composed, Reply]):
    """Generates the role's next line.

    Args:
        model: any chat model; one that cannot continue a prefix is instructed in words to begin with it.
        count: number of tokens of messages, for replies whose model reports no usage.
        reviser: revises every draft that answers another speaker; absent: the model's text is streamed as it is.
        sampling: passed to each call; by default what the model's publisher recommends, see ``talk_sampling``.
        unknown: "decline": an invented answer to a question of fact is replaced, where the model states likelihoods;
            "invent": it stays.
    """

    def __init__(
        self,
        model: Any,
        count: Count,
        reviser: Reviser | None = None,
        sampling: TalkSampling | None = None,
        unknown: Unknown = "decline",
    ) -> None:
        self.name = "Generate"
        self.model = model
        self.count = count
        self.reviser = reviser
        self.sampling = talk_sampling(model) if sampling is None else sampling
        self.judges_answers = unknown == "decline" and reviser is None and grounding.can_judge(model)

    @property
    def is_greedy(self) -> bool:
        """Whether another call would give the same reply."""
        return call_temperature(self.model, self.sampling) == 0

    def run(self, value: Composed, config: RunnableConfig | None = None) -> Reply:
        """The whole reply."""
        *_, reply = self.pieces(value, config)
        assert isinstance(reply, Reply)
        return reply

    def stream(  # type: ignore[override]  # pieces of text come before the output
        self,
        input: Composed,
        config: RunnableConfig | None = None,
        **kwargs: Any,  # noqa: A002
    ) -> Iterator[str | Reply]:
        """Yields text as soon as it is certain, then the reply."""

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
        """As ``stream``, in a separate thread, so that the event loop is not blocked."""
        pieces = self.stream(input, config, **kwargs)
        while (piece := await run_in_executor(config, next, pieces, None)) is not None:
            yield piece

    def pieces(
        self, composed: Composed, config: RunnableConfig | None = None, **sampling: Any
    ) -> Generator[str | Reply]:
        """Yields text as soon as it is certain, then the reply. Closing the iterator stops the model.

        Args:
            composed: the prompt.
            config: callbacks, tags and metadata.
            **sampling: settings of the model for this reply alone, such as ``temperature`` and ``seed``.
        """
        sampling = {**self.sampling, **sampling}
        turns = composed.view.turns
        answers = composed.speaker == composed.view.role.name and not composed.said
        reviser = self.reviser if answers and turns and turns[-1].speaker != composed.speaker else None
        judged = answers and self.judges_answers and grounding.is_question_of_fact(composed)
        asked_who = answers and self.reviser is None and character.is_asked_whether_machine(composed)
        streams = reviser is None and not judged and not asked_who
        filtered = reviser is None and not composed.said
        stops, limit = sampling.get("stop") or (), sampling.get("max_new_tokens")
        if reviser is not None:  # a draft is revised whole: the limits are of the text that is said
            sampling = {name: value for name, value in sampling.items() if name not in ("stop", "max_new_tokens")}
        draft = _Draft(composed, repeatable_texts(composed.view, composed.speaker) if filtered else ())
        for text in self._attempt(draft, config, sampling):
            if streams:
                yield text
        evades = judged and grounding.states_nothing(draft.text)
        if (again := self._sampled_again(draft, sampling, evades)) is not None:
            draft = _Draft(composed, before=draft)
            for text in self._attempt(draft, config, again):
                if streams:
                    yield text
        language = composed.view.language
        if asked_who and character.says_it_is_machine(draft.text, turns[-1].text):
            opening = load("identity", language).text(name=composed.view.role.name)
            draft = self._begun_with(opening, draft, config, sampling)
            if character.names_machine(draft.text):
                draft.text = opening + ("。" if language == "zh" else ".")
        elif judged and grounding.is_invented(self.model, composed, draft.text):
            draft = self._begun_with(load("unknown", language).text(), draft, config, sampling)
        elif not streams:
            draft.revise(reviser)
        if not streams:
            draft.limit(stops, limit, self.count)
            yield draft.text
        yield draft.reply()

    def _begun_with(
        self, opening: str, before: _Draft, config: RunnableConfig | None, sampling: dict[str, Any]
    ) -> _Draft:
        """A draft in place of ``before`` that begins with ``opening``, to the end of that sentence."""
        draft = _Draft(before.composed, before=before, opening=opening)
        for _ in self._attempt(draft, config, sampling):
            pass
        draft.shorten()
        return draft

    def _sampled_again(self, draft: _Draft, sampling: dict[str, Any], evades: bool) -> dict[str, Any] | None:
        """The sampling of a second attempt; None where the first one is taken: it answers and repeats nothing."""
        temperature = call_temperature(self.model, sampling)
        samples = bool(temperature) or sampling.get("temperature", 0) is None  # None: as the server does by default
        if not draft.is_repetition and not evades and (draft.text or not samples):
            return None
        model = unbound(self.model)
        again = dict(sampling)
        if hasattr(model, "seed"):
            again["seed"] = (sampling.get("seed", model.seed) or 0) + 1
        if temperature == 0:
            again |= {"temperature": RESAMPLING_TEMPERATURE, **getattr(model, "talk_sampling", {})}
        return again

    def _attempt(self, draft: _Draft, config: RunnableConfig | None, sampling: dict[str, Any]) -> Iterator[str]:
        """Streams one call of the model into ``draft``."""
        composed = draft.composed
        usage = Usage()
        prefix = composed.prefix + composed.continued(draft.opening or composed.said)
        stream = continue_prefix(self.model, list(composed.messages), prefix, config=config, **sampling)
        try:
            for chunk in stream:
                usage = usage + usage_of(chunk)
                if text := draft.feed(chunk):
                    yield text
                if draft.ended:
                    break
        finally:
            close = getattr(stream, "close", None)
            if close:
                close()  # the model stops generating what nobody will read
        if text := draft.finish():
            yield text
        draft.add_usage(self._completed(usage, draft))

    def _completed(self, usage: Usage, draft: _Draft) -> Usage:
        """The usage, counted where the model reported none: a stream that was closed early often does not."""
        if not usage.prompt_tokens:
            composed = draft.composed
            prompt = composed.tokens
            if composed.said or not composed.parts:
                prefix = composed.prefix + composed.continued(composed.said)
                prompt = self.count([*composed.messages, AIMessage(prefix)])
            usage = usage + Usage(prompt_tokens=prompt)
        if not usage.completion_tokens and draft.raw:
            empty = self.count([AIMessage("")])
            usage = usage + Usage(completion_tokens=self.count([AIMessage(draft.raw)]) - empty)
        return usage


class _Draft:
    """The state of one reply while it is generated.

    The text is held back while it may only repeat one of ``texts``. A reply with an ``opening`` goes on from there, to
    the end of that sentence at most.
    """

    def __init__(
        self,
        composed: Composed,
        texts: Sequence[str] = (),
        *,
        before: _Draft | None = None,
        opening: str = "",
    ) -> None:
        self.composed = composed
        self.opening = opening
        self.shortened = False
        self.cut_off = False
        self.repetition = RepetitionFilter(texts)
        self.started: float = before.started if before else time.perf_counter()
        self.usage: Usage = before.usage if before else Usage()  # of all calls
        # Of the first call: a second one finds the same prompt cached.
        self.cached: int | None = before.cached if before else None
        self.last_usage = Usage()  # of the call that this text is from
        self.decoder = QuoteDecoder(composed.prefix, composed.speakers)
        self.text = ""
        self.raw = ""
        self.finish_reason = ""
        self.first_token_s: float | None = None
        self.revised = False
        self._before = opening or composed.said
        self._unsent = len(composed.said)  # characters of the text that were said before

    def feed(self, chunk: AIMessageChunk) -> str:
        """Takes a chunk of the stream; returns the text that became certain."""
        self.finish_reason = str(chunk.response_metadata.get("finish_reason") or self.finish_reason)
        self.raw += str(chunk.text)
        before, self._before = self._before, ""
        text = self.decoder.feed(before + str(chunk.text))
        self.text += text
        return self._released(self.repetition.feed(text))

    def finish(self) -> str:
        """Ends the stream; returns the text that was held back, and nothing of a repetition."""
        text = self.decoder.finish()
        self.text += text
        return self._released(self.repetition.feed(text) + self.repetition.finish())

    @property
    def ended(self) -> bool:
        """Whether the model may stop."""
        return self.decoder.closed or bool(self.opening and _UNKNOWN_END.search(self.text))

    def shorten(self) -> None:
        """Ends a reply that says that something is unknown where it would go on to an invention."""
        if end := _UNKNOWN_END.search(self.text):
            mark = end.group()
            stop = mark if mark[0] not in ",，;；" else ("。" if mark[0] in "，；" else ".")
            self.text = self.text[: end.start()] + stop
            self.shortened = True
        elif self.text[-1:] in (",", "，", ";", "；"):  # 'I don't know," he said.'
            self.text = self.text[:-1] + ("." if self.text[-1] in ",;" else "。")

    def limit(self, stops: Sequence[str], tokens: int | None, count: Count) -> None:
        """Applies the limits of a call to a text that is not as the model wrote it."""
        stop_filter = StopFilter(stops)
        self.text = stop_filter.feed(self.text) + stop_filter.finish()
        while tokens and self.text and (used := count(self.text)) > tokens:
            self.cut_off = True
            self.text = self.text[: min(len(self.text) * tokens // used, len(self.text) - 1)]

    def _released(self, text: str) -> str:
        text, self._unsent = text[self._unsent :], max(0, self._unsent - len(text))
        if text and self.first_token_s is None:
            self.first_token_s = time.perf_counter() - self.started
        return text

    @property
    def is_repetition(self) -> bool:
        """Whether the whole text only repeats one of the texts."""
        return self.repetition.is_repetition

    def add_usage(self, usage: Usage) -> None:
        """Adds the tokens of one call."""
        self.last_usage = usage
        self.usage = self.usage + usage
        self.cached = usage.cached_tokens if self.cached is None else self.cached

    def revise(self, reviser: Reviser | None) -> None:
        """Replaces the text by the revised one; a draft that was cut off is passed to the reviser as empty."""
        self.first_token_s = time.perf_counter() - self.started
        if reviser is None:
            return
        complete = self.stop_reason == "quote" or not (self.decoder.outer or self.stop_reason == "length")
        text = reviser.speech(self.text if complete else "", self.composed.view)
        self.revised = text != self.text
        self.text = text

    @property
    def stop_reason(self) -> StopReason:
        if self.cut_off:
            return "length"
        if self.revised or self.shortened:
            return "quote"
        reason = self.decoder.stop_reason
        if reason in ("quote", "speaker"):
            return "quote" if reason == "quote" else "speaker"
        return "length" if self.finish_reason == "length" else "eos"

    def reply(self) -> Reply:
        """The finished reply."""
        spent = {"reply": self.last_usage.completion_tokens, "cached": self.cached or 0}
        return Reply(
            speaker=self.composed.speaker,
            text=self.text,
            stop_reason=self.stop_reason,
            usage=self.usage,
            timing=Timing(first_token_s=self.first_token_s, total_s=time.perf_counter() - self.started),
            ledger=self.composed.ledger.model_copy(update=spent),
            evidence=self.composed.view.source_hits,
            lore=tuple(entry.label for entry in self.composed.view.lore),
        )
