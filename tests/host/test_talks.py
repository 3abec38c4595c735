"""A visitor's conversations: his own, all of them, and nobody else's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from egosrag.errors import RoleError, SessionError
from egosrag.host import cards, talks
from egosrag.host.uploads import keep
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
    with talks.opened(settings, visitor, session, ScriptedChatModel(responses=[reply])) as talk:
        return talk.say(line)


def test_a_conversation_is_listed_read_and_resumed(settings: Settings, visitor: Visitor) -> None:
    session = talks.new_session(visitor, ["edda.en"])
    assert talks.past_of(settings, visitor, session).record.turns == ()
    assert talks.talks(settings, visitor) == []
    say(settings, visitor, session, "Who are you?", 'Edda."')
    say(settings, visitor, session, "And now?", 'Soup."')
    (info,) = talks.talks(settings, visitor)
    assert (info.session, info.roles, info.name, info.turns) == (session, ("edda.en",), "Edda", 5)
    assert [t.text for t in talks.past_of(settings, visitor, session).turns][1:3] == ["Who are you?", "Edda."]


def test_nobody_sees_reads_or_deletes_what_is_anothers(settings: Settings, visitor: Visitor, other: Visitor) -> None:
    session = talks.new_session(visitor, ["edda.en"])
    say(settings, visitor, session, "A secret.", 'Safe."')
    assert talks.talks(settings, other) == []
    model = ScriptedChatModel(responses=[])
    for attempt in (
        lambda: talks.past_of(settings, other, session),
        lambda: talks.exported(settings, other, session, "json"),
        lambda: talks.delete(settings, other, session),
        lambda: talks.opened(settings, other, session, model).__enter__(),
        lambda: talks.roles_of(other, "default"),
    ):
        with pytest.raises(SessionError, match="is not there"):
            attempt()
    assert len(talks.talks(settings, visitor)) == 1


def test_the_names_in_the_store_tell_no_token(settings: Settings) -> None:
    token = new_token()
    session = talks.new_session(visitor_of(token, settings.data_dir), ["edda.en"])
    assert token not in session


def test_several_roles_make_a_scene(settings: Settings, visitor: Visitor) -> None:
    session = talks.new_session(visitor, ["edda.en", cards.keep(visitor, Role(name="Tim")).id])
    assert say(settings, visitor, session, "Tim, where are you?", 'Here."').speaker == "Tim"
    assert talks.talks(settings, visitor)[0].name == "Edda, Tim"
    for ids in ([], ["edda.en"] * 5):
        with pytest.raises(SessionError, match="one role to 4"):
            talks.new_session(visitor, ids)


@pytest.mark.parametrize("strategy", [None, "dynamic"])
def test_the_card_counts_in_every_strategy_but_none(settings: Settings, visitor: Visitor, strategy: str | None) -> None:
    chosen = settings.model_copy(update={"strategy": strategy})
    model = ScriptedChatModel(responses=['Soup."'])
    with talks.opened(chosen, visitor, talks.new_session(visitor, ["edda.en"]), model) as talk:
        reply = talk.say("What happened to the Northern Star?")
        view = talks.seen(talk, reply)
    assert view is not None
    texts = {part.name: part.text for part in view.parts}
    assert "keeper of the lighthouse" in texts["card"]
    assert bool(texts.get("lore")) == (strategy == "dynamic")


def test_without_extract_the_sources_stand_in_the_cards_place(settings: Settings, visitor: Visitor) -> None:
    chosen = settings.model_copy(update={"strategy": "none"})
    sources = cards.find(visitor, "edda.en").sources[0].read_text(encoding="utf-8")
    model = ScriptedChatModel(responses=['Soup."'], context_window=8000)
    with talks.opened(chosen, visitor, talks.new_session(visitor, ["edda.en"]), model) as talk:
        view = talks.seen(talk, talk.say("Who are you?"))
    assert view is not None
    opening = next(line for line in sources.splitlines() if len(line) > 60)[:60]
    assert opening in {part.name: part.text for part in view.parts}["card"]


def test_what_the_model_saw_adds_up_and_stands_in_the_prompt(settings: Settings, visitor: Visitor) -> None:
    model = ScriptedChatModel(responses=['Edda."', 'Soup."'])
    session = talks.new_session(visitor, ["edda.en"])
    with talks.opened(settings, visitor, session, model) as talk:
        first = talk.say("Who are you?")
        reply = talk.say("What is there?")
        view = talks.seen(talk, reply)
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


def test_what_was_recalled_and_summed_up_is_shown(settings: Settings, visitor: Visitor) -> None:
    small = settings.model_copy(update={"prompt_tokens": 240, "memory": "dynamic", "keep_turns": 1})
    role = cards.keep(visitor, Role(name="Tim", language="en"))
    session = talks.new_session(visitor, [role.id])
    say(small, visitor, session, "My cat is called Pablo.", 'A fine name."')
    for number in range(6):
        say(small, visitor, session, f"Line {number} about the weather and the sea.", 'It is a long and windy day."')
    with talks.opened(small, visitor, session, ScriptedChatModel(responses=['Pablo."'])) as talk:
        view = talks.seen(talk, talk.say("What is my cat called?"))
    assert view is not None
    assert view.ledger.history < 240
    assert any("Pablo" in memory.turn.text for memory in view.recalled)
    assert "Pablo" in {part.name: part.text for part in view.parts}["recalled"]


def test_a_conversation_goes_out_and_comes_in_with_its_role(
    settings: Settings, visitor: Visitor, other: Visitor
) -> None:
    session = talks.new_session(visitor, ["edda.en"])
    say(settings, visitor, session, "Who are you?", 'Edda."')
    whole = talks.exported(settings, visitor, session, "json")
    assert visitor.key.encode() not in whole
    assert b"Who are you?" in talks.exported(settings, visitor, session, "md")
    assert b"Who are you?" in talks.exported(settings, visitor, session, "jsonl")
    back = talks.imported(settings, other, keep(other, "talk.json", whole, ["json"]))
    assert len(talks.past_of(settings, other, back).turns) == 3
    assert cards.find(other, talks.roles_of(other, back)[0]).name == "Edda"
    assert say(settings, other, back, "And now?", 'Soup."').text == "Soup."
    with pytest.raises(SessionError, match=r"^bad\.json"):
        talks.imported(settings, other, keep(other, "bad.json", b"{}", ["json"]))


def test_a_deleted_conversation_is_gone_and_one_without_its_role_can_be_read(
    settings: Settings, visitor: Visitor
) -> None:
    role = cards.keep(visitor, Role(name="Tim", language="en"))
    session = talks.new_session(visitor, [role.id])
    say(settings, visitor, session, "Hello.", 'Hi."')
    cards.remove(visitor, role)
    assert [turn.text for turn in talks.past_of(settings, visitor, session).turns] == ["Hello.", "Hi."]
    with pytest.raises(RoleError, match="not there any more"):
        say(settings, visitor, session, "And now?", 'Hi."')
    talks.delete(settings, visitor, session)
    assert talks.talks(settings, visitor) == []
