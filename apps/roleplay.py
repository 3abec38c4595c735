"""Talk with a role: what it says as it comes, other replies, other words, and what the model saw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from apps import parts
from apps.parts.prompt import prompt
from apps.parts.switches import switches
from apps.parts.turns import ROLE, bubble, do, turns
from egosrag import Settings
from egosrag.host import cards, talks
from egosrag.host.shown import distinct

GENERATES = ("say", "again", "on")


def main() -> None:
    """The conversation that was chosen, and whatever was asked for in it."""
    here = parts.begin()
    line = st.chat_input(here.words("roleplay.say"), key="line", submit_mode="stop", max_chars=8000)
    with parts.told():
        asked = ("say", line) if line else st.session_state.pop("do", None)
        session, settings = _sidebar(here)
        past = talks.past_of(here.settings, here.visitor, session)
        editing, looking = _views(here)
        left, right = st.columns([3, 2], gap="large") if looking else (st.container(width=760), None)
        with left, parts.told():
            if asked and asked[0] not in GENERATES:
                past = _changed(here, settings, past, asked)
                asked = None
            turns(here, past, until=_until(asked), editing=editing, controls=not asked)
            if asked:
                _answered(here, settings, past, asked)
            elif len(past.names) > 1 and past.begun:
                _next(here, past)
        if right:
            with right:
                prompt(here, st.session_state.get(f"seen {session}"), past)


def _until(asked: Any) -> str | None:
    return asked[1] if asked and asked[0] == "again" else None


def _answered(here: parts.Here, settings: Settings, past: talks.Past, asked: Any) -> None:
    """Lets the role speak, and makes the page anew when it has; whatever stops it keeps what was said."""
    what, value = asked
    if what == "say":
        with bubble(past, ""):
            parts.text(value)
    model = parts.model(here, settings)
    with parts.turn(here), talks.opened(settings, here.visitor, past.session, model) as talk:
        to = st.session_state.get(f"to {past.session}")
        known = to if to in past.names and len(past.names) > 1 else None
        ways: dict[str, Callable[[], Any]] = {
            "say": lambda: talk.stream(value, known) if known else talk.stream(value),
            "again": lambda: talk.stream_again(value),
            "on": lambda: talk.stream_on(known),
        }
        place = st.chat_message("assistant", avatar=ROLE)
        if what != "say":  # the field of a line that was said has a stop of its own
            st.button(here.words("roleplay.stop"), key="stop", icon=":material/stop:", type="tertiary")
        with place:
            reply = parts.streamed(ways[what]())
        st.session_state[f"seen {past.session}"] = talks.seen(talk, reply)
    st.rerun()


def _changed(here: parts.Here, settings: Settings, past: talks.Past, asked: Any) -> talks.Past:
    """The conversation after an edit, a deletion, or the choice of another reply."""
    what, turn_id, *rest = asked
    with talks.opened(settings, here.visitor, past.session, parts.model(here, settings)) as talk:
        ways = {
            "edit": talk.edit,
            "delete": talk.delete,
            "choose": lambda turn_id, number: talk.choose(number, turn_id),
        }
        ways[what](turn_id, *rest)
    return talks.past_of(here.settings, here.visitor, past.session)


def _next(here: parts.Here, past: talks.Past) -> None:
    """In a scene of several roles: who speaks next."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        anybody = here.words("roleplay.anybody")
        st.selectbox(here.words("roleplay.to"), [anybody, *past.names], key=f"to {past.session}")
        st.button(here.words("roleplay.on"), on_click=do, args=("on", None))


def _views(here: parts.Here) -> tuple[bool, bool]:
    with st.sidebar:
        editing = st.toggle(here.words("roleplay.editing"), key="edit turns")
        return editing, st.toggle(here.words("roleplay.looking"), key="look")


def _sidebar(here: parts.Here) -> tuple[str, Settings]:
    """The conversation that was chosen, and how its role is played."""
    words, found = here.words, talks.talks(here.settings, here.visitor)
    known = [info.session for info in found]
    if "session" not in st.session_state:
        st.session_state["session"] = found[0].session if found else _begun(here, [])
    # Those in which nothing was said yet are in no store; they stay in the list while the visit lasts.
    drafts = st.session_state.setdefault("drafts", [])
    sessions = list(dict.fromkeys([*known, *drafts, st.session_state["session"]]))
    drafts[:] = [session for session in sessions if session not in known]

    labels = dict.fromkeys(sessions, words("roleplay.new"))
    for info in found:
        at = info.at[5:16].replace("T", " ")
        labels[info.session] = words("roleplay.info", name=info.name, turns=info.turns, at=at)
    labels = distinct(labels)

    with st.sidebar:
        place = sessions.index(st.session_state["session"])
        session = st.selectbox(words("roleplay.session"), sessions, place, format_func=labels.get)
        st.session_state["session"] = session  # not the widget's own key: that is gone while another page is looked at
        with st.container(horizontal=True):
            with st.popover(words("roleplay.begin"), icon=":material/add:"):
                _new(here)
            if session in known:
                with st.popover(words("roleplay.keep"), icon=":material/download:"):
                    _export(here, session)
        with st.expander(words("roleplay.switches")):
            settings = switches(here, "talk")
    return session, settings


def _begun(here: parts.Here, ids: list[str]) -> str:
    first = cards.roles(here.visitor, here.language)[0].id
    return talks.new_session(here.visitor, ids or [first])


def _new(here: parts.Here) -> None:
    names = cards.names(here.visitor, here.language)
    ids = st.multiselect(here.words("roleplay.roles"), names, max_selections=talks.SCENE_ROLES, format_func=names.get)

    def begin() -> None:
        st.session_state["session"] = _begun(here, ids)

    st.button(here.words("roleplay.start"), on_click=begin, disabled=not ids, type="primary")


def _export(here: parts.Here, session: str) -> None:
    for ending in ("json", "jsonl", "md"):
        st.download_button(
            here.words(f"roleplay.{ending}"),
            lambda ending=ending: talks.exported(here.settings, here.visitor, session, ending),
            f"conversation.{ending}",
            on_click="ignore",
            key=f"export {ending}",
        )

    def delete() -> None:
        talks.delete(here.settings, here.visitor, session)
        del st.session_state["session"]

    st.button(here.words("roleplay.forget"), icon=":material/delete:", on_click=delete)


main()
