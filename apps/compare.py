"""Two ways to play a role, side by side on the same line."""

from __future__ import annotations

import streamlit as st

from apps import parts
from apps.parts.switches import switches
from apps.parts.turns import ROLE, bubble, turns
from egosrag import Settings
from egosrag.host import cards, talks

SIDES = ("a", "b")


def main() -> None:
    """Two conversations with one role, which hear the same lines."""
    here = parts.begin()
    words = here.words
    line = st.chat_input(words("compare.say"), key="line of both", submit_mode="stop", max_chars=8000)
    names = cards.names(here.visitor, here.language)
    with st.sidebar:
        role = st.selectbox(words("compare.role"), names, format_func=names.get, key="role of both")
        again = st.button(words("compare.again"))
    pair = st.session_state.get("pair")
    with parts.told():
        if again or pair is None or pair[0] != role:
            pair = (role, *(talks.new_session(here.visitor, [role]) for _ in SIDES))
            st.session_state["pair"] = pair
        shown = [_side(here, side, column) for side, column in zip(SIDES, st.columns(2, gap="large"), strict=True)]
        for (_, place), session in zip(shown, pair[1:], strict=True):
            with place:
                turns(here, talks.past_of(here.settings, here.visitor, session), controls=False)
        if line:
            for (settings, place), session in zip(shown, pair[1:], strict=True):
                with place, parts.told():
                    _say(here, settings, session, line)


def _side(here: parts.Here, side: str, column: object) -> tuple[Settings, st.delta_generator.DeltaGenerator]:
    with column:  # type: ignore[attr-defined]
        st.subheader(here.words(f"compare.{side}"))
        with st.expander(here.words("compare.switches")):
            settings = switches(here, side)
        return settings, st.container()


def _say(here: parts.Here, settings: Settings, session: str, line: str) -> None:
    past = talks.past_of(here.settings, here.visitor, session)
    with bubble(past, ""):
        parts.text(line)
    model = parts.model(here, settings)
    with parts.turn(here), talks.opened(settings, here.visitor, session, model) as talk:
        with st.chat_message("assistant", avatar=ROLE):
            reply = parts.streamed(talk.stream(line))
        told = reply.ledger
        seconds = f"{reply.timing.total_s:.1f}"
        st.caption(
            here.words("compare.told", prompt=told.prompt, cached=told.cached, reply=told.reply, seconds=seconds)
        )


main()
