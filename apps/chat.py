"""Talk with a role and ask a manual, in the browser: streamlit run apps/chat.py."""

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path
from typing import Any

import streamlit as st

from egosrag import EgosRagError, Settings, assemble
from egosrag.presets import PRESETS

SAMPLES = {
    "en": {"role": "edda.en.json", "manual": "manual.en.pdf"},
    "zh": {"role": "gu.zh.json", "manual": "manual.zh.pdf"},
}
WORDS = {
    "en": {
        "role": "Role", "manual": "Manual", "model": "Model", "temperature": "Temperature", "new": "New conversation",
        "say": "Say something", "ask": "Ask the manual", "card": "Another role card", "document": "Another manual",
        "page": "p.", "scenes": "What is remembered of earlier turns", "preset": "System of the report",
        "ledger": "Tokens of the last prompt and reply",
    },
    "zh": {
        "role": "角色", "manual": "手册", "model": "模型", "temperature": "温度", "new": "新对话",
        "say": "说点什么", "ask": "询问手册", "card": "其他角色卡", "document": "其他手册",
        "page": "第", "scenes": "记住的早先内容", "preset": "报告中的系统", "ledger": "最近一次提示与回复的词元数",
    },
}  # fmt: skip


def kept(upload: Any) -> Path:
    """An uploaded file under a name of our own: only the ending is taken from what the browser says."""
    ending = Path(upload.name).suffix.lower()
    folder = Path(st.session_state.setdefault("uploads", tempfile.mkdtemp(prefix="egosrag-")))
    path = folder / f"{upload.file_id}{ending if ending[1:].isalnum() else ''}"
    if not path.exists():
        path.write_bytes(upload.getvalue())
    return path


def written(speaker: str, text: str) -> None:
    """One bubble; the words are shown as they are, never as Markdown or HTML."""
    with st.chat_message("user" if speaker == "user" else "assistant"):
        st.text(text)


def streamed(pieces: Any) -> Any:
    """Show a reply as it comes and give its last piece, the Reply or the Answer."""
    text, last = "", None
    with st.chat_message("assistant"):
        place = st.empty()
        for piece in pieces:
            if isinstance(piece, str):
                text += piece
                place.text(text)
            else:
                last = piece
    return last


@st.cache_resource(max_entries=2)
def model(settings: str) -> Any:
    """The chat model; it is kept while the server runs."""
    return assemble.chat_model(Settings.model_validate_json(settings))


def role_tab(settings: Settings, language: str, words: dict[str, str]) -> None:
    """The conversation with a role."""
    upload = st.file_uploader(words["card"], type=["json", "png"])
    role = kept(upload) if upload else assemble.sample(SAMPLES[language]["role"])
    key = f"session {role}"
    if st.button(words["new"]) or key not in st.session_state:
        st.session_state[key] = uuid.uuid4().hex[:8]
    line = st.chat_input(words["say"], key="line")
    chat_model = model(settings.model_dump_json())
    with assemble.conversation(settings, role, st.session_state[key], chat_model) as conversation:
        name = conversation.role.name
        turns = conversation.turns()
        if not turns and (greeting := conversation.greeting):
            written(greeting.speaker, greeting.text)
        for turn in turns:
            written(name if turn.speaker == name else "user", turn.text)
        if line:
            written("user", line)
            reply = streamed(conversation.stream(line))
            if reply and reply.ledger:
                with st.expander(words["ledger"]):
                    st.table({part: [tokens] for part, tokens in reply.ledger.model_dump().items()})
        if scenes := conversation.scenes():
            with st.expander(words["scenes"]):
                st.text("\n".join(scene.text for scene in scenes))


@st.cache_resource(max_entries=4)
def engine(settings: str, path: str) -> Any:
    """What answers from one manual."""
    return assemble.manual(Settings.model_validate_json(settings), [path], model=model(settings))


def manual_tab(settings: Settings, language: str, words: dict[str, str]) -> None:
    """Questions to a manual, each with the pages that its answer stands on."""
    upload = st.file_uploader(words["document"], type=["pdf", "md", "txt", "html", "jsonl"])
    path = kept(upload) if upload else assemble.sample(SAMPLES[language]["manual"])
    asked = st.session_state.setdefault(f"asked {path}", [])
    question = st.chat_input(words["ask"], key="question")
    for old, answer in asked:
        written("user", old)
        written("manual", answer.answer)
        cited(answer, words, language)
    if question:
        written("user", question)
        history = [(old, answer.answer) for old, answer in asked]
        answer = streamed(engine(settings.model_dump_json(), str(path)).stream(question, history))
        cited(answer, words, language)
        asked.append((question, answer))


def cited(answer: Any, words: dict[str, str], language: str) -> None:
    """The quotes that an answer stands on, behind their pages."""
    for citation in answer.citations:
        page = f"{words['page']} {citation.page}" + (" 页" if language == "zh" else "")
        with st.expander(f"{page} · {citation.score:.2f}"):
            st.text(citation.quote)


def main() -> None:
    """The page: choices in the sidebar, a tab for each job."""
    st.set_page_config(page_title="EGOS-RAG", page_icon="💬")
    with st.sidebar:
        language = st.radio("Language / 语言", ["en", "zh"], format_func={"en": "English", "zh": "中文"}.get)
        words = WORDS[language]
        try:
            chosen = Settings.load()
            preset = st.selectbox(words["preset"], ["", *PRESETS])
            model = st.text_input(words["model"], chosen.model, disabled=bool(preset))
            temperature = st.slider(words["temperature"], 0.0, 1.5, chosen.temperature)
            named = {"preset": preset} if preset else {"model": model}
            settings = Settings.load(**named, temperature=temperature)
        except EgosRagError as error:
            st.error(str(error))
            return
    for tab, show in zip(st.tabs([words["role"], words["manual"]]), (role_tab, manual_tab), strict=True):
        with tab:
            try:
                show(settings, language, words)
            except EgosRagError as error:
                st.error(str(error))


main()
