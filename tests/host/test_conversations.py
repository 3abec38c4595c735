"""A visitor's conversations: listed, continued, exported and deleted; never those of others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from egosrag.errors import RoleError, SessionError
from egosrag.host import cards, conversation_catalog, conversations
from egosrag.host.conversations import prompt_view
from egosrag.host.uploads import save_upload
from egosrag.host.visitors import Visitor, new_token, visitor_of
from egosrag.models.scripted import ScriptedChatModel
from egosrag.schema import Reply, Role
from egosrag.settings import Settings

Say = Callable[..., Reply]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", cache_dir=tmp_path / "cache")


@pytest.fixture
def visitor(settings: Settings) -> Visitor:
    return visitor_of(new_token(), settings.data_dir)


@pytest.fixture
def other(settings: Settings) -> Visitor:
    return visitor_of(new_token(), settings.data_dir)


def say(settings: Settings, visitor: Visitor, session: str, line: str, reply: str) -> Reply:
    with conversations.open_conversation(
        settings, visitor, session, ScriptedChatModel(responses=[reply])
    ) as conversation:
        return conversation.say(line)


def test_a_conversation_is_listed_read_and_continued(settings: Settings, visitor: Visitor) -> None:
    session = conversations.new_session(visitor, ["edda.en"])
    assert conversations.load_transcript(settings, visitor, session).record.turns == ()
    assert conversation_catalog.list_conversations(settings, visitor) == []
    say(settings, visitor, session, "Who are you?", 'Edda."')
    say(settings, visitor, session, "And now?", 'Soup."')
    (info,) = conversation_catalog.list_conversations(settings, visitor)
    assert (info.session, info.roles, info.name, info.turns) == (session, ("edda.en",), "Edda", 5)
    assert [t.text for t in conversations.load_transcript(settings, visitor, session).turns][1:3] == [
        "Who are you?",
        "Edda.",
    ]


def test_conversations_of_others_cannot_be_listed_read_or_deleted(
    settings: Settings, visitor: Visitor, other: Visitor
) -> None:
    session = conversations.new_session(visitor, ["edda.en"])
    say(settings, visitor, session, "A secret.", 'Safe."')
    assert conversation_catalog.list_conversations(settings, other) == []
    model = ScriptedChatModel(responses=[])
    for attempt in (
        lambda: conversations.load_transcript(settings, other, session),
        lambda: conversation_catalog.export_conversation(settings, other, session, "json"),
        lambda: conversation_catalog.delete_conversation(settings, other, session),
        lambda: conversations.open_conversation(settings, other, session, model).__enter__(),
        lambda: conversations.role_ids(other, "default"),
    ):
        with pytest.raises(SessionError, match="there is no such conversation"):
            attempt()
    assert len(conversation_catalog.list_conversations(settings, visitor)) == 1


def test_session_names_do_not_contain_the_token(settings: Settings) -> None:
    token = new_token()
    session = conversations.new_session(visitor_of(token, settings.data_dir), ["edda.en"])
    assert token not in session


def test_a_conversation_has_one_to_four_roles(settings: Settings, visitor: Visitor) -> None:
    session = conversations.new_session(visitor, ["edda.en", cards.add(visitor, Role(name="Tim")).id])
    assert say(settings, visitor, session, "Tim, where are you?", 'Here."').speaker == "Tim"
    assert conversation_catalog.list_conversations(settings, visitor)[0].name == "Edda, Tim"
    for ids in ([], ["edda.en"] * 5):
        with pytest.raises(SessionError, match="one role to 4"):
            conversations.new_session(visitor, ids)


@pytest.mark.parametrize("strategy", [None, "dynamic"])
def test_the_card_is_in_the_prompt_unless_the_strategy_is_none(
    settings: Settings, visitor: Visitor, strategy: str | None
) -> None:
    settings = settings.model_copy(update={"strategy": strategy})
    model = ScriptedChatModel(responses=['Soup."'])
    with conversations.open_conversation(
        settings, visitor, conversations.new_session(visitor, ["edda.en"]), model
    ) as conversation:
        reply = conversation.say("What happened to the Northern Star?")
        view = prompt_view(conversation, reply)
    assert view is not None
    texts = {part.name: part.text for part in view.parts}
    assert "keeper of the lighthouse" in texts["card"]
    assert bool(texts.get("lore")) == (strategy == "dynamic")


def test_a_conversation_is_open_until_its_last_reply_is_stored(settings: Settings, visitor: Visitor) -> None:
    session = conversations.new_session(visitor, ["edda.en"])
    model = ScriptedChatModel(responses=['Soup for the two of us."'])
    with conversations.open_conversation(settings, visitor, session, model) as conversation:
        stream = conversation.stream("What is there?")
        next(stream)
        assert conversations.is_open(session) and not conversations.is_open(session + "x")
        stream.close()  # what a page does that is stopped
    assert not conversations.is_open(session)
    assert conversations.load_transcript(settings, visitor, session).unanswered is None


def test_with_the_strategy_none_the_sources_replace_the_card(settings: Settings, visitor: Visitor) -> None:
    settings = settings.model_copy(update={"strategy": "none"})
    sources = cards.find(visitor, "edda.en").sources[0].read_text(encoding="utf-8")
    model = ScriptedChatModel(responses=['Soup."'], context_window=8000)
    with conversations.open_conversation(
        settings, visitor, conversations.new_session(visitor, ["edda.en"]), model
    ) as conversation:
        view = prompt_view(conversation, conversation.say("Who are you?"))
    assert view is not None
    opening = next(line for line in sources.splitlines() if len(line) > 60)[:60]
    assert opening in {part.name: part.text for part in view.parts}["card"]


def test_the_parts_of_the_prompt_view_sum_to_the_prompt_and_appear_in_it(settings: Settings, visitor: Visitor) -> None:
    model = ScriptedChatModel(responses=['Edda."', 'Soup."'])
    session = conversations.new_session(visitor, ["edda.en"])
    with conversations.open_conversation(settings, visitor, session, model) as conversation:
        first = conversation.say("Who are you?")
        reply = conversation.say("What is there?")
        view = prompt_view(conversation, reply)
    assert view is not None and first.text == "Edda."
    assert sum(part.tokens for part in view.parts) == reply.ledger.prompt
    prompt = "\n".join(str(message.text) for message in model.calls[-1].messages)
    for part in view.parts:
        if part.name != "template":
            assert all(line in prompt for line in part.text.splitlines())
    texts = {part.name: part.text for part in view.parts}
    assert texts["line"] == 'Me: "What is there?"'
    assert 'Edda: "Edda."' in texts["history"]
    assert 0.0 <= view.cached_share <= 1.0


def test_recalled_turns_are_in_the_prompt_view(settings: Settings, visitor: Visitor) -> None:
    small = settings.model_copy(update={"prompt_tokens": 240, "memory": "dynamic", "keep_turns": 1})
    role = cards.add(visitor, Role(name="Tim", language="en"))
    session = conversations.new_session(visitor, [role.id])
    say(small, visitor, session, "My cat is called Pablo.", 'A fine name."')
    for number in range(6):
        say(small, visitor, session, f"Line {number} about the weather and the sea.", 'It is a long and windy day."')
    with conversations.open_conversation(
        small, visitor, session, ScriptedChatModel(responses=['Pablo."'])
    ) as conversation:
        view = prompt_view(conversation, conversation.say("What is my cat called?"))
    assert view is not None
    assert view.ledger.history < 240
    assert any("Pablo" in recalled.turn.text for recalled in view.recalled)
    assert "Pablo" in {part.name: part.text for part in view.parts}["recalled"]


def test_a_conversation_is_exported_and_imported_with_its_role(
    settings: Settings, visitor: Visitor, other: Visitor
) -> None:
    session = conversations.new_session(visitor, ["edda.en"])
    say(settings, visitor, session, "Who are you?", 'Edda."')
    exported = conversation_catalog.export_conversation(settings, visitor, session, "json")
    assert visitor.key.encode() not in exported
    assert b"Who are you?" in conversation_catalog.export_conversation(settings, visitor, session, "md")
    assert b"Who are you?" in conversation_catalog.export_conversation(settings, visitor, session, "jsonl")
    session = conversation_catalog.import_conversation(
        settings, other, save_upload(other, "conversation.json", exported, ["json"])
    )
    assert len(conversations.load_transcript(settings, other, session).turns) == 3
    assert cards.find(other, conversations.role_ids(other, session)[0]).name == "Edda"
    assert say(settings, other, session, "And now?", 'Soup."').text == "Soup."
    with pytest.raises(SessionError, match=r"^bad\.json"):
        conversation_catalog.import_conversation(settings, other, save_upload(other, "bad.json", b"{}", ["json"]))


def test_without_its_role_a_conversation_can_be_read_and_deleted(settings: Settings, visitor: Visitor) -> None:
    role = cards.add(visitor, Role(name="Tim", language="en"))
    session = conversations.new_session(visitor, [role.id])
    say(settings, visitor, session, "Hello.", 'Hi."')
    cards.delete(visitor, role)
    assert [turn.text for turn in conversations.load_transcript(settings, visitor, session).turns] == ["Hello.", "Hi."]
    with pytest.raises(RoleError, match="no longer exists"):
        say(settings, visitor, session, "And now?", 'Hi."')
    conversation_catalog.delete_conversation(settings, visitor, session)
    assert conversation_catalog.list_conversations(settings, visitor) == []
