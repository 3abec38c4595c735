"""Chats that are trees: an edited line or a regenerated reply has the same parent as the one before it.

ChatGPT, Claude and Agnai store them so. The path to one message is the conversation; other versions of a reply become
its swipes, with what followed them. Nodes between a line and its reply may say nothing, as calls of tools do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from egosrag.sessions.chat_lines import ChatLine

_MAX_FOLLOWING = 100_000  # messages that follow one version of a reply


class Node(NamedTuple):
    """A message of a tree.

    Attributes:
        parent: the message before it; empty: it is the first.
        line: what it says; None: nothing that is a line.
    """

    parent: str
    line: ChatLine | None


class Tree:
    """The messages of a chat.

    Args:
        nodes: the messages by id, older ones before newer ones.
        children: the messages that follow each, the newest last; absent: by their parents, in the order of ``nodes``.
    """

    def __init__(self, nodes: Mapping[str, Node], children: Mapping[str, Sequence[str]] | None = None) -> None:
        self.nodes = nodes
        self.children: dict[str, list[str]] = {key: [] for key in (*nodes, "")}
        if children is not None:
            self.children |= {key: [child for child in own if child in nodes] for key, own in children.items()}
        else:
            for key, node in nodes.items():
                self.children[node.parent if node.parent in nodes else ""].append(key)

    def lines(self, current: str) -> list[ChatLine]:
        """The lines on the path to a message; where there is no such one, to the newest that nothing follows."""
        if current not in self.nodes:
            current = next((key for key in reversed(list(self.nodes)) if not self.children[key]), "")
        path: dict[str, None] = {}
        while current in self.nodes and current not in path:
            path[current] = None
            current = self.nodes[current].parent
        keys = list(reversed(path))
        return [self._with_versions(keys, at, line) for at, key in enumerate(keys) if (line := self._line(key))]

    def _line(self, key: str) -> ChatLine | None:
        return self.nodes[key].line

    def _with_versions(self, path: Sequence[str], at: int, line: ChatLine) -> ChatLine:
        """The line at a place of the path with its other versions: those of the fork between it and the line before."""
        if line.is_user:
            return line
        begin, siblings = path[at], self._siblings(path[at])
        while at and len(siblings) == 1 and not self._line(path[at - 1]):
            at -= 1
            begin, siblings = path[at], self._siblings(path[at])
        texts: list[str] = []
        branches: dict[int, list[ChatLine]] = {}
        current = 0
        for sibling in siblings:
            others = [line] if sibling == begin else list(self._following(sibling))
            if not others or others[0].is_user:
                continue
            own = others[0].swipes or (others[0].text,)
            chosen = len(texts) + others[0].swipe
            if sibling == begin:
                current = chosen
            elif others[1:]:
                branches[chosen] = others[1:]
            texts += own
        return replace(line, swipes=tuple(texts), swipe=current, branches=branches) if len(texts) > 1 else line

    def _siblings(self, key: str) -> list[str]:
        parent = self.nodes[key].parent
        siblings = self.children[parent if parent in self.nodes else ""]
        return siblings if key in siblings else [key]

    def _following(self, key: str) -> Iterator[ChatLine]:
        """The lines from a message on, by the newest version of each."""
        seen: set[str] = set()
        while key not in seen and len(seen) < _MAX_FOLLOWING:
            seen.add(key)
            if line := self._line(key):
                yield line
            if not self.children[key]:
                return
            key = self.children[key][-1]
