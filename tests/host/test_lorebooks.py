"""A visitor's lorebooks and personas, and what they do with conversations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from egosrag.errors import RoleError, SessionError
from egosrag.host import cards, conversation_catalog, conversations, lorebooks
from egosrag.host.personas import load_personas, personas_of, save_persona
from egosrag.host.uploads import Upload, save_upload
from egosrag.host.visitors import Visitor, new_token, visitor_of
from egosrag.models.scripted import ScriptedChatModel
from egosrag.schema import Persona, Role
from egosrag.settings import Settings

BOOK = {"entries": {"0": {"key": ["oven"], "content": "The oven is {{user}}'s.", "comment": "oven"}}}


@pytest.fixture
def visitor(tmp_path: Path) -> Visitor:
    return visitor_of(new_token(), tmp_path)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, store=str(tmp_path / "s.sqlite"), memory="static")


def upload(visitor: Visitor, name: str, data: object) -> Upload:
    return save_upload(visitor, name, json.dumps(data).encode(), lorebooks.EXTENSIONS)


def test_a_lorebook_is_uploaded_edited_and_deleted(visitor: Visitor, tmp_path: Path) -> None:
    stored = lorebooks.add_upload(visitor, upload(visitor, "bakery.json", BOOK))
    assert (stored.name, stored.entries) == ("bakery", 1)
    book = lorebooks.load(stored)
    book = lorebooks.with_entry(book, 0, {"content": "The oven is old.", "keys": "oven, stove，炉子"})
    book = lorebooks.with_entry(book, None, {"keys": ["flour"], "content": "Flour is white.", "constant": True})
    again = lorebooks.save(visitor, book, stored.id)
    assert (again.id, again.entries) == (stored.id, 2)
    entry = lorebooks.load(again).entries[0]
    assert (entry.keys, entry.content, entry.label) == (("oven", "stove", "炉子"), "The oven is old.", "oven")
    assert len(lorebooks.without_entry(book, 0).entries) == 1
    assert lorebooks.list_lorebooks(visitor) == [again]
    for wrong in (lambda: lorebooks.with_entry(book, 7, {}), lambda: lorebooks.with_entry(book, 0, {"enabled": "x"})):
        with pytest.raises(RoleError):
            wrong()
    other = visitor_of(new_token(), tmp_path)
    for name in (stored.id, "../roles", ""):
        with pytest.raises(RoleError, match="no longer exists"):
            lorebooks.find(other, name)
    lorebooks.delete(other, stored)
    assert stored.path.is_file()
    lorebooks.delete(visitor, stored)
    assert lorebooks.list_lorebooks(visitor) == []
    with pytest.raises(RoleError, match="is not a lorebook"):
        lorebooks.add_upload(visitor, upload(visitor, "no.json", {"x": 1}))


def test_personas_belong_to_their_visitor(visitor: Visitor, tmp_path: Path) -> None:
    saved = personas_of(visitor)
    assert saved.all() == []
    saved.add(load_personas("Ann: a sailor")[0])
    saved.add(Persona(name="ann", description="a cook"))
    assert saved.all() == [Persona(name="ann", description="a cook")]
    assert personas_of(visitor_of(new_token(), tmp_path)).all() == []
    saved.remove("ANN")
    with pytest.raises(RoleError, match="there is no persona"):
        saved.remove("Ann")


def test_a_conversation_with_a_persona_and_a_lorebook(visitor: Visitor, settings: Settings, tmp_path: Path) -> None:
    role = cards.add(visitor, Role(name="Tim", greeting="Hello, {{user}}."))
    book = lorebooks.add_upload(visitor, upload(visitor, "bakery.json", BOOK))
    session = conversations.new_session(visitor, [role.id])
    model = ScriptedChatModel(responses=['Yes."', 'No."', 'Well."'])
    ann = save_persona(visitor, " Ann ", "")
    conversations.choose(visitor, session, persona="Ann")
    conversations.choose(visitor, session, lorebooks=[book.id])
    draft = conversations.load_transcript(settings, visitor, session)
    assert draft.persona == ann and [turn.text for turn in draft.turns] == ["Hello, Ann."]
    with conversations.open_conversation(settings, visitor, session, model) as talk:
        reply = talk.say("The oven?")
        view = conversations.prompt_view(talk, reply)
    assert reply.lore == ("oven",) and view is not None and view.lore[0].content == "The oven is Ann's."
    lorebooks.delete(visitor, book)
    personas_of(visitor).remove("Ann")  # the conversation remembers her
    with conversations.open_conversation(settings, visitor, session, model) as talk:
        assert talk.persona == ann and talk.say("The oven?").lore == ()
    conversations.choose(visitor, session, persona="")
    with conversations.open_conversation(settings, visitor, session, model) as talk:
        assert talk.persona is None
        talk.say("And now?")
    turns = conversations.load_transcript(settings, visitor, session).turns
    assert [turn.speaker for turn in turns[:2]] == ["Tim", "Ann"] and turns[-2].speaker == "Me"
    branch = conversation_catalog.branch_conversation(settings, visitor, session)
    assert conversations.load_transcript(settings, visitor, branch).persona is None
    conversation_catalog.delete_conversation(settings, visitor, branch)
    assert conversations.choices_of(visitor, branch).persona is None
    with pytest.raises(SessionError):
        conversations.choose(visitor_of(new_token(), tmp_path), session, persona="")


def test_a_persona_is_edited_under_its_name_or_another(visitor: Visitor) -> None:
    save_persona(visitor, "Ann", "a cook")
    save_persona(visitor, "Bea", "", replaces="Ann")
    assert personas_of(visitor).all() == [Persona(name="Bea")]
    save_persona(visitor, "bea", "a sailor", replaces="Bea")
    assert personas_of(visitor).all() == [Persona(name="bea", description="a sailor")]
    for name in ("BEA", " ", "x" * 81):
        with pytest.raises(RoleError):
            save_persona(visitor, name, "")


def test_conversations_are_renamed_pinned_searched_and_branched(
    visitor: Visitor, settings: Settings, tmp_path: Path
) -> None:
    role = cards.add(visitor, Role(name="Tim"))
    session = conversations.new_session(visitor, [role.id])
    with conversations.open_conversation(settings, visitor, session, ScriptedChatModel(responses=['Yes."'])) as talk:
        talk.say("The lighthouse?")
    named = conversation_catalog.rename_conversation(settings, visitor, session, " Evening / sea ")
    assert conversations.role_ids(visitor, named) == (role.id,)
    branch = conversation_catalog.branch_conversation(settings, visitor, named)
    conversation_catalog.pin_conversation(settings, visitor, named)
    infos = conversation_catalog.list_conversations(settings, visitor)
    assert [(i.title, i.pinned) for i in infos] == [("Evening sea", True), ("", False)]
    assert {found.session for found in conversation_catalog.search_conversations(settings, visitor, "lighthouse")} == {
        named,
        branch,
    }
    other = visitor_of(new_token(), tmp_path)
    assert conversation_catalog.search_conversations(settings, other, "lighthouse") == []
    for call in (
        lambda: conversation_catalog.rename_conversation(settings, other, named, "x"),
        lambda: conversation_catalog.pin_conversation(settings, other, named),
        lambda: conversation_catalog.branch_conversation(settings, other, named),
        lambda: conversation_catalog.rename_conversation(settings, visitor, named, " / "),
    ):
        with pytest.raises(SessionError):
            call()
