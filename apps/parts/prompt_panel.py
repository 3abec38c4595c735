"""The panel that shows what the model saw for the last reply: the prompt by its parts, recalled turns and summary."""

from __future__ import annotations

import streamlit as st

from apps.parts.context import PageContext
from apps.parts.display import escape
from egosrag.host.conversations import PromptView, Transcript


def prompt_panel(page: PageContext, view: PromptView | None, transcript: Transcript) -> None:
    """Show the panel; ``view`` is None until a reply was generated on this visit."""
    t = page.t
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(t("prompt.title"), anchor=False)
        st.button(t("prompt.close"), key="close-beside", icon=":material/close:", type="tertiary", on_click=_close)
    if view is None:
        st.caption(t("prompt.none"))
    else:
        ledger = view.ledger
        cached = escape(f"{view.cached_share:.0%}")
        st.caption(t("prompt.total", prompt=ledger.prompt, cached=cached, reply=ledger.reply))
        if view.use:
            st.caption(t(f"prompt.cache_{view.use.cause}", tokens=view.use.lost))
        for part in view.parts:
            if part.tokens or part.text:
                with st.expander(f"{t(f'prompt.{part.name}')} · {part.tokens}"):
                    st.text(part.text)
        st.caption(t("prompt.fired", n=len(view.lore)))
        for entry in view.lore:
            st.text(f"• {entry.label}: {entry.content}")
        st.caption(t("prompt.recalled_turns", n=len(view.recalled)))
        for recalled in view.recalled:
            when = f" · {recalled.when}" if recalled.when else ""
            st.text(f"{recalled.score:.2f}{when} · {recalled.turn.speaker}: {recalled.turn.text}")
    st.caption(t("prompt.summary", n=len(transcript.scenes)))
    for scene in transcript.scenes:
        st.text(f"• {scene.text}")


def _close() -> None:
    st.session_state["show prompt"] = False


def show_speed(page: PageContext, view: PromptView | None, transcript: Transcript) -> None:
    """Below the last reply, how fast it was written."""
    if view and view.tokens_per_second and transcript.turns and transcript.turns[-1].id == view.turn_id:
        speed, first = f"{view.tokens_per_second:.0f}", f"{view.first_token_s:.1f}"
        st.caption(page.t("prompt.speed", tokens=view.ledger.reply, speed=speed, first=first))


def show_fired_entries(page: PageContext, view: PromptView | None, transcript: Transcript) -> None:
    """Below the last reply, the names of the lorebook entries that its message activated."""
    if view and view.lore and transcript.turns and transcript.turns[-1].id == view.turn_id:
        names = ", ".join(dict.fromkeys(entry.label for entry in view.lore))
        st.caption(page.t("roleplay.lore", entries=escape(names, 300)))
