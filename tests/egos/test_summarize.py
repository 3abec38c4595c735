"""Summarize: old turns become scenes that keep every name, number and date, or stay as they are."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from egosrag.egos.organize import Organize
from egosrag.egos.step import Talk
from egosrag.egos.summarize import Summarize
from egosrag.errors import ModelError, ScriptExhausted
from egosrag.models.scripted import ScriptedChatModel
from egosrag.schema import Turn
from egosrag.text.retention import degenerate, invented, items, misattributed, missing, unsaid
from egosrag.traits import Traits
from tests.roles.cards import TIM, WUKONG

COUNT = ScriptedChatModel(responses=[]).count_tokens


class Condenser(BaseChatModel):
    """Says what ``answer`` makes of the last message."""

    answer: Callable[[str], str]
    asked: list[str] = []

    @property
    def _llm_type(self) -> str:
        return "condenser"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self.asked.append(str(messages[-1].text))
        said = self.answer(self.asked[-1])
        return ChatResult(generations=[ChatGeneration(message=AIMessage(said))])


def faithful(asked: str) -> str:
    return "\n".join(f"{n}. {line}" for n, line in enumerate(re.findall(r"\S*\d+\S*|Bob", asked), 1)) or "They talk."


def long_talk(language: str = "en", exchanges: int = 12, words: int = 12) -> Talk:
    role, user = (TIM, "Me") if language == "en" else (WUKONG, "我")
    said = ["My name is Bob.", "Nice to meet you, Bob."] if language == "en" else ["我叫小明。", "很高兴认识你，小明。"]
    fill = "and so on it went " if language == "en" else "就这样一直说下去"
    lines = [*said]
    for n in range(exchanges):
        lines += [fill * (words // 4) + f"line {n * 7 + 100}.", fill * (words // 4) + "yes."]
    turns = tuple(Turn(id=str(n), speaker=(user, role.name)[n % 2], text=line) for n, line in enumerate(lines))
    return Talk(role=role, turns=turns)


def summarizer(model: Any, window: int, notices: list[str] | None = None) -> tuple[Summarize, Organize]:
    organize = Organize(COUNT, window)
    told = notices if notices is not None else []
    return Summarize(model, COUNT, window, organize.fits, notice=told.append), organize


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("I met Ann Lee on 3 May 2024 at 10:30.", ["Ann", "Lee", "3", "May", "2024", "10:30"]),
        ("Yes, I know. The boat is old.", []),
        ("Give it to McCoy's dog, I'm tired.", ["McCoy"]),
        ('He calls it "the old lamp".', ["the old lamp"]),
        ("我叫李小龙，住在花果山，今年18岁。", ["李小龙", "花果山", "18"]),
        ("你叫什么名字？", []),
        ("十二月三日，师父在《西游记》里。", ["十二", "三", "西游记"]),
    ],
)
def test_items_are_names_numbers_dates_and_quoted_words(text: str, found: list[str]) -> None:
    assert items(text) == found


def test_missing_compares_numbers_whole_and_names_by_letter() -> None:
    assert missing(["Room 12 is Ann's."], "Ann has room 120.") == ["12"]
    assert missing(["Room 12 is for Ann."], "ANN: room 12") == []
    assert invented("Bob tells Ann: 7 buns.", "Ann and bob had 7 buns") == []
    assert invented("Tim tells of Zoe and 8 buns.", "Tim had 7 buns") == ["Zoe", "8"]


def test_nothing_is_done_while_there_is_room() -> None:
    model = Condenser(answer=faithful, asked=[])
    assert summarizer(model, 4000)[0].invoke(long_talk()) == ()
    assert model.asked == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_old_turns_become_scenes_with_their_ids_and_the_last_stay(language: str) -> None:
    talk = long_talk(language)
    window = 420 if language == "en" else 700
    step, organize = summarizer(Condenser(answer=lambda asked: faithful(asked) + "\n小明", asked=[]), window)
    assert not organize.fits(talk)
    after = talk.with_scenes(step.invoke(talk))
    assert organize.fits(after)
    assert [turn.id for turn in after.visible_turns] == [turn.id for turn in talk.turns[-4:]]
    stood_for = {turn_id for scene in after.scenes for turn_id in scene.turn_ids}
    assert stood_for == {turn.id for turn in talk.turns[:-4]}
    told = " ".join(scene.text for scene in after.scenes)
    assert missing([turn.text for turn in talk.turns[:-4]], told) == []


def test_what_the_model_loses_is_asked_again_in_halves_and_then_kept_word_for_word() -> None:
    talk = long_talk()
    model = Condenser(answer=lambda asked: "They talk of the weather.", asked=[])
    step, organize = summarizer(model, 420)
    after = talk.with_scenes(step.invoke(talk))
    told = [scene.text for scene in after.scenes]
    assert 'Me: "My name is Bob."' in told
    assert 'Tim: "Nice to meet you, Bob."' not in told, "the same name need not be kept twice"
    assert missing([turn.text for turn in talk.turns[:-4]], " ".join(told)) == []
    whole, first, second, *_ = model.asked
    assert f"{first}\n{second}" == whole


def test_a_chinese_line_has_no_latin_word_that_nobody_said() -> None:
    assert invented("我告诉 born青禾：我叫林舟。", "我叫林舟。 青禾") == ["born"]
    assert not invented("我告诉青禾：我的狗叫 Rex。", "我的狗叫 Rex。 青禾")
    assert not invented("Me tells Edda: let us meet.", "Let us meet. Edda Me")


def test_invented_names_and_numbers_never_become_scenes() -> None:
    model = Condenser(answer=lambda asked: f"Zoe owes Tim 9999 pounds.\n{faithful(asked)}", asked=[])
    step, _ = summarizer(model, 420)
    told = " ".join(scene.text for scene in step.invoke(long_talk()))
    assert "Bob" in told
    assert "Zoe" not in told
    assert "9999" not in told


@pytest.mark.parametrize(
    ("line", "loops"),
    [
        ("Me and Me and Me and Me and Me and Me and Me and Me", True),
        ("我告诉\ufffd青禾：我叫林舟。", True),
        ("庄庄庄庄庄庄庄庄庄庄庄庄庄庄庄庄庄庄庄庄庄庄庄庄庄庄", True),
        ("我告诉我：我告诉我：我告诉我：我告诉我：我告诉我：", True),
        ("Tim counts: 1000000000000000000000000000 stars ............................", False),
        ("Tim laughs, ha ha ha ha, and row, row, row your boat.", False),
        ("悟空笑道：哈哈哈哈哈哈！", False),
    ],
)
def test_a_loop_is_told_from_a_long_line(line: str, loops: bool) -> None:
    assert degenerate(line) is loops


def test_words_belong_to_who_said_them() -> None:
    told = [("Me", "My name is Bob."), ("Tim", "I lost my lamp.")]
    assert misattributed("Me tells Tim: I lost my lamp.", told)
    assert not misattributed("Tim tells Me: I lost my lamp.", told)
    assert not misattributed("Me and Tim talk of a lamp.", told)
    assert not misattributed("Meet me at the old mill.", [("Me", "Hello there."), ("Tim", "Meet me at the old mill.")])
    assert not misattributed("我的法宝是金箍棒。", [("我", "你好。"), ("悟空", "我的法宝是金箍棒。")])
    assert misattributed("我告诉悟空：我的法宝是金箍棒。", [("我", "你好。"), ("悟空", "我的法宝是金箍棒。")])


def test_a_line_that_has_somebody_say_what_nobody_did_is_told() -> None:
    told = ["Let us meet at 8:15.", "I will be there: at the mill.", "我叫林舟。"]
    assert unsaid("Tim tells Me: I am at 8:15.", told)
    assert unsaid("我告诉她：小友，我叫林舟。", told)
    assert not unsaid("Me tells Tim: Let us meet at 8:15.", told)
    assert not unsaid("Tim tells Me: I will be there: at the mill.", told)
    assert not unsaid("我告诉她：我叫林舟。", told)
    assert not unsaid("Me and Tim talk.", told)


class Copier(ScriptedChatModel):
    """States that it reads worse than what it reads, as pocket does."""

    @property
    def traits(self) -> Traits:
        return Traits(single_turn=True, extractive_only=True, revises_drafts=True)


@pytest.mark.parametrize("kind", [ScriptedChatModel, Copier])
def test_a_model_that_only_copies_has_nobody_say_what_they_did_not(kind: type[ScriptedChatModel]) -> None:
    model = kind(responses=["Tim tells Me: I am at 8:15.\nMe tells Tim: Let us meet at 8:15."])
    step = Summarize(model, COUNT, 400, lambda *_: False)
    turns = (Turn(id="1", speaker="Me", text="Let us meet at 8:15."), Turn(id="2", speaker="Tim", text="Well."))
    lines = step._checked(turns, Talk(role=TIM, turns=turns), None)
    assert ("Tim tells Me: I am at 8:15." in lines) is (kind is ScriptedChatModel)
    assert "Me tells Tim: Let us meet at 8:15." in lines


def test_loops_and_wrong_speakers_never_become_scenes() -> None:
    wrong = "Tim tells Me: My name is Bob."
    model = Condenser(answer=lambda asked: f"{'Tim and ' * 20}\n{wrong}\n{faithful(asked)}", asked=[])
    step, _ = summarizer(model, 420)
    told = [scene.text for scene in step.invoke(long_talk())]
    assert told
    assert wrong not in told
    assert not any("Tim and Tim" in text for text in told)


def test_model_that_fails_leaves_the_old_state_and_says_so() -> None:
    def broken(asked: str) -> str:
        raise ModelError("the server is down")

    notices: list[str] = []
    step, _ = summarizer(Condenser(answer=broken, asked=[]), 420, notices)
    assert step.invoke(long_talk()) == ()
    assert notices == ["the earlier turns could not be summarized and stay as they are: the server is down"]


def test_script_that_runs_out_is_not_swallowed() -> None:
    with pytest.raises(ScriptExhausted):
        summarizer(ScriptedChatModel(responses=[]), 420)[0].invoke(long_talk())


def test_earlier_scenes_are_never_touched() -> None:
    step, organize = summarizer(Condenser(answer=faithful, asked=[]), 420)
    first = long_talk().with_scenes(step.invoke(long_talk()))
    more = long_talk(exchanges=24).turns[26:]
    second = Talk(TIM, (*first.turns, *more), first.scenes)
    new = step.invoke(second)
    assert new
    assert min(scene.epoch for scene in new) > max(scene.epoch for scene in first.scenes)
    assert second.with_scenes(new).scenes[: len(first.scenes)] == first.scenes
    assert organize.fits(second.with_scenes(new))


def test_turn_longer_than_a_piece_is_read_in_parts() -> None:
    model = Condenser(answer=faithful, asked=[])
    step, organize = summarizer(model, 600)
    huge = Turn(id="huge", speaker="Me", text="It rained for a long time, and nobody came. " * 40 + "Then 77 came.")
    talk = Talk(TIM, (huge, *long_talk(exchanges=2).turns))
    after = talk.with_scenes(step.invoke(talk))
    assert all(COUNT(asked) <= 600 for asked in model.asked)
    assert organize.fits(after)
    assert "77" in " ".join(scene.text for scene in after.scenes)


def test_full_memory_is_told_and_the_record_keeps_all() -> None:
    notices: list[str] = []
    step, organize = summarizer(Condenser(answer=lambda asked: "They talk.", asked=[]), 260, notices)
    talk = long_talk(exchanges=60)
    after = talk.with_scenes(step.invoke(talk))
    assert organize.fits(after)
    assert after.turns == talk.turns
    assert any("the memory is full" in notice for notice in notices)
