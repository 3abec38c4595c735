"""Each step is a LangChain Runnable: composed with |, run in batches and asynchronously, retried and traced."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers import BaseTracer
from langchain_core.tracers.schemas import Run

from egosrag.egos.extract.dynamic import Lookup
from egosrag.egos.extract.static import Extract
from egosrag.egos.generate import Generate
from egosrag.egos.memory import Recall
from egosrag.egos.organize import Organize
from egosrag.egos.pipeline import MemorySettings, RoleSources
from egosrag.egos.summarize import Summarize
from egosrag.egos.view import ConversationView
from egosrag.errors import ModelError
from egosrag.models.scripted import ScriptedChatModel
from egosrag.rag.retrieval.turn_memory import TurnMemory
from egosrag.schema import Evidence, Reply, Turn
from egosrag.sessions.conversation import Conversation
from tests.roles.cards import TIM

COUNT = ScriptedChatModel(responses=[]).count_tokens
VIEW = ConversationView(TIM, (Turn(speaker="Me", text="Who are you?"),))
SOURCES = [("a.txt", "Ann Lee is a sailor. She is very brave. She sails at night.")]


def generate(*responses: str) -> Generate:
    return Generate(ScriptedChatModel(responses=list(responses)), COUNT)


class Flaky(ScriptedChatModel):
    """Raises where its script says "fail"."""

    def _next(self, messages: list[BaseMessage], stop: list[str] | None) -> str:
        response = super()._next(messages, stop)
        if response == "fail":
            raise ModelError("the server is down")
        return response


class RunNames(BaseTracer):
    """Records (name of the parent run, name of the run), as LangSmith shows them."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, str]] = []

    def _start_trace(self, run: Run) -> None:
        parent = self.run_map.get(str(run.parent_run_id))
        self.seen.append((parent.name if parent else "", run.name))
        super()._start_trace(run)

    def _persist_run(self, run: Run) -> None:
        pass


def test_steps_are_composed_with_the_pipe_operator() -> None:
    chain = Organize(COUNT, 4096) | generate('I am Tim."') | (lambda reply: reply.text)
    assert chain.invoke(VIEW) == "I am Tim."
    card = Extract(ScriptedChatModel(responses=["Background: Ann Lee is a sailor."])) | (lambda role: role.name)
    assert card.invoke((SOURCES, "Ann Lee")) == "Ann Lee"
    long = ConversationView(TIM, tuple(Turn(speaker="Me", text="It rained and rained. " * 9) for _ in range(9)))
    organize = Organize(COUNT, 300)
    scenes = Summarize(ScriptedChatModel(responses=["It rained."] * 9), COUNT, 300, organize.fits)
    shorter = scenes | RunnableLambda(long.with_scenes) | organize
    assert "It rained." in str(shorter.invoke(long).messages[1].text)


def test_steps_composed_with_the_pipe_operator_stream() -> None:
    *pieces, reply = (Organize(COUNT, 4096) | generate('I am Tim, the baker."')).stream(VIEW)
    assert isinstance(reply, Reply)
    assert "".join(str(piece) for piece in pieces) == reply.text == "I am Tim, the baker."
    assert len(pieces) > 2


def test_steps_run_in_batches_and_asynchronously() -> None:
    organize = Organize(COUNT, 4096)
    assert [c.speaker for c in organize.batch([VIEW, VIEW])] == ["Tim", "Tim"]

    async def work() -> tuple[list[Any], list[Any], Any]:
        pieces = [piece async for piece in (organize | generate('I am Tim, the baker."')).astream(VIEW)]
        replies = await generate('One."', 'Two."').abatch([organize.invoke(VIEW)] * 2, config={"max_concurrency": 1})
        return pieces, replies, await organize.ainvoke(VIEW)

    (*pieces, reply), replies, composed = asyncio.run(work())
    assert "".join(pieces) == reply.text == "I am Tim, the baker."
    assert len(pieces) > 2
    assert [r.text for r in replies] == ["One.", "Two."]
    assert composed == organize.invoke(VIEW)


def test_a_step_that_failed_can_be_retried() -> None:
    model = Flaky(responses=["fail", 'I am Tim."'])
    step = Generate(model, COUNT).with_retry(stop_after_attempt=2, wait_exponential_jitter=False)
    assert step.invoke(Organize(COUNT, 4096).invoke(VIEW)).text == "I am Tim."
    with pytest.raises(ModelError):
        Generate(Flaky(responses=["fail"]), COUNT).invoke(Organize(COUNT, 4096).invoke(VIEW))


def test_each_step_alone_is_traced_as_a_run_with_its_name() -> None:
    tracer = RunNames()
    hit = Evidence(source="a.txt", start=0, end=20, quote=SOURCES[0][1][:20])
    steps = [
        (Organize(COUNT, 4096), VIEW),
        (generate('I am Tim."'), Organize(COUNT, 4096).invoke(VIEW)),
        (Summarize(ScriptedChatModel(responses=[]), COUNT, 4096, Organize(COUNT, 4096).fits), VIEW),
        (Extract(ScriptedChatModel(responses=["Background: Ann Lee is a sailor."])), (SOURCES, "Ann Lee")),
        (Lookup(lambda line: [hit], COUNT, 100), VIEW),
        (Recall(TurnMemory(), COUNT, 100), VIEW),
    ]
    for step, value in steps:
        step.invoke(value, {"callbacks": [tracer]})  # type: ignore[attr-defined]
    top = [name for parent, name in tracer.seen if not parent]
    assert top == ["Organize", "Generate", "Summarize", "Extract", "Extract", "Recall"]


def test_the_trace_of_a_conversation_shows_its_steps_and_recall() -> None:
    class Sailor(ScriptedChatModel):
        def _next(self, messages: list[BaseMessage], stop: list[str] | None) -> str:
            super()._next(messages, stop)
            if len(self.calls) == 1:
                return "Background: Ann Lee is a sailor."
            return 'Yes."' if messages[-1].type == "ai" else "They talk."

    model = Sailor(responses=[""] * 40)
    tracer = RunNames()
    sources = RoleSources(SOURCES, extract=Extract(model))
    memory = MemorySettings(search=TurnMemory())
    talk = Conversation(model, "Ann Lee", sources=sources, window=220, memory=memory)
    talk.thread.config["callbacks"] = [tracer]
    for n in range(6):
        talk.say(f"it is raining in the long street again, and this is what i say of it in line {n}.")
    assert {("EGOS", name) for name in ("Extract", "Organize", "Generate", "Append", "Summarize")} <= set(tracer.seen)
    assert ("Organize", "Recall") in tracer.seen
    assert {name for parent, name in tracer.seen if not parent} == {"EGOS"}
