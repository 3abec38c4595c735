"""Continue a prefix with any model (report 7.2.3: the assistant's turn is begun for it, ``Tim: "``).

Models of this project continue a trailing ``AIMessage`` themselves. A plain LLM (``HuggingFacePipeline``) continues
any text, so it gets the rendered prompt. Any other chat model is asked for the prefix in the prompt, and its echo of
the prefix is taken off the reply. Stop strings work with all of them, also where the model ignores them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.llms import BaseLLM
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableBinding, RunnableConfig

from egosrag.errors import ModelError
from egosrag.models.stops import StopFilter
from egosrag.prompts import load
from egosrag.prompts.encode import defuse, render_text
from egosrag.text.language import language_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Marks and colons in which an echo may differ from the prefix that was asked for.
_SAME = str.maketrans("：“”„«»「」『』＂", ':""""""""""')


def supports_prefix(model: Any) -> bool:
    """Whether ``model`` continues a trailing AIMessage by itself; bound settings do not matter."""
    return bool(getattr(unbound(model), "continues_prefix", False))


def unbound(model: Any) -> Any:
    """The model itself, under whatever ``bind`` and ``with_config`` put around it."""
    while isinstance(model, RunnableBinding):
        model = model.bound
    return model


def tokenizer_of(model: Any) -> PreTrainedTokenizerBase | None:
    """The Hugging Face tokenizer of a local model, ours or langchain-huggingface's; None where there is none."""
    inner = unbound(model)
    for owner in (inner, getattr(inner, "pipeline", None), getattr(getattr(inner, "llm", None), "pipeline", None)):
        tokenizer = getattr(owner, "tokenizer", None)
        if hasattr(tokenizer, "apply_chat_template"):
            return cast("PreTrainedTokenizerBase", tokenizer)
    return None


def continue_prefix(
    model: Any,
    messages: Sequence[BaseMessage],
    prefix: str,
    *,
    stop: Sequence[str] | None = None,
    config: RunnableConfig | None = None,
    **kwargs: Any,
) -> Iterator[AIMessageChunk]:
    """Stream what ``model`` writes after ``prefix``.

    Args:
        model: one of our models, any ``BaseChatModel``, or a plain LLM such as ``HuggingFacePipeline``.
        messages: the prompt, without the prefix.
        prefix: the beginning of the assistant's turn; empty for none.
        stop: strings that end the reply; left out of it, and never partly shown.
        config: LangChain's, for tracing and callbacks.
        **kwargs: settings for this call, as the model knows them.

    Yields:
        Chunks; the last carries ``finish_reason``, and usage where the model tells it.

    Raises:
        ModelError: ``model`` is none of these, or it cannot be reached.
        WindowError: the prompt is too long for the model.
    """
    stops = list(stop or ())
    inner = unbound(model)
    if supports_prefix(model):
        given = [*messages, AIMessage(prefix)] if prefix else list(messages)
        yield from model.stream(given, config=config, stop=stops or None, **kwargs)
    elif isinstance(inner, BaseLLM):
        # No stop: HuggingFacePipeline compares it with single token ids. Ours is applied to the text.
        text = _completion_prompt(model, messages, prefix)
        pieces = (AIMessageChunk(content=piece) for piece in model.stream(text, config=config, **kwargs))
        yield from _cut(pieces, Continuation("", stops))
    elif isinstance(inner, BaseChatModel):
        given = ask(_defused(model, messages), prefix)
        yield from _cut(
            model.stream(given, config=config, **_stop_argument(inner, prefix, stops), **kwargs),
            Continuation(prefix, stops),
        )
    else:
        raise ModelError(f"{type(inner).__name__} is not a model: give a LangChain chat model or LLM")


class Continuation:
    """What comes after the prefix, out of the stream of a model that was asked to write the prefix itself.

    The echo may differ in white space, and in the width of its colon and marks; it may be the opening mark alone.
    """

    def __init__(self, prefix: str, stops: Sequence[str] = ()) -> None:
        self._wanted = "".join(prefix.split()).translate(_SAME)
        self._blank = prefix[-1:].isspace()
        self._head: str | None = "" if self._wanted else None
        self._filter = StopFilter(stops)

    @property
    def closed(self) -> bool:
        """A stop string was met: nothing more will come."""
        return self._filter.hit is not None

    def feed(self, text: str) -> str:
        """Take a piece of the stream and give the text that is certain."""
        if self._head is None:
            return self._filter.feed(text)
        self._head += text
        body = self._without_echo(self._head, ended=False)
        if body is None:
            return ""
        self._head = None
        return self._filter.feed(body)

    def finish(self) -> str:
        """The rest, at the end of the stream."""
        head, self._head = self._head, None
        rest = self._filter.feed(self._without_echo(head, ended=True) or "") if head else ""
        return rest + self._filter.finish()

    def _without_echo(self, text: str, *, ended: bool) -> str | None:
        """``text`` without the echo; None while it may still become one."""
        matched = 0
        for at, char in enumerate(text):
            if char.isspace():
                continue
            if char.translate(_SAME) != self._wanted[matched]:
                break
            matched += 1
            if matched == len(self._wanted):
                body = text[at + 1 :]
                if self._blank and not (body := body.lstrip()) and not ended:
                    return None
                return body
        else:
            if not ended:
                return None
        start = text.lstrip()
        only_mark = self._wanted.endswith('"') and start[:1].translate(_SAME) == '"'
        return start[1:] if only_mark else text


def ask(messages: Sequence[BaseMessage], prefix: str) -> list[BaseMessage]:
    """``messages`` with the request to begin with ``prefix`` at the end of the last user message."""
    asked = list(messages)
    if not prefix:
        return asked
    text = load("prefix", language_of(prefix + "".join(str(m.text) for m in asked[-1:]))).text(prefix=prefix)
    for i in range(len(asked) - 1, -1, -1):
        if isinstance(asked[i], HumanMessage):
            asked[i] = HumanMessage(f"{asked[i].text}\n\n{text}")
            return asked
    return [*asked, HumanMessage(text)]


def sendable_stops(prefix: str, stops: Sequence[str]) -> list[str]:
    """The stops that an asked model may be given: the others would end it inside its echo of the prefix."""
    return [stop for stop in stops if stop not in prefix]


def _stop_argument(model: BaseChatModel, prefix: str, stops: Sequence[str]) -> dict[str, Any]:
    # ChatHuggingFace hands a stop to HuggingFacePipeline, which compares it with single token ids.
    sent = [] if type(model).__module__.startswith("langchain_huggingface") else sendable_stops(prefix, stops)
    return {"stop": sent} if sent else {}


def _cut(stream: Iterator[AIMessageChunk], continuation: Continuation) -> Iterator[AIMessageChunk]:
    """The stream with its texts replaced by what ``continuation`` lets through; left at the stop."""
    reason: str | None = None
    try:
        for chunk in stream:
            reason = chunk.response_metadata.get("finish_reason", reason)
            text = continuation.feed(str(chunk.text))
            if text or chunk.usage_metadata:
                # A model that does not stream gives its whole message, which is no chunk.
                yield AIMessageChunk(content=text, usage_metadata=chunk.usage_metadata, id=chunk.id)
            if continuation.closed:
                break
    finally:
        if isinstance(stream, Generator):
            stream.close()
    rest = continuation.finish()
    reason = "stop" if continuation.closed else "length" if reason == "length" else "eos"
    yield AIMessageChunk(content=rest, response_metadata={"finish_reason": reason}, chunk_position="last")


def _completion_prompt(model: Any, messages: Sequence[BaseMessage], prefix: str) -> str:
    tokenizer = tokenizer_of(model)
    given = [*messages, AIMessage(prefix)] if prefix else list(messages)
    if tokenizer is not None:
        return render_text(tokenizer, given)
    text = "\n".join(str(message.text) for message in given if message.text)
    return text if prefix else text + "\n"


def _defused(model: Any, messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Where the model's own class will render the template as text, special-token text in contents is broken."""
    tokenizer = tokenizer_of(model)
    if tokenizer is None:
        return list(messages)
    plain = (HumanMessage, AIMessage, SystemMessage)
    return [type(m)(defuse(tokenizer, str(m.text))) if isinstance(m, plain) else m for m in messages]
