"""What outlasts a reload: what was open, chats about documents, deleted conversations, work in the background."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from egosrag.console import Reporter
from egosrag.errors import EgosRagError, ModelError, SessionError
from egosrag.host import conversation_catalog, conversations, document_chats, trash, visits
from egosrag.host.document_chats import DocumentChat
from egosrag.host.jobs import Jobs
from egosrag.host.markup import cited_markup, markup
from egosrag.host.model_choices import (
    ModelChoice,
    ability,
    load_chosen,
    model_choices,
    recommended,
    short_name,
    suggested_name,
)
from egosrag.host.portraits import drawn_portrait
from egosrag.host.times import day_of, local_time
from egosrag.host.visitors import Visitor, new_token, visitor_of
from egosrag.models import load_chat_model
from egosrag.models.scripted import ScriptedChatModel
from egosrag.schema import Answer, Citation
from egosrag.settings import Settings
from tests.apps.model_server import model_server


@pytest.fixture
def settings() -> Settings:
    return Settings.load()


@pytest.fixture
def visitor(settings: Settings) -> Visitor:
    return visitor_of(new_token(), settings.data_dir)


def test_what_was_open_is_remembered_and_a_damaged_file_is_no_reason_to_refuse(visitor: Visitor) -> None:
    assert visits.recall(visitor) == {}
    visits.remember(visitor, session="a", widgets={"model": "pocket"})
    visits.remember(visitor, session=None, chat="b")
    assert visits.recall(visitor) == {"widgets": {"model": "pocket"}, "chat": "b"}
    (visitor.folder / "visit.json").write_text("[1", encoding="utf-8")
    assert visits.recall(visitor) == {}


def talk(settings: Settings, visitor: Visitor, *, compared: bool = False) -> str:
    session = conversations.new_session(visitor, ["edda.en"], compared=compared)
    model = ScriptedChatModel(responses=['One."'])
    with conversations.open_conversation(settings, visitor, session, model) as conversation:
        conversation.say("Who are you?")
    return session


def test_a_deleted_conversation_comes_back_as_it_was(settings: Settings, visitor: Visitor) -> None:
    session = talk(settings, visitor)
    conversation_catalog.pin_conversation(settings, visitor, session)
    conversations.choose(visitor, session, note="It rains.")
    before = conversations.load_transcript(settings, visitor, session)
    deleted = trash.discard_conversation(settings, visitor, session)
    assert conversation_catalog.list_conversations(settings, visitor) == []
    assert [one.name for one in trash.list_deleted(visitor, "conversation")] == ["Edda"]
    assert trash.list_deleted(visitor, "documents") == []
    assert trash.bring_back(settings, visitor, deleted.id) == session
    assert conversations.load_transcript(settings, visitor, session) == before
    assert conversation_catalog.list_conversations(settings, visitor)[0].pinned
    with pytest.raises(SessionError):
        trash.bring_back(settings, visitor, deleted.id)


def test_others_can_neither_delete_nor_bring_back(settings: Settings, visitor: Visitor) -> None:
    session, other = talk(settings, visitor), visitor_of(new_token(), settings.data_dir)
    with pytest.raises(SessionError):
        trash.discard_conversation(settings, other, session)
    deleted = trash.discard_conversation(settings, visitor, session)
    for wrong in (deleted.id, f"../../{visitor.key}/deleted/{deleted.id}", ""):
        with pytest.raises(SessionError):
            trash.bring_back(settings, other, wrong)


def test_a_comparison_is_in_no_list(settings: Settings, visitor: Visitor) -> None:
    talk(settings, visitor, compared=True)
    assert conversation_catalog.list_conversations(settings, visitor) == []
    assert conversation_catalog.search_conversations(settings, visitor, "who") == []


def test_a_question_is_stored_before_its_answer(visitor: Visitor) -> None:
    chat = DocumentChat(documents=("m.md",), names=("boat.md",)).asked("Which oil?")
    document_chats.save_chat(visitor, chat)
    stored = document_chats.load_chat(visitor, chat.id)
    assert (stored.exchanges[0].answer, stored.history) == (None, [])
    citation = Citation(source="m.md", page=3, quote="Use SAE 30.", score=1.0)
    stored = stored.answered(Answer(answer="SAE 30.", refused=False, citations=(citation,)), None, "1", "pocket")
    document_chats.save_chat(visitor, stored)
    assert document_chats.load_chat(visitor, chat.id).history == [("Which oil?", "SAE 30.")]
    assert "> Use SAE 30. (boat.md, 3)" in document_chats.export_chat(stored, "md").decode()
    assert [c.id for c in document_chats.list_chats(visitor, "sae oil")] == [chat.id]
    assert document_chats.list_chats(visitor, "petrol") == []


def test_chats_are_renamed_pinned_deleted_and_brought_back(settings: Settings, visitor: Visitor) -> None:
    chats = [DocumentChat(at=f"2026-01-0{n}T00:00:00+00:00").model_copy(update={"title": str(n)}) for n in (1, 2)]
    for chat in chats:
        document_chats.save_chat(visitor, chat)
    document_chats.pin_chat(visitor, chats[0].id, True)
    document_chats.rename_chat(visitor, chats[0].id, "  Oil \n change ")
    assert [chat.title for chat in document_chats.list_chats(visitor)] == ["Oil change", "2"]
    deleted = trash.discard_chat(visitor, document_chats.load_chat(visitor, chats[0].id))
    assert [chat.id for chat in document_chats.list_chats(visitor)] == [chats[1].id]
    assert trash.bring_back(settings, visitor, deleted.id) == chats[0].id
    for wrong in ("../visit", "0" * 12, ""):
        with pytest.raises(SessionError):
            document_chats.load_chat(visitor, wrong)


def test_a_job_goes_on_by_itself_is_cancelled_and_its_result_taken_once() -> None:
    jobs, go = Jobs(), threading.Event()

    def work(progress: Reporter) -> str:
        progress("reading", 1, 2)
        go.wait(10)
        progress("reading", 2, 2)
        return "done"

    first = jobs.start("v", "extract", "Tim", work)
    assert jobs.start("v", "extract", "Tim", work) is first, "it runs already"
    assert jobs.find("w", "extract") is None
    go.set()
    first.wait(10)
    assert (first.share, jobs.take("v", "extract"), jobs.take("v", "extract")) == (1.0, "done", None)
    go.clear()
    second = jobs.start("v", "extract", "Tim", work)
    second.cancel()
    go.set()
    second.wait(10)
    assert jobs.take("v", "extract") is None

    def failing(progress: Reporter) -> None:
        raise EgosRagError("no")

    jobs.start("v", "extract", "Tim", failing).wait(10)
    with pytest.raises(EgosRagError, match="no"):
        jobs.take("v", "extract")


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("*She nods.* **Yes**", "<p><em>She nods.</em> <strong>Yes</strong></p>\n"),
        ("<b>no</b> <script>x</script>", "<p>&lt;b&gt;no&lt;/b&gt; &lt;script&gt;x&lt;/script&gt;</p>\n"),
        ("![a](http://evil.example/x.png)", "<p>![a](http://evil.example/x.png)</p>\n"),
        ("[a](http://evil.example) http://evil.example", "<p>[a](http://evil.example) http://evil.example</p>\n"),
        ("one\ntwo", "<p>one<br>\ntwo</p>\n"),
    ],
)
def test_markdown_is_shown_and_nothing_of_it_is_loaded(text: str, html: str) -> None:
    assert markup(text) == f'<div class="said">{html}</div>'


def test_the_text_of_an_answer_is_escaped_beside_its_buttons() -> None:
    html = cited_markup([("<i>Oil</i>", 'p. 2 "x"', "page 0 1"), ("Or not.", "", "")])
    assert "<span>&lt;i&gt;Oil&lt;/i&gt;</span>" in html and 'data-press="page 0 1"' in html
    assert html.count("<button") == 1


def test_times_are_those_of_the_reader() -> None:
    now = datetime(2026, 3, 5, 20, 0, tzinfo=UTC)
    assert local_time("2026-03-05T18:30:00+00:00", "Asia/Shanghai", now) == "02:30"
    assert local_time("2026-03-04T18:30:00", "Asia/Shanghai", now) == "03-05"
    assert local_time("2025-03-04T08:30:00", None, now) == "2025-03-04"
    assert (local_time("", None), local_time("2026-03-05T18:30:00+00:00", "No/Where", now)) == ("", "18:30")


def test_days_are_those_of_the_reader() -> None:
    now = datetime(2026, 3, 5, 20, 0, tzinfo=UTC)  # the sixth in Shanghai
    days = [day_of(at, "Asia/Shanghai", now) for at in ("2026-03-05T18:30", "2026-03-05T15:59", "2026-03-04T15:59", "")]
    assert days == ["today", "yesterday", "earlier", "today"]


def test_a_portrait_is_always_the_same_and_has_nothing_of_the_name() -> None:
    assert drawn_portrait("<script>") == drawn_portrait("<script>") != drawn_portrait("Edda")
    assert "script" not in drawn_portrait("<script>")


def test_models_have_their_size_and_a_wrong_name_a_suggestion(settings: Settings, tmp_path: Path) -> None:
    settings.models_dir.mkdir(parents=True)
    (settings.models_dir / "mine.gguf").write_bytes(b"GGUF")
    choices = model_choices(settings)
    by_name = {Path(choice.name).name: choice for choice in choices}
    assert by_name["mine.gguf"].kind == "file" and by_name["pocket"].here
    assert not by_name["qwen2.5-1.5b"].here and by_name["qwen2.5-1.5b"].memory > by_name["qwen2.5-1.5b"].size
    meant = {"gpt-4o": "openai:gpt-4o", "deepseek-chat": "deepseek:deepseek-chat", "pocket": "", "openai:x": ""}
    meant["qwen2.5-1.5"] = "qwen2.5-1.5b"
    assert {name: suggested_name(name, choices) for name in meant} == meant
    assert [choice.name for choice in model_choices(settings, ["pocket", "openai:a"])] == ["pocket", "openai:a"]
    assert (ability("pocket", choices), ability("openai:a", choices)) == ("toy", "unknown")
    best = recommended(choices, free_memory=10**10)
    assert best and best.name == "qwen2.5-1.5b" and recommended(choices, free_memory=10**8) is None
    assert ability("big", [ModelChoice("big", "file", 5 * 10**9)]) == "able"


def test_models_of_servers_on_this_machine_are_found_and_used(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with model_server() as named, model_server() as other:
        monkeypatch.setenv("OPENAI_BASE_URL", named.address)
        monkeypatch.setenv("OPENAI_API_KEY", "secret")
        monkeypatch.setenv("EGOSRAG_APP_MODEL_PORTS", f"{other.server_port}, {named.server_port}, x")
        found = [choice for choice in model_choices(settings) if choice.kind == "server"]
        name = f"openai:slow@{other.address}"
        assert {"openai:slow", name} <= {choice.name for choice in found}
        assert f"openai:slow@{named.address}" not in {choice.name for choice in found}, "it has a shorter name"
        assert (short_name(name), short_name("a/b.gguf"), short_name("a/b")) == ("slow", "b.gguf", "a/b")
        assert suggested_name("slow", found) == "openai:slow"
        model = load_chosen(Settings.load(model=name))
        assert model.invoke("Hello").text.strip() == "Sit down, sailor."
        assert model.openai_api_key.get_secret_value() == "none", "the key is for the server of OPENAI_BASE_URL"
        for wrong in (f"openai:fast@{other.address}", "openai:slow@http://127.0.0.1:9/v1"):
            with pytest.raises(ModelError, match="start it, or choose another"):
                load_chosen(Settings.load(model=wrong))
        with pytest.raises(ModelError, match="not on this machine"):
            load_chat_model("openai:slow@https://evil.example/v1")
