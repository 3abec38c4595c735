"""The report's figure 5 as a graph of LangGraph: which step follows which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from egosrag.sessions.state import State


def figure(
    nodes: Mapping[str, Callable[..., State]],
    *,
    knows: Callable[[State], bool],
    is_spent: Callable[[State], bool],
    checkpointer: BaseCheckpointSaver[Any],
) -> CompiledStateGraph[State]:
    """The graph of one line: Organize -> Generate -> Append, with Extract before and Summarize where it is needed.

    Args:
        nodes: the work of Organize, Generate, Append and Summarize, and of Extract where there is one.
        knows: whether Extract has nothing to do for this line.
        is_spent: whether Summarize has something to do after the reply.
        checkpointer: keeps the state after every node.
    """
    graph = StateGraph(State)
    for name, node in nodes.items():
        graph.add_node(name, node)
    if "Extract" in nodes:
        graph.add_conditional_edges(
            START, lambda state: "Organize" if knows(state) else "Extract", ["Extract", "Organize"]
        )
        graph.add_edge("Extract", "Organize")
    else:
        graph.add_edge(START, "Organize")
    graph.add_conditional_edges(
        "Organize", lambda state: "Generate" if state["composed"] else "Summarize", ["Generate", "Summarize"]
    )
    graph.add_edge("Generate", "Append")
    graph.add_conditional_edges("Append", lambda state: "Summarize" if is_spent(state) else END, ["Summarize", END])
    graph.add_conditional_edges(
        "Summarize", lambda state: "Organize" if state.get("pending") else END, ["Organize", END]
    )
    return graph.compile(checkpointer=checkpointer, name="EGOS")
