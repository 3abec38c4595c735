"""The picker of the model: what is on this machine and what can be fetched, with size and memory, and the download."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import streamlit as st

from apps.parts.context import PageContext
from apps.parts.display import escape
from apps.parts.jobs import background_jobs, show_job
from apps.parts.remember import remembered
from apps.parts.translations import Translations
from egosrag import Settings
from egosrag.host import model_choices
from egosrag.host.auth import PASSWORD
from egosrag.host.model_choices import ModelChoice

MODELS = "EGOSRAG_APP_MODELS"  # comma-separated names: visitors can choose among these models only
JOB = "download"


@st.cache_data(ttl=15, show_spinner=False)
def _choices(model: str, models_dir: str, allowed: tuple[str, ...], marks: Any) -> list[tuple[Any, ...]]:
    settings = Settings.load(model=model)
    return [tuple(choice) for choice in model_choices.model_choices(settings, allowed)]


def choices_of(settings: Settings) -> list[ModelChoice]:
    """The models that a visitor can choose."""
    allowed = tuple(name.strip() for name in os.environ.get(MODELS, "").split(",") if name.strip())
    rows = _choices(settings.model, str(settings.models_dir), allowed, st.session_state.get("fetched models", 0))
    return [ModelChoice(*row) for row in rows]


def model_picker(t: Translations, configured: Settings) -> str:
    """Show the picker. Returns the name of the chosen model."""
    if use := st.session_state.pop("model to use", ""):
        _choose(use)
    choices = choices_of(configured)
    by_name = {choice.name: choice for choice in choices}
    limited = bool(os.environ.get(MODELS, "").strip())
    default = configured.model if configured.model in by_name else choices[0].name
    key = remembered("model", default, by_name if limited else None)
    chosen = st.session_state[key] or default
    options = list(by_name) if chosen in by_name else [chosen, *by_name]
    name = st.selectbox(
        t("shared.model"), options, key=key, format_func=lambda name: _label(t, by_name.get(name), name),
        help=t("shared.model_help"), accept_new_options=not limited,
    )  # fmt: skip
    name = str(name or default).strip()
    if suggestion := model_choices.suggested_name(name, choices):
        label = t("shared.meant", name=escape(suggestion))
        st.button(label, type="tertiary", on_click=_choose, args=(suggestion,), key="meant")
    return name


def _choose(name: str) -> None:
    st.session_state["model"] = name


def _label(t: Translations, choice: ModelChoice | None, name: str) -> str:
    if choice is None or not choice.size:
        short = model_choices.short_name(name)
        return f"{short} · {choice.program}" if choice and choice.program else short
    size, memory = f"{choice.size / 1e9:.1f}", f"{choice.memory / 1e9:.1f}"
    text = t("shared.model_here" if choice.here else "shared.model_to_get", size=size, memory=memory)
    return f"{model_choices.short_name(name)} · {text}"


def model_note(page: PageContext) -> None:
    """Say what can be expected of the chosen model; where it is a toy, offer to get a real one."""
    t, choices = page.t, choices_of(page.settings)
    name = page.settings.model
    ability = model_choices.ability(name, choices)
    if _absent(page):
        return  # the sidebar says so, and offers to get it
    with st.container(key="model-note"):
        st.caption(t(f"model.{ability}", name=escape(model_choices.short_name(name))))
        if ability == "toy" and not background_jobs().find(page.visitor.key, JOB):
            _offer(page, model_choices.recommended(choices, model_choices.free_memory()))


def show_download(page: PageContext) -> bool:
    """Show the progress of a download, or offer to get the chosen model where it is not here. Whether it is not here.

    Raises:
        ModelError: the download failed.
    """
    if done := show_job(page, JOB):
        st.session_state["fetched models"] = st.session_state.get("fetched models", 0) + 1
        st.session_state["model to use"] = done  # its widget gets the name at the next run
        st.rerun()
    absent = _absent(page)
    if absent and not background_jobs().find(page.visitor.key, JOB):
        st.caption(page.t("model.absent", name=escape(absent.name)))
        _offer(page, absent)
    return absent is not None


def _absent(page: PageContext) -> ModelChoice | None:
    """The chosen model, where it has to be fetched first."""
    return next((c for c in choices_of(page.settings) if c.name == page.settings.model and not c.here), None)


def _offer(page: PageContext, choice: ModelChoice | None) -> None:
    """A button that gets a model, or uses it where it is here; none where others than the owner may visit."""
    t = page.t
    if choice is None or os.environ.get(MODELS, "").strip() or os.environ.get(PASSWORD):
        return
    if choice.here:
        st.button(t("model.use", name=escape(choice.name)), on_click=_choose, args=(choice.name,), key="use model")
        return
    label = t("model.get", name=escape(choice.name), size=f"{choice.size / 1e9:.1f}")
    if st.button(label, icon=":material/download:", key="get model"):
        work = partial(model_choices.get_model, page.settings, choice.name)
        background_jobs().start(page.visitor.key, JOB, choice.name, work)
        st.rerun()
