"""A conversation as of a chapter: nothing of what comes later is in any prompt, whatever the strategy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from typer.testing import CliRunner

from egosrag import Conversation, assemble
from egosrag.cli.main import app
from egosrag.errors import RoleError
from egosrag.models.scripted import ScriptedChatModel
from egosrag.roles.files import load_role, save_role
from egosrag.sessions.archive import Archive, read_archive
from egosrag.sessions.catalog import archive_of, restore
from egosrag.sessions.group import GroupChat
from egosrag.sessions.store import open_store
from egosrag.settings import Settings
from tests.roles.test_timeline import MARA, STORY

LATER = ("Skerry", "pilot", "drowned", "his boat")  # words of chapters 2 and 3 alone


class Recording(ScriptedChatModel):
    """Says the same to everything, and keeps the prompts."""

    responses: list[str] = []
    prompts: list[str] = []

    def _next(self, messages: list[BaseMessage], stop: list[str] | None) -> str:
        self.prompts.append("\n".join(str(message.text) for message in messages))
        return 'I do not know. "'


def settings(folder: Path, **values: Any) -> Settings:
    return Settings.load(data_dir=folder, cache_dir=folder / "cache", **values)


@pytest.fixture
def story(tmp_path: Path) -> Path:
    path = tmp_path / "mara.txt"
    path.write_text(STORY, encoding="utf-8")
    return path


@pytest.mark.parametrize("strategy", ["card", "dynamic", "none"])
def test_no_prompt_has_what_comes_later(strategy: str, story: Path, tmp_path: Path) -> None:
    model, chosen = Recording(), settings(tmp_path, **({} if strategy == "card" else {"strategy": strategy}))
    save_role(MARA, tmp_path / "mara.json")
    own = {"setup": assemble.ConversationSetup(until="chapter 1")}
    role: Path | None = tmp_path / "mara.json"
    if strategy != "card":
        role = None
        own = {"setup": assemble.ConversationSetup(sources=[story], name="Mara", until="chapter 1")}
    with assemble.conversation(chosen, role, "s", model, **own) as talk:
        for line in ("Where do you live?", "Tell me of the boat, the pilot and Skerry, and how Tom drowned."):
            talk.say(line)
        assert "Hull" in model.prompts[0]
    with assemble.conversation(chosen, role, "s", model, setup=assemble.ConversationSetup(
        sources=own["setup"].sources, name=own["setup"].name
    )) as talk:  # fmt: skip
        talk.say("And now?")  # the session remembers it
        assert talk.until == "chapter 1"
        said = "Tell me of the boat, the pilot and Skerry, and how Tom drowned."
        for prompt in model.prompts:
            assert not [word for word in LATER if word in prompt.replace(said, "")]
        talk.set_until("")
        talk.say("Where do you live now?")
        assert "Skerry" in model.prompts[-1].replace(said, "")


def test_extract_in_the_session_is_as_of_the_chapter_too(story: Path) -> None:
    from egosrag.egos.extract.static import Extract
    from egosrag.egos.pipeline import RoleSources
    from egosrag.roles.points import timeline_of
    from egosrag.schema import Role

    sources = [("mara.txt", STORY)]
    model = Recording()
    extract = Extract(
        ScriptedChatModel(
            responses=["Background: Mara lived in Hull with her aunt.\nBackground: Mara moved to Skerry."] * 9
        )
    )
    bare = Role(name="Mara", language="en", timeline=timeline_of(sources))
    talk = Conversation(model, bare, sources=RoleSources(sources, extract=extract), until="chapter 1")
    talk.say("Where do you live?")
    assert "Hull" in model.prompts[-1] and "Skerry" not in model.prompts[-1]
    assert talk.role.as_of == "Chapter 1"
    talk.set_until("chapter 2")
    talk.say("Where do you live?")
    assert "Skerry" in model.prompts[-1]


def test_a_point_that_is_not_there_is_named_at_once() -> None:
    with pytest.raises(RoleError, match="no point 'chapter 9'.*give one of Chapter 1, Chapter 2, Chapter 3"):
        Conversation(Recording(), MARA, until="chapter 9")
    with pytest.raises(RoleError, match="extract it again"):
        Conversation(Recording(), "Mara", until="chapter 1")


def test_in_a_scene_each_card_with_chapters_is_as_of_the_chapter() -> None:
    model = Recording()
    other = load_role("edda")
    talk = GroupChat(model, [MARA, other], until="chapter 1")
    talk.say("Where do you live?", to="Mara")
    assert "Hull" in model.prompts[-1] and "Skerry" not in model.prompts[-1]
    talk.say("And you?", to=other.name)
    assert "lighthouse" in model.prompts[-1]


def test_the_chapter_goes_along_with_an_exported_conversation(tmp_path: Path) -> None:
    with open_store(tmp_path / "s.sqlite") as store:
        talk = Conversation(Recording(), MARA, checkpointer=store, session="a", until="chapter 2")
        talk.say("Hello?")
        archive = archive_of(store, "a", [MARA])
        assert archive.until == "chapter 2"
        restore(store, read_archive(archive.text(), "a.json"), "b")
        assert Conversation(Recording(), MARA, checkpointer=store, session="b").role.as_of == "Chapter 2"
    assert Archive(roles=(MARA,)).until == ""


def test_a_card_keeps_its_chapters_in_a_character_card(tmp_path: Path) -> None:
    for name, version in (("mara.json", None), ("mara.v2.json", 2), ("mara.v3.json", 3), ("mara.png", None)):
        save_role(MARA, tmp_path / name, version=version)  # type: ignore[arg-type]
        again = load_role(tmp_path / name)
        assert again.timeline == MARA.timeline, name
        assert again.background == MARA.background, name


def test_chat_takes_it_as_an_option_and_as_a_command(tmp_path: Path) -> None:
    save_role(MARA, tmp_path / "mara.json")
    script = tmp_path / "script.json"
    script.write_text(json.dumps(['Hull, where else? "'] * 3), encoding="utf-8")
    arguments = ["chat", "--role", str(tmp_path / "mara.json"), "--model", f"scripted:{script}", "--json"]
    done = CliRunner().invoke(app, [*arguments, "--until", "chapter 1"], input="Where do you live?\n")
    assert done.exit_code == 0 and json.loads(done.stdout)["text"] == "Hull, where else?"
    done = CliRunner().invoke(app, [*arguments, "--until", "chapter 7"], input="Where do you live?\n")
    assert done.exit_code == 1 and "no point 'chapter 7'" in str(done.exception)
