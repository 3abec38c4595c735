"""What the model saw for the last line: the prompt by its parts, memories and summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from apps.parts.show import label

if TYPE_CHECKING:
    from apps.parts.frame import Here
    from egosrag.host.talks import Past, Seen


def prompt(here: Here, view: Seen | None, past: Past) -> None:
    """The side panel; ``view`` is None until a line was said on this visit."""
    words = here.words
    st.subheader(words("prompt.title"))
    if view is None:
        st.caption(words("prompt.none"))
    else:
        ledger = view.ledger
        share = f"{view.cached_share:.0%}"
        st.caption(words("prompt.total", prompt=ledger.prompt, cached=label(share), reply=ledger.reply))
        for part in view.parts:
            if part.tokens or part.text:
                name = words(f"prompt.{part.name}")
                with st.expander(f"{name} · {part.tokens}"):
                    st.text(part.text)
        st.caption(words("prompt.memories", n=len(view.recalled)))
        for memory in view.recalled:
            when = f" · {memory.when}" if memory.when else ""
            st.text(f"{memory.score:.2f}{when} · {memory.turn.speaker}: {memory.turn.text}")
    st.caption(words("prompt.summary", n=len(past.scenes)))
    for scene in past.scenes:
        st.text(f"• {scene.text}")
