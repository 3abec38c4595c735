"""Generate: streams the speech alone, reports why it ended, and stops the model at its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from egosrag.egos.generate import Generate
from egosrag.egos.view import Composed, ConversationView
from egosrag.models.scripted import ScriptedChatModel
from egosrag.schema import Reply, Turn
from tests.roles.cards import TIM


def composed(prefix: str = 'Tim: "') -> Composed:
    view = ConversationView(TIM, (Turn(speaker="Me", text="Who are you?"),))
    return Composed((HumanMessage('Me: "Who are you?"'),), prefix, "Tim", ("Me", "Tim"), view)


def generate(*responses: str, **settings: Any) -> Generate:
    model = ScriptedChatModel(responses=list(responses), **settings)
    return Generate(model, model.count_tokens)


@pytest.mark.parametrize(
    ("prefix", "raw", "text", "reason"),
    [
        ('Tim: "', 'I am Tim." He smiled.', "I am Tim.", "quote"),
        ('Tim: "', 'I am Tim.\nMe: "And I?"', "I am Tim.", "speaker"),
        ('Tim: "', "I am Tim", "I am Tim", "eos"),
        ("Tim: ", "I am Tim.\nMe: And I?", "I am Tim.", "speaker"),
        ("Tim: ", 'I am "Tim".', 'I am "Tim".', "eos"),
        ("悟空：“", "俺老孙是悟空。”他笑道。", "俺老孙是悟空。", "quote"),
        ("悟空：“", "俺老孙是悟空。\n我：“你好", "俺老孙是悟空。", "speaker"),
    ],
)
def test_a_reply_has_the_speech_alone_and_the_reason_why_it_ended(
    prefix: str, raw: str, text: str, reason: str
) -> None:
    reply = generate(raw).invoke(composed(prefix))
    assert (reply.speaker, reply.text, reply.stop_reason) == ("Tim", text, reason)
    assert reply.usage.prompt_tokens > 5
    assert reply.usage.completion_tokens > 2
    assert reply.timing.first_token_s is not None
    assert reply.timing.first_token_s <= reply.timing.total_s


def test_a_reply_that_spends_its_tokens_has_the_stop_reason_length() -> None:
    assert generate("one two three four five", max_new_tokens=3).invoke(composed()).stop_reason == "length"


@pytest.mark.parametrize("unit", ["着", "是我", "1", "and on ", "la la, "])
def test_a_repetition_loop_is_aborted_and_a_long_laugh_is_not(unit: str) -> None:
    reply = generate("I am Tim, " + unit * 400).invoke(composed())
    assert 60 < len(reply.text) < 120 and reply.stop_reason == "length"
    laugh = "Ha! " + "ha" * 20 + ", that was good. " + "." * 80 + " Well"
    assert generate(laugh + '"').invoke(composed()).text == laugh


def test_a_stream_yields_the_text_in_chunks_and_the_reply_last() -> None:
    *pieces, reply = generate('I am "Tim", you know." She left.').stream(composed())
    assert isinstance(reply, Reply)
    assert "".join(str(piece) for piece in pieces) == reply.text == 'I am "Tim", you know.'
    assert len(pieces) > 3


def test_a_batch_returns_the_replies_in_order() -> None:
    replies = generate('One."', 'Two."').batch([composed(), composed()], config={"max_concurrency": 1})
    assert [reply.text for reply in replies] == ["One.", "Two."]


class Endless(BaseChatModel):
    """A model that never stops by itself; when it samples, its first reply is empty."""

    temperature: float = 0.0
    seed: int | None = None
    generated: list[str] = []
    seeds: list[Any] = []
    closed: list[bool] = []

    @property
    def _llm_type(self) -> str:
        return "endless"

    @property
    def continues_prefix(self) -> bool:
        return True

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        self.seeds.append(kwargs.get("seed"))
        first = ['"\n'] if kwargs.get("seed") is None and self.temperature else []
        try:
            for piece in [*first, "Hello", '." ', *["and so on "] * 10_000]:
                self.generated.append(piece)
                yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
        finally:
            self.closed.append(True)

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessageChunk(content=""))])


def test_the_model_is_stopped_when_the_speech_is_over() -> None:
    model = Endless(generated=[], closed=[], seeds=[])
    reply = Generate(model, lambda messages: 7).invoke(composed())
    assert reply.text == "Hello."
    assert len(model.generated) == 2
    assert model.closed == [True]
    assert reply.usage.prompt_tokens == 7, (
        "the model reports no usage when its stream is closed early, so it is counted"
    )


def test_an_empty_reply_of_a_sampling_model_is_sampled_again_with_another_seed() -> None:
    model = Endless(generated=[], closed=[], seeds=[], temperature=0.8)
    assert Generate(model, lambda messages: 7).invoke(composed()).text == "Hello."
    assert model.seeds == [None, 1]


def test_an_empty_reply_of_a_greedy_model_is_returned_as_it_is() -> None:
    reply = generate('"').invoke(composed())
    assert (reply.text, reply.stop_reason) == ("", "quote")
