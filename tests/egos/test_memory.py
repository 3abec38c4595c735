"""Memory: which turns are evicted, which are recalled for a line, and that sessions never share anything."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from egosrag.egos.memory import Evict, Recall, dates
from egosrag.egos.organize import Organize
from egosrag.egos.pipeline import MemorySettings
from egosrag.egos.view import ConversationView
from egosrag.errors import ModelError, SessionError
from egosrag.models.scripted import ScriptedCall, ScriptedChatModel
from egosrag.rag.retrieval.turn_memory import TurnMemory
from egosrag.schema import Scene, Turn
from egosrag.sessions.conversation import Conversation
from egosrag.sessions.store import open_store
from tests.roles.cards import TIM, WUKONG

COUNT = ScriptedChatModel(responses=[]).count_tokens
RAIN = "It was raining in the long street all day, and nobody came."


class YesModel(ScriptedChatModel):
    """Answers every line with yes; its summaries keep the lines with a secret, or fail if ``fails`` is set."""

    responses: list[str] = []
    fails: bool = False

    def _next(self, messages: list[BaseMessage], stop: list[str] | None) -> str:
        self._calls.append(ScriptedCall(tuple(messages), None, ()))
        if messages[-1].type != "ai":
            if self.fails:
                raise ModelError("the server is down")
            return "\n".join(row for row in str(messages[-1].text).splitlines() if "secret" in row) or "It rained."
        return "好。”" if "：“" in str(messages[-1].text) else 'Yes."'

    @property
    def prompts(self) -> list[str]:
        return ["\n".join(str(m.text) for m in c.messages) for c in self.calls if c.messages[-1].type == "ai"]


def turns_about_rain(count: int) -> tuple[Turn, ...]:
    texts = ["My cat is called Tibbles.", "What a name."] + [f"{RAIN} Or was it {n}?" for n in range(count - 2)]
    return tuple(Turn(id=str(n), speaker=("Me", "Tim")[n % 2], text=text) for n, text in enumerate(texts))


def after_19_lines(memory: Any, line: str, language: str = "en", **more: Any) -> tuple[YesModel, Conversation]:
    model = YesModel(context_window=4096)
    search = TurnMemory() if memory in ("dynamic", "both") else None
    role = TIM if language == "en" else WUKONG
    talk = Conversation(model, role, window=400, memory=MemorySettings(memory, search), **more)
    first = "My cat is called Tibbles." if language == "en" else "我的猫叫雪球。"
    rain = RAIN if language == "en" else "长长的街上整天都在下雨，一个人也没有来过。"
    for text in [first, *[f"{rain}{n}" for n in range(18)]]:
        talk.say(text)
    talk.say(line)
    return model, talk


def test_eviction_removes_the_oldest_turns_until_the_prompt_takes_its_target_share() -> None:
    organize = Organize(COUNT, 600, recall_budget=80)
    talk = ConversationView(TIM, turns_about_rain(30))
    ids = Evict(organize.fits).run(talk)
    assert list(ids) == [turn.id for turn in talk.turns[: len(ids)]]
    after = talk.without(ids)
    assert organize.fits(after, 0.6)
    assert not organize.fits(talk.without(ids[:-1]), 0.6)
    assert Evict(organize.fits).run(ConversationView(TIM, turns_about_rain(4))) == ()


def test_eviction_keeps_the_last_turns_if_they_fit_and_always_the_last_line() -> None:
    long = tuple(Turn(id=str(n), speaker="Me", text="word " * 90) for n in range(6))
    for window, kept in ((420, ["3", "4", "5"]), (320, ["4", "5"]), (60, ["5"])):
        talk = ConversationView(TIM, long)
        after = talk.without(Evict(Organize(COUNT, window).fits).run(talk))
        assert [turn.id for turn in after.visible_turns] == kept


def test_recall_retrieves_hidden_turns_for_the_last_line_within_its_budget() -> None:
    talk = ConversationView(TIM, (*turns_about_rain(30), Turn(id="x", speaker="Me", text="What is my cat called?")))
    recall = Recall(TurnMemory(), COUNT, budget=60)
    assert recall.invoke(talk) == ()
    hits = recall.invoke(talk.without([str(n) for n in range(20)]))
    assert "0" in [hit.turn.id for hit in hits]
    assert all(int(hit.turn.id) < 20 for hit in hits)
    assert sum(COUNT(f'{hit.turn.speaker}: "{hit.turn.text}"') for hit in hits) <= 60


@pytest.mark.parametrize(
    ("language", "line", "fact", "opens"),
    [
        ("en", "What is my cat called?", 'Me: "My cat is called Tibbles."', "Remembered from earlier:"),
        ("zh", "我的猫叫什么名字？", "我：“我的猫叫雪球。”", "想起之前说过的话："),
    ],
)
def test_dynamic_memory_puts_a_recalled_turn_just_before_the_line(
    language: str, line: str, fact: str, opens: str
) -> None:
    model, talk = after_19_lines("dynamic", line, language)
    head, tail = model.prompts[-1].split(opens)
    assert fact in tail
    assert fact not in head
    assert tail.index(fact) < tail.index(line)
    assert not talk.scenes()
    assert len(talk.turns()) == 40
    assert opens not in model.prompts[0]


def test_without_memory_a_notice_says_what_was_evicted() -> None:
    notices: list[str] = []
    model, talk = after_19_lines("none", "What is my cat called?", notify=notices.append)
    assert "Tibbles" not in model.prompts[-1]
    assert notices
    assert all("left the prompt" in notice and "the record keeps them" in notice for notice in notices)
    assert "Tibbles" in talk.turns()[0].text


def test_dynamic_memory_needs_a_search() -> None:
    with pytest.raises(SessionError, match="needs a search"):
        Conversation(YesModel(), TIM, memory="both")


def test_the_chat_continues_when_summarize_fails() -> None:
    notices: list[str] = []
    model = YesModel(context_window=4096, fails=True)
    memory = MemorySettings("both", TurnMemory())
    talk = Conversation(model, TIM, window=400, memory=memory, notify=notices.append)
    for text in ["My cat is called Tibbles.", *[f"{RAIN} {n}" for n in range(18)], "What is my cat called?"]:
        assert talk.say(text).text == "Yes."
    assert talk.scenes() == []
    assert "Tibbles" in model.prompts[-1].split("Remembered from earlier:")[1]
    assert any("could not be summarized" in notice for notice in notices)
    assert any("left out of this one prompt" in notice for notice in notices)
    assert len(talk.turns()) == 40
    model.fails = False
    talk.say("And now?")
    assert talk.scenes(), "the summary is written as soon as the model works again"


def test_a_session_continues_with_another_kind_of_memory_from_the_same_record(tmp_path: Path) -> None:
    with open_store(tmp_path / "talk.sqlite") as store:
        _, talk = after_19_lines("dynamic", "Hello?", checkpointer=store)
        assert talk.view.evicted
        static = Conversation(YesModel(context_window=4096), TIM, checkpointer=store, window=400, memory="static")
        assert not static.view.evicted
        static.say("Hello again?")
        summarized = {turn_id for scene in static.scenes() for turn_id in scene.turn_ids}
        assert talk.turns()[0].id in summarized


def test_edited_and_deleted_turns_are_recalled_as_they_are_now() -> None:
    model, talk = after_19_lines("dynamic", "What is my cat called?")
    talk.edit(talk.turns()[0].id, "My cat is called Whiskers.")
    talk.say("What is my cat called?")
    assert "Tibbles" not in model.prompts[-1]
    assert "Whiskers" in model.prompts[-1]
    talk.delete(talk.turns()[0].id)
    talk.say("What is my cat called?")
    assert "Whiskers" not in model.prompts[-1]


def test_recalled_turns_have_dates_only_in_conversations_of_several_days() -> None:
    one = Turn(id="a", speaker="Me", text="Hi", at="2026-05-08T12:00:00+00:00")
    other = Turn(id="b", speaker="Me", text="Hi", at="2026-05-10T12:00:00+00:00")
    undated = Turn(id="c", speaker="Me", text="Hi")
    assert dates([one, undated], "en") == {}
    assert dates([one, undated, other], "en") == {"a": "8 May 2026", "b": "10 May 2026"}
    assert dates([one, other], "zh")["a"] == "2026年5月8日"


def test_turns_of_a_third_speaker_are_in_the_prompt() -> None:
    turns = (
        Turn(id="1", speaker="Me", text="Hello."),
        Turn(id="2", speaker="Ann", text="Hello, both."),
        Turn(id="3", speaker="Tim", text="Hello, Ann."),
        Turn(id="4", speaker="Ann", text="And now?"),
    )
    talk = ConversationView(TIM, turns, (Scene(text="Ann came in.", turn_ids=("0",)),))
    single = Organize(COUNT, 4096).compose(talk)
    assert str(single.messages[1].text).splitlines()[-4:] == [
        'Me: "Hello."', 'Ann: "Hello, both."', 'Tim: "Hello, Ann."', 'Ann: "And now?"',
    ]  # fmt: skip
    multiple = Organize(COUNT, 4096, history="multiple").compose(talk)
    assert [message.type for message in multiple.messages] == ["system", "human", "ai", "human"]
    assert "Ann" in single.speakers


SECRETS = {("ann", "Tim"): "plum", ("ann", "悟空"): "pear", ("bob", "Tim"): "fig", ("bob", "悟空"): "kiwi"}


def tell_and_ask_secret(user: str, role: Any, store: Any, memory: Any) -> tuple[YesModel, str]:
    secret = SECRETS[user, role.name]
    model = YesModel(context_window=4096)
    talk = Conversation(
        model,
        role,
        checkpointer=store,
        session=f"{user} {role.name}",
        window=420,
        memory=MemorySettings(memory, TurnMemory()),
    )
    for text in [f"My secret word is {secret}.", *[f"{RAIN} {n}" for n in range(9)], "What is my secret word?"]:
        talk.say(text)
    return model, secret


def assert_no_secret_leaked(pairs: list[tuple[YesModel, str]]) -> None:
    assert len(pairs) == 4
    for model, own in pairs:
        assert own in model.prompts[-1]
        prompts = " ".join(model.prompts)
        assert not [secret for secret in SECRETS.values() if secret != own and secret in prompts]


@pytest.mark.parametrize("memory", ["both", "dynamic"])
def test_sessions_of_two_users_and_two_roles_in_threads_never_mix(memory: Any, tmp_path: Path) -> None:
    done: list[tuple[YesModel, str]] = []
    with open_store(tmp_path / "talk.sqlite") as store:
        threads = [
            threading.Thread(target=lambda u=user, r=role: done.append(tell_and_ask_secret(u, r, store, memory)))
            for user in ("ann", "bob")
            for role in (TIM, WUKONG)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert_no_secret_leaked(done)


def test_sessions_of_two_users_and_two_roles_in_one_event_loop_never_mix() -> None:
    async def all_of_them() -> list[tuple[YesModel, str]]:
        work = (
            asyncio.to_thread(tell_and_ask_secret, u, r, None, "both") for u in ("ann", "bob") for r in (TIM, WUKONG)
        )
        return await asyncio.gather(*work)

    assert_no_secret_leaked(asyncio.run(all_of_them()))
