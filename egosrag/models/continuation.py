"""Continue an assistant prefix (prefill) with any model: the assistant's turn begins with ``Tim: "`` (report 7.2.3).

Models of this project continue a trailing ``AIMessage`` themselves. A plain LLM (``HuggingFacePipeline``) continues
any text, so it gets the rendered prompt. Any other chat model is asked in the prompt to begin with the prefix, and its
echo of the prefix is removed from the reply. Stop strings work with all of them, also where the model ignores them.

All that the models of this project write passes through here, so a repetition loop, in which a small model would go on
to its token limit, is ended here: with the finish reason "length".
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.llms import BaseLLM
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig

from egosrag.caller import check_cancelled
from egosrag.errors import ModelError
from egosrag.models.streaming import StopFilter
from egosrag.models.tokens import tokenizer_of
from egosrag.models.traits import unbound
from egosrag.prompts import load
from egosrag.prompts.encode import escape_special_tokens, fit_messages, render_text
from egosrag.text.language import language_of
from egosrag.text.repetition import LoopFilter
from egosrag.text.thoughts import ThoughtFilter

# An echo may have other colons and quotation marks than the prefix; they are compared in this form.
_NORMALIZED = str.maketrans("：“”„«»「」『』＂", ':""""""""""')


def supports_prefix(model: Any) -> bool:
    """Whether ``model`` continues a trailing AIMessage by itself."""
    return bool(getattr(unbound(model), "continues_prefix", False))


def continue_prefix(
    model: Any,
    messages: Sequence[BaseMessage],
    prefix: str,
    *,
    stop: Sequence[str] | None = None,
    config: RunnableConfig | None = None,
    **kwargs: Any,
) -> Generator[AIMessageChunk]:
    """Stream what ``model`` writes after ``prefix``.

    Args:
        model: one of our models, any ``BaseChatModel``, or a plain LLM such as ``HuggingFacePipeline``.
        messages: the prompt, without the prefix.
        prefix: the beginning of the assistant's turn; empty for none.
        stop: strings that end the reply; left out of it, and never partly streamed.
        config: LangChain's, for tracing and callbacks.
        **kwargs: arguments of this call, by the model's own names.

    Yields:
        Chunks; the last has ``finish_reason``, and usage where the model reports it. Of a loop the first
        rounds are yielded, and the finish reason is "length".

    Raises:
        ModelError: ``model`` is none of these, or it cannot be reached.
        WindowError: the prompt is too long for the model.
        Cancelled: the caller left, or its time is over (:mod:`egosrag.caller`).
    """
    check_cancelled()
    loops = LoopFilter()
    with closing(_continued(model, messages, prefix, stop, config, kwargs)) as stream:
        for chunk in stream:
            check_cancelled()
            text = loops.feed(str(chunk.text))
            if loops.closed:
                yield AIMessageChunk(
                    content=text,
                    usage_metadata=chunk.usage_metadata,
                    response_metadata={"finish_reason": "length"},
                    chunk_position="last",
                )
                return
            yield chunk


def complete(
    model: Any, messages: Sequence[BaseMessage], *, config: RunnableConfig | None = None, **kwargs: Any
) -> AIMessageChunk:
    """The whole reply of ``model`` to ``messages``; arguments and errors as ``continue_prefix``."""
    whole = AIMessageChunk(content="")
    for chunk in continue_prefix(model, messages, "", config=config, **kwargs):
        whole += chunk
    return whole


def _continued(
    model: Any,
    messages: Sequence[BaseMessage],
    prefix: str,
    stop: Sequence[str] | None,
    config: RunnableConfig | None,
    kwargs: dict[str, Any],
) -> Generator[AIMessageChunk]:
    stops = list(stop or ())
    inner = unbound(model)
    if supports_prefix(model):
        prompt = [*messages, AIMessage(prefix)] if prefix else list(messages)
        yield from model.stream(prompt, config=config, stop=stops or None, **kwargs)
    elif isinstance(inner, BaseLLM):
        # Stops are applied to the text here: HuggingFacePipeline compares a stop with single token ids.
        text = _completion_prompt(model, messages, prefix)
        chunks = (AIMessageChunk(content=part) for part in model.stream(text, config=config, **kwargs))
        yield from _filtered(chunks, EchoFilter("", stops))
    elif isinstance(inner, BaseChatModel):
        prompt = _fitted(model, request_prefix(messages, prefix))
        chunks = model.stream(prompt, config=config, **_stop_argument(inner, prefix, stops), **kwargs)
        yield from _filtered(chunks, EchoFilter(prefix, stops))
    else:
        raise ModelError(f"{type(inner).__name__} is not a model: give a LangChain chat model or LLM")


def written_lines(
    model: Any, messages: Sequence[BaseMessage], *, config: RunnableConfig | None = None, repeats: int | None = 3
) -> list[str]:
    """The lines that ``model`` writes, without white space around them, empty ones and repetitions.

    The model is stopped at the ``repeats``-th line that it had written before: a small model that writes a list may go
    round in a circle up to its token limit.

    Raises:
        ModelError, WindowError: as ``continue_prefix``.
    """
    seen: dict[str, None] = {}
    line, repeated = "", 0
    with closing(continue_prefix(model, messages, "", config=config)) as chunks:
        for chunk in chunks:
            *complete, line = (line + str(chunk.text)).split("\n")
            for text in filter(None, map(str.strip, complete)):
                repeated += text in seen
                seen[text] = None
            if repeats and repeated >= repeats:
                return list(seen)
    if line.strip():
        seen[line.strip()] = None
    return list(seen)


class EchoFilter:
    """Removes thoughts and the echo of the prefix from a stream, and ends it at a stop string.

    For models that were asked to write the prefix themselves. The echo may differ in white space, and in the width of
    its colon and quotation marks; it may be the opening quotation mark alone.

    Args:
        prefix: the prefix; empty for none.
        stops: the stop strings.
    """

    def __init__(self, prefix: str, stops: Sequence[str] = ()) -> None:
        self._expected = "".join(prefix.split()).translate(_NORMALIZED)
        self._ends_in_space = prefix[-1:].isspace()
        self._head: str | None = "" if self._expected else None  # what may be an echo; None once that is decided
        self._filter = StopFilter(stops)
        self._thoughts = ThoughtFilter()

    @property
    def thinking(self) -> bool:
        """Whether the text so far ends inside thoughts."""
        return self._thoughts.thinking

    @property
    def closed(self) -> bool:
        """A stop string was met: no more text will come."""
        return self._filter.hit is not None

    def feed(self, text: str) -> str:
        """Take a part of the stream and give the text that is certain now."""
        return self._feed(self._thoughts.feed(text))

    def _feed(self, text: str) -> str:
        if self._head is None:
            return self._filter.feed(text)
        self._head += text
        body = self._without_echo(self._head, ended=False)
        if body is None:
            return ""
        self._head = None
        return self._filter.feed(body)

    def finish(self) -> str:
        """The remaining text, at the end of the stream."""
        rest = self._feed(self._thoughts.finish())
        head, self._head = self._head, None
        rest += self._filter.feed(self._without_echo(head, ended=True) or "") if head else ""
        return rest + self._filter.finish()

    def _without_echo(self, text: str, *, ended: bool) -> str | None:
        """``text`` without the echo; None while more text may still make it one."""
        matched = 0
        for at, char in enumerate(text):
            if char.isspace():
                continue
            if char.translate(_NORMALIZED) != self._expected[matched]:
                break
            matched += 1
            if matched == len(self._expected):
                body = text[at + 1 :]
                if self._ends_in_space and not (body := body.lstrip()) and not ended:
                    return None
                return body
        else:
            if not ended:
                return None
        start = text.lstrip()
        mark_alone = self._expected.endswith('"') and start[:1].translate(_NORMALIZED) == '"'
        return start[1:] if mark_alone else text


def request_prefix(messages: Sequence[BaseMessage], prefix: str) -> list[BaseMessage]:
    """``messages`` with the request to begin with ``prefix`` at the end of the last user message."""
    prompt = list(messages)
    if not prefix:
        return prompt
    text = load("prefix", language_of(prefix + "".join(str(m.text) for m in prompt[-1:]))).text(prefix=prefix)
    for i in range(len(prompt) - 1, -1, -1):
        if isinstance(prompt[i], HumanMessage):
            prompt[i] = HumanMessage(f"{prompt[i].text}\n\n{text}")
            return prompt
    return [*prompt, HumanMessage(text)]


def sendable_stops(prefix: str, stops: Sequence[str]) -> list[str]:
    """The stops that a model which echoes the prefix may be sent: the others would end it inside its echo."""
    return [stop for stop in stops if stop not in prefix]


def _stop_argument(model: BaseChatModel, prefix: str, stops: Sequence[str]) -> dict[str, Any]:
    # ChatHuggingFace passes a stop to HuggingFacePipeline, which compares it with single token ids.
    sent = [] if type(model).__module__.startswith("langchain_huggingface") else sendable_stops(prefix, stops)
    return {"stop": sent} if sent else {}


def _filtered(stream: Iterator[AIMessageChunk], echo_filter: EchoFilter) -> Iterator[AIMessageChunk]:
    """The stream with its texts replaced by what the filter lets through; closed at the stop string."""
    reason: str | None = None
    try:
        for chunk in stream:
            reason = chunk.response_metadata.get("finish_reason", reason)
            text = echo_filter.feed(str(chunk.text))
            if text or chunk.usage_metadata:
                # A new chunk: a model that does not stream gives its whole message, which is no chunk.
                yield AIMessageChunk(content=text, usage_metadata=chunk.usage_metadata, id=chunk.id)
            if echo_filter.closed:
                break
    finally:
        if isinstance(stream, Generator):
            stream.close()
    rest = echo_filter.finish()
    reason = "stop" if echo_filter.closed else "length" if reason == "length" else "eos"
    yield AIMessageChunk(content=rest, response_metadata={"finish_reason": reason}, chunk_position="last")


def _completion_prompt(model: Any, messages: Sequence[BaseMessage], prefix: str) -> str:
    tokenizer = tokenizer_of(model)
    prompt = [*messages, AIMessage(prefix)] if prefix else list(messages)
    if tokenizer is not None:
        return render_text(tokenizer, prompt)
    text = "\n".join(str(message.text) for message in prompt if message.text)
    return text if prefix else text + "\n"


def _fitted(model: Any, messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The messages as a local model's template accepts them, where the model's own class renders it as text.

    Special tokens in them are escaped.
    """
    tokenizer = tokenizer_of(model)
    if tokenizer is None:
        return list(messages)
    fitted = fit_messages(tokenizer, messages)
    return [type(m)(escape_special_tokens(tokenizer, str(m.text))) for m in fitted]
