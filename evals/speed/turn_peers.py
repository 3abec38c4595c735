"""The peers of ``evals.speed.turn``: the same conversation in the ways that LangGraph and LangChain document.

LangGraph: a graph of one node over ``MessagesState`` and its own checkpointer. LangChain:
``RunnableWithMessageHistory`` over ``SQLChatMessageHistory``. Both trim the history to the window by ``trim_messages``,
with the length of each message counted once, and have neither scenes nor recalled turns, a quote decoder, or a reply
that survives a kill while it is generated.
"""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import lru_cache
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, trim_messages

from egosrag.prompts import render
from egosrag.schema import Role
from evals.speed.turn_setup import WINDOW, InstantModel, StoreClock

Peer = Callable[[str, InstantModel, Role], Any]  # (store's place, model, card) → context of (say, clock)


def _prompt(card: str, messages: list[BaseMessage], model: InstantModel) -> list[BaseMessage]:
    """The messages that fit the window, with the card and the beginning of the reply."""

    def count(messages: list[BaseMessage]) -> int:
        return sum(_tokens(model, str(message.text)) + 5 for message in messages)

    kept = trim_messages(messages, max_tokens=WINDOW - 1500, token_counter=count, start_on="human")
    return [SystemMessage(card), *kept, AIMessage('Edda: "')]


@lru_cache(maxsize=8192)
def _tokens(model: InstantModel, text: str) -> int:
    return model.count_tokens(text)


@contextmanager
def langgraph(where: str, model: InstantModel, role: Role) -> Iterator[tuple[Callable[[str], Any], StoreClock]]:
    """LangGraph's own checkpointers, each checkpoint stored before the reply is returned."""
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import START, MessagesState, StateGraph

    card, clock = render.card(role, "en"), StoreClock()

    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(str(model.invoke(_prompt(card, state["messages"], model)).text))]}

    with ExitStack() as stack:
        saver: Any
        if not where:
            saver = InMemorySaver()
        elif where.startswith("postgresql:"):
            from langgraph.checkpoint.postgres import PostgresSaver

            saver = stack.enter_context(PostgresSaver.from_conn_string(where))
            saver.setup()
        else:
            from langgraph.checkpoint.sqlite import SqliteSaver

            connection = sqlite3.connect(where, check_same_thread=False)
            saver = SqliteSaver(stack.enter_context(closing(connection)))
        clock.watch(saver)
        graph = StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer")
        compiled = graph.compile(checkpointer=saver)
        config: Any = {"configurable": {"thread_id": "s"}}
        yield lambda line: compiled.invoke({"messages": [HumanMessage(line)]}, config, durability="sync"), clock


@contextmanager
def langchain(where: str, model: InstantModel, role: Role) -> Iterator[tuple[Callable[[str], Any], StoreClock]]:
    """LangChain's message history in an SQL database, or in memory."""
    from langchain_core._api import LangChainDeprecationWarning
    from langchain_core.chat_history import InMemoryChatMessageHistory
    from langchain_core.runnables import RunnableLambda, RunnableWithMessageHistory

    card, clock = render.card(role, "en"), StoreClock()
    history: Any
    with warnings.catch_warnings():  # LangChain now recommends LangGraph's checkpointers instead
        warnings.simplefilter("ignore", LangChainDeprecationWarning)
        if where:
            from langchain_community.chat_message_histories import SQLChatMessageHistory

            url = where.replace("postgresql:", "postgresql+psycopg:") if "://" in where else f"sqlite:///{where}"
            history = SQLChatMessageHistory("s", connection=url)
            clock.watch(history, ("add_messages", "get_messages"))
        else:
            history = InMemoryChatMessageHistory()
        chain: Any = RunnableLambda(lambda messages: _prompt(card, messages, model)) | model
        talk = RunnableWithMessageHistory(chain, lambda session: history)
    config: Any = {"configurable": {"session_id": "s"}}
    yield lambda line: talk.invoke([HumanMessage(line)], config), clock
    if where:
        history.engine.dispose()


PEERS: dict[str, Peer] = {"LangGraph": langgraph, "RunnableWithMessageHistory": langchain}
