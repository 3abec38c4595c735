"""What conversations remember as a LangGraph ``BaseStore``, for the graphs and agents of other programs.

``compile(store=SessionMemoryStore(sessions))``, over the checkpointer that the conversations are in. What a graph puts
is pinned: the role has it in every prompt. What the conversation pins, or keeps as scenes, the graph finds.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import numpy as np
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore
from pydantic_core import to_jsonable_python

from egosrag.egos.state import now
from egosrag.errors import SessionError
from egosrag.rag.index.bm25 import Bm25
from egosrag.schema import Pin
from egosrag.sessions.catalog import session_config, session_graph, session_names
from egosrag.sessions.memories import Memory, memories_stored, pin_of, scenes_changed
from egosrag.sessions.store import exclusive
from egosrag.text.encoding import without_surrogates
from egosrag.text.words import ANALYZERS, without_question_words

ROOT = "memories"
MAX_PINS = 200  # of a session: each of its checkpoints stores them all
MAX_LINE = 1000  # characters: it is in every prompt
_TEXTS = ("text", "content", "memory")  # where programs write the sentence of a memory; the first that is there
Namespace = tuple[str, ...]


def namespace_of(role: str, session: str) -> Namespace:
    """The namespace of what a session remembers.

    Args:
        role: the name of its role; of a group chat, the names of all in their order, as ``Edda, Juno``.
        session: its name.
    """
    return (ROOT, *(label.replace("%", "%25").replace(".", "%2E") for label in (role, session)))


class SessionMemoryStore(BaseStore):
    """The memories of sessions by ``namespace_of(role, session)``; of a role, by ``("memories", role)``.

    It is for programs that may know all sessions of the checkpointer; a search without a session reads each of them.

    A pin that a graph did not put, or a scene, has the value ``{"text", "pinned", "from"}``. What a graph puts comes
    back as it was; its ``text``, ``content`` or ``memory`` is the sentence that the role knows. It creates the session
    where there is none yet: a conversation of that role can begin there. Putting a value on a scene pins it in the
    scene's place. ``search`` with a query finds the lines that share words with it, by BM25, best first.

    A put or a delete waits while the session's role is answering, as every change of a conversation does.

    Args:
        checkpointer: the store of the sessions (:func:`egosrag.sessions.store.open_store`), or any checkpointer.
        others: the store for all namespaces that do not begin with ``memories``; None: those are empty.
    """

    supports_ttl = False

    def __init__(self, checkpointer: BaseCheckpointSaver[Any], others: BaseStore | None = None) -> None:
        self._checkpointer = checkpointer
        self._others = others
        self._lock = threading.Lock()

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """See :class:`langgraph.store.base.BaseStore`; what is read is what was there before the puts.

        Raises:
            SessionError: a value has no sentence or a long text, the session belongs to another role or another graph,
                it has too many pins, or the namespace is not of a role and a session.
            SessionBusy: the session's role is answering.
        """
        todo = list(ops)
        results: list[Result] = [None] * len(todo)
        puts: dict[Namespace, dict[str, PutOp]] = {}
        elsewhere: list[int] = []
        for number, op in enumerate(todo):
            if isinstance(op, GetOp) and op.namespace[:1] == (ROOT,):
                items = self._items(op.namespace) if len(op.namespace) == 3 else []
                results[number] = next((item for item in items if item.key == op.key), None)
            elif isinstance(op, PutOp) and op.namespace[:1] == (ROOT,):
                puts.setdefault(op.namespace, {})[op.key] = op
            elif isinstance(op, SearchOp) and op.namespace_prefix[:1] in ((), (ROOT,)):
                results[number] = self._search(op)
            elif isinstance(op, ListNamespacesOp):
                results[number] = self._list_namespaces(op)
            else:
                elsewhere.append(number)
        for namespace, by_key in puts.items():
            self._put(namespace, list(by_key.values()))
        if self._others:
            answers = self._others.batch([todo[number] for number in elsewhere])
            for number, answer in zip(elsewhere, answers, strict=True):
                results[number] = answer
        else:
            for number in elsewhere:
                results[number] = _without_store(todo[number])
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """:meth:`batch`, in a thread."""
        return await asyncio.to_thread(self.batch, list(ops))

    # --- reading -----------------------------------------------------------------------------------------------------

    def _items(self, prefix: Namespace) -> list[Item]:
        """The items of the namespaces that begin with ``prefix``."""
        wanted = [unquote(label) for label in prefix[1:]]
        if len(wanted) > 2:
            return []
        sessions = wanted[1:] or sorted(session_names(self._checkpointer))
        return [item for session in sessions for item in self._of_session(session, *wanted[:1])]

    def _of_session(self, session: str, role: str | None = None) -> list[Item]:
        """The items of a session; none if it belongs to another role than ``role``, or to another graph."""
        state = session_graph(self._checkpointer).get_state(session_config(session))
        name = state.values.get("name")
        if not name or role not in (None, name):
            return []
        pins = {pin.id: pin for pin in _pins(state.values)}
        found: list[Item] = []
        for memory in memories_stored(state.values):
            pin = pins.get(memory.id) if memory.pinned else None
            at = (pin and pin.at) or next((turn.at for turn in reversed(memory.turns) if turn.at), state.created_at)
            value = _value(memory, pin)
            times: Any = {"created_at": at, "updated_at": at}  # ISO 8601, which Item parses
            found.append(Item(namespace=namespace_of(name, session), key=memory.id, value=value, **times))
        return found

    def _search(self, op: SearchOp) -> list[SearchItem]:
        items = {(item.namespace, item.key): item for item in self._items(op.namespace_prefix)}
        # The meaning of filters is LangGraph's, whose own store applies them.
        everything = op._replace(query=None, limit=max(len(items), 1), offset=0)
        (chosen,) = _scratch(items.values()).batch([everything])
        hits = [items[hit.namespace, hit.key] for hit in chosen]  # type: ignore[union-attr]
        scores = _scores(op.query, [_sentence(hit.value) or "" for hit in hits]) if op.query else None
        order = range(len(hits)) if scores is None else [n for n in np.argsort(-scores, kind="stable") if scores[n] > 0]
        found = [
            SearchItem(
                namespace=hits[n].namespace,
                key=hits[n].key,
                value=hits[n].value,
                created_at=hits[n].created_at,
                updated_at=hits[n].updated_at,
                score=None if scores is None else float(scores[n]),
            )
            for n in order
        ]
        if self._others and not op.namespace_prefix:
            (more,) = self._others.batch([op._replace(limit=op.offset + op.limit, offset=0)])
            found += more  # type: ignore[arg-type]
        return found[op.offset : op.offset + op.limit]

    def _list_namespaces(self, op: ListNamespacesOp) -> list[Namespace]:
        whole: Any = op._replace(limit=op.offset + op.limit, offset=0)
        stores: list[BaseStore] = [_scratch(self._items((ROOT,))), *([self._others] if self._others else [])]
        lists: Any = [store.batch([whole])[0] for store in stores]
        found: set[Namespace] = {namespace for one in lists for namespace in one}
        return sorted(found)[op.offset : op.offset + op.limit]

    # --- writing -----------------------------------------------------------------------------------------------------

    def _put(self, namespace: Namespace, puts: Sequence[PutOp]) -> None:
        """Pins and forgets lines of one session, as one change."""
        if len(namespace) != 3:
            raise SessionError(
                f"{namespace} is not of a role and a session: use namespace_of(role, session) for what is remembered"
            )
        role, session = (unquote(label) for label in namespace[1:])
        config, graph = session_config(session), session_graph(self._checkpointer)
        with self._lock, exclusive(self._checkpointer, session):
            values: Mapping[str, Any] = graph.get_state(config).values
            if "name" not in values:
                if self._checkpointer.get_tuple(config):
                    raise SessionError(f"the thread {session!r} is of another graph: give the name of another session")
                if all(put.value is None for put in puts):
                    return
            elif values["name"] != role:
                raise SessionError(f"session {session!r} belongs to {values['name']}, not to {role}: name that role")
            update = _changed(values, puts, session)
            names = values.get("names") or [role]
            graph.update_state(config, {"name": role, "names": names, **update}, as_node="Summarize")


def _changed(values: Mapping[str, Any], puts: Sequence[PutOp], session: str) -> dict[str, Any]:
    """What a session stores after the puts."""
    pins = {pin.id: pin for pin in _pins(values)}
    memories = memories_stored(values) if values else []
    turn_ids = {memory.id: tuple(turn.id for turn in memory.turns) for memory in memories}
    scenes = {memory.id for memory in memories if not memory.pinned}
    most = max(MAX_PINS, len(pins))
    for put in puts:
        if put.value is None:
            pins.pop(put.key, None)
        else:
            value, of = _plain(put.value), turn_ids.get(put.key, ())
            key = without_surrogates(put.key)
            pins[key] = Pin(id=key, text=_line(value), turn_ids=of, value=value, at=now())
    if len(pins) > most:
        raise SessionError(f"session {session!r} has {MAX_PINS} pinned lines already: delete some first")
    forgotten = dict.fromkeys(scenes & {put.key for put in puts}, "")
    update: Any = {"pins": [pin.model_dump() for pin in pins.values()]}
    return {**update, **(scenes_changed(values, forgotten) if forgotten else {})}


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """A value as it is stored: JSON.

    Raises:
        SessionError: it cannot be JSON.
    """
    try:
        plain = json.dumps(to_jsonable_python(value), ensure_ascii=False)
    except ValueError as error:
        raise SessionError(f"a value to remember is JSON, and this one is not ({error}): leave that out") from error
    stored: dict[str, Any] = json.loads(without_surrogates(plain))
    return stored


def _pins(values: Mapping[str, Any]) -> tuple[Pin, ...]:
    return tuple(Pin.model_validate(row) for row in values.get("pins") or ())


def _value(memory: Memory, pin: Pin | None) -> dict[str, Any]:
    """What a memory is in the store: what was put there, with its sentence as the user may have corrected it."""
    if pin is None or pin.value is None:
        said = [f"{turn.speaker}: {turn.text}" for turn in memory.turns]
        return {"text": memory.text, "pinned": memory.pinned, "from": said}
    return pin.value if _line(pin.value) == pin.text else _with_sentence(pin.value, pin.text)


def _field(value: Mapping[str, Any]) -> str | None:
    return next((field for field in _TEXTS if isinstance(value.get(field), str | Mapping)), None)


def _sentence(value: Mapping[str, Any]) -> str | None:
    """The sentence of a value; LangMem has it one level deeper, ``{"kind": ..., "content": {"content": ...}}``."""
    field = _field(value)
    inner = value[field] if field else None
    return _sentence(inner) if isinstance(inner, Mapping) else inner


def _with_sentence(value: Mapping[str, Any], text: str) -> dict[str, Any]:
    field = _field(value) or _TEXTS[0]
    inner = value.get(field)
    return {**value, field: _with_sentence(inner, text) if isinstance(inner, Mapping) else text}


def _line(value: Mapping[str, Any]) -> str:
    """The line of a value in the prompt.

    Raises:
        SessionError: it has none, or a text that is too long for one.
    """
    sentence = _sentence(value)
    if not sentence or not sentence.strip():
        raise SessionError(f"what is remembered is a sentence: put it in the value as {_TEXTS[0]!r}")
    if len(sentence) > MAX_LINE:
        raise SessionError(
            f"a sentence to remember has at most {MAX_LINE} characters, this one {len(sentence)}: cut it"
        )
    return pin_of(sentence).text


def _scores(query: str, texts: Sequence[str]) -> Any:
    """How well each text answers a query, 0 to 1 (shape (texts,)): BM25 over words and over character pairs."""
    content = without_question_words(query)
    total = np.zeros(len(texts))
    for analyzer in ANALYZERS:
        found = Bm25.build(analyzer, texts).scores(content if content.strip() else query)
        total += found / (found.max(initial=0) or 1) / len(ANALYZERS)
    return total


def _scratch(items: Iterable[Item]) -> InMemoryStore:
    store = InMemoryStore()
    store.batch([PutOp(item.namespace, item.key, item.value) for item in items])
    return store


def _without_store(op: Op) -> Result:
    """The result of an operation on a namespace that there is no store for."""
    if isinstance(op, PutOp) and op.value is not None:
        raise SessionError(
            f"the namespace {op.namespace} is not of a session: use namespace_of(role, session), or give a store for "
            "other namespaces as others"
        )
    return [] if isinstance(op, SearchOp) else None
