"""Replies of the model in a conversation: streamed, kept when they are stopped; no line is lost when they fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import streamlit as st

from apps.parts.context import PageContext
from apps.parts.display import TYPING, error_text, escape, show_html, show_said, show_stream
from apps.parts.shared_model import chat_model, model_slot
from apps.parts.transcript import Action, message_bubble, request_action
from egosrag import Conversation, EgosRagError, Settings
from egosrag.host import conversations, visits
from egosrag.host.conversations import Transcript

GENERATING = ("message", "regenerate", "continue", "extend", "impersonate")  # actions that need a reply from the model
_POLL_S = 0.5  # how often a page looks whether another one has stored its reply


def generate(page: PageContext, settings: Settings, transcript: Transcript, action: Action) -> None:
    """Stream a reply, then run the page again. When the visitor stops it, the text so far is stored.

    A line is remembered until the conversation has it, so that neither a model that cannot be loaded nor a reload of
    the page loses it.
    """
    session, t = transcript.session, page.t
    if action.name == "message":
        visits.remember(page.visitor, line={"session": session, "text": action.text})
        with message_bubble(page, transcript, ""):
            show_said(action.text, mine=True)
    st.session_state.pop(f"failure of {session}", None)
    try:
        model = chat_model(page, settings)
        with (
            model_slot(page),
            conversations.open_conversation(settings, page.visitor, session, model) as conversation,
        ):
            chosen = st.session_state.get(f"speaker of {session}")
            speaker = chosen if chosen in transcript.names and len(transcript.names) > 1 else None
            if action.name != "message":  # the input field of a message has a stop button of its own
                st.button(t("roleplay.stop"), key="stop", icon=":material/stop:", type="tertiary")
            bubble = "" if action.name == "impersonate" else speaker or transcript.names[0]
            with message_bubble(page, transcript, bubble):
                reply = show_stream(_stream(conversation, action, speaker))
            _note_reply(page, settings, conversation, session, action, reply)
    except EgosRagError as error:
        st.session_state[f"failure of {session}"] = str(error)
    st.rerun()


def _note_reply(
    page: PageContext, settings: Settings, conversation: Conversation, session: str, action: Action, reply: Any
) -> None:
    if action.name == "impersonate":
        st.session_state["draft"] = reply.text
        return
    if action.name == "message":
        visits.remember(page.visitor, line=None)
    st.session_state[f"prompt of {session}"] = conversations.prompt_view(conversation, reply)
    conversations.choose(page.visitor, session, model=settings.model)


def _stream(conversation: Conversation, action: Action, speaker: str | None) -> Iterator[Any]:
    """The reply to a message, an alternative of a reply, or a reply without a message, by ``speaker`` in a scene."""
    group: Any = conversation  # with several roles it takes a speaker
    if action.name == "regenerate":
        return conversation.stream_again(action.turn_id)
    if action.name == "extend":
        return conversation.stream_continue()
    if action.name == "impersonate":
        return conversation.stream_impersonate()
    if action.name == "continue":
        stream: Iterator[Any] = group.stream_on(speaker)
        return stream
    return group.stream(action.text, speaker) if speaker else conversation.stream(action.text)


def show_writing(page: PageContext, transcript: Transcript) -> None:
    """A sign that another page of the visitor still writes or stores the reply; then this page shows it.

    That is the page before a reload, which stores what it had, or another window.
    """

    @st.fragment(run_every=_POLL_S)
    def show() -> None:
        if not conversations.is_open(transcript.session):
            st.rerun()
        with message_bubble(page, transcript, transcript.names[0]):
            st.html(TYPING)

    show()


def show_unanswered(page: PageContext, transcript: Transcript) -> None:
    """A line that has no reply, with the reason where one is known, and buttons to send it again or to drop it."""
    t, session = page.t, transcript.session
    line = visits.recall(page.visitor).get("line") or {}
    text = line.get("text") if line.get("session") == session else None
    stored = transcript.unanswered
    last = [turn.text for turn in transcript.turns if turn.speaker not in transcript.names][-1:]
    if text and " ".join(text.split()) in {" ".join(said.split()) for said in last}:
        visits.remember(page.visitor, line=None)  # the conversation has it
        text = None
    if text:
        with message_bubble(page, transcript, ""):
            show_said(text, mine=True)
    failure = st.session_state.get(f"failure of {session}")
    if failure:
        st.error(escape(error_text(failure), 600))
    if not (text or stored):
        return
    with st.container(horizontal=True, vertical_alignment="center", key="mytools unanswered"):
        if not failure:
            st.caption(t("roleplay.unanswered"))
        action = ("message", None, text) if text else ("regenerate", stored.id if stored else None)
        again = t("roleplay.again")
        st.button(again, key="send again", icon=":material/refresh:", on_click=request_action, args=action)
        if text:
            st.button(t("roleplay.take_back"), key="take back", on_click=_take_back, args=(page, text))


def _take_back(page: PageContext, text: str) -> None:
    """The line goes back into the input field."""
    visits.remember(page.visitor, line=None)
    st.session_state["draft"] = text
    for name in [name for name in st.session_state if str(name).startswith("failure of ")]:
        del st.session_state[name]


def show_draft() -> None:
    """Hand a draft to the input field; the component in the page writes it there."""
    if draft := st.session_state.pop("draft", None):
        st.session_state["drafts"] = st.session_state.get("drafts", 0) + 1
        show_html('<i id="draft" data-number="{}" data-text="{}"></i>', str(st.session_state["drafts"]), draft)
