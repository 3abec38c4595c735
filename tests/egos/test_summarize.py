"""Summarize: old turns become scenes that keep every name, number and date, or stay as they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from egosrag.egos.organize import Organize
from egosrag.egos.summarize import Summarize, is_misattributed
from egosrag.egos.view import ConversationView
from egosrag.errors import ModelError, ScriptExhausted
from egosrag.models.scripted import ScriptedChatModel
from egosrag.schema import Turn
from egosrag.text.named_items import invented_items, missing_items, named_items
from egosrag.text.repetition import is_degenerate
from tests.roles.cards import TIM, WUKONG

COUNT = ScriptedChatModel(responses=[]).count_tokens


class Summarizer(BaseChatModel):
    """Replies with ``answer`` of its last message, and records the messages."""

    answer: Callable[[str], str]
    prompts: list[str] = []

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
        self.prompts.append(str(messages[-1].text))
        text = self.answer(self.prompts[-1])
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])


def facts_only(prompt: str) -> str:
    return "\n".join(f"{n}. {line}" for n, line in enumerate(re.findall(r"\S*\d+\S*|Bob", prompt), 1)) or "They talk."


def long_view(language: str = "en", exchanges: int = 12, words: int = 12) -> ConversationView:
    role, user = (TIM, "Me") if language == "en" else (WUKONG, "我")
    lines = (
        ["My name is Bob.", "Nice to meet you, Bob."] if language == "en" else ["我叫小明。", "很高兴认识你，小明。"]
    )
    fill = "and so on it went " if language == "en" else "就这样一直说下去"
    for n in range(exchanges):
        lines += [fill * (words // 4) + f"line {n * 7 + 100}.", fill * (words // 4) + "yes."]
    turns = tuple(Turn(id=str(n), speaker=(user, role.name)[n % 2], text=line) for n, line in enumerate(lines))
    return ConversationView(role=role, turns=turns)


def summarizer(model: Any, window: int, notices: list[str] | None = None) -> tuple[Summarize, Organize]:
    organize = Organize(COUNT, window)
    received = notices if notices is not None else []
    return Summarize(model, COUNT, window, organize.fits, notify=received.append), organize


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
def test_named_items_are_names_numbers_dates_and_quoted_words(text: str, found: list[str]) -> None:
    assert named_items(text) == found


def test_missing_items_compares_whole_numbers_and_names_without_case() -> None:
    assert missing_items(["Room 12 is Ann's."], "Ann has room 120.") == ["12"]
    assert missing_items(["Room 12 is for Ann."], "ANN: room 12") == []
    assert invented_items("Bob tells Ann: 7 buns.", "Ann and bob had 7 buns") == []
    assert invented_items("Tim tells of Zoe and 8 buns.", "Tim had 7 buns") == ["Zoe", "8"]


def test_nothing_is_summarized_while_the_prompt_fits() -> None:
    model = Summarizer(answer=facts_only, prompts=[])
    assert summarizer(model, 4000)[0].invoke(long_view()) == ()
    assert model.prompts == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_old_turns_become_scenes_with_their_ids_and_the_last_turns_stay(language: str) -> None:
    view = long_view(language)
    window = 420 if language == "en" else 700
    step, organize = summarizer(Summarizer(answer=lambda prompt: facts_only(prompt) + "\n小明", prompts=[]), window)
    assert not organize.fits(view)
    after = view.with_scenes(step.invoke(view))
    assert organize.fits(after)
    assert [turn.id for turn in after.visible_turns] == [turn.id for turn in view.turns[-4:]]
    replaced = {turn_id for scene in after.scenes for turn_id in scene.turn_ids}
    assert replaced == {turn.id for turn in view.turns[:-4]}
    text = " ".join(scene.text for scene in after.scenes)
    assert missing_items([turn.text for turn in view.turns[:-4]], text) == []


def test_facts_that_the_model_loses_are_summarized_again_in_halves_and_then_kept_word_for_word() -> None:
    view = long_view()
    model = Summarizer(answer=lambda prompt: "They talk of the weather.", prompts=[])
    step, organize = summarizer(model, 420)
    after = view.with_scenes(step.invoke(view))
    texts = [scene.text for scene in after.scenes]
    assert 'Me: "My name is Bob."' in texts
    assert 'Tim: "Nice to meet you, Bob."' not in texts, "one turn with the name is enough"
    assert missing_items([turn.text for turn in view.turns[:-4]], " ".join(texts)) == []
    whole, first, second, *_ = model.prompts
    assert f"{first}\n{second}" == whole


def test_a_latin_word_that_nobody_said_is_invented_in_a_chinese_line() -> None:
    assert invented_items("我告诉 born青禾：我叫林舟。", "我叫林舟。 青禾") == ["born"]
    assert not invented_items("我告诉青禾：我的狗叫 Rex。", "我的狗叫 Rex。 青禾")
    assert not invented_items("Me tells Edda: let us meet.", "Let us meet. Edda Me")


def test_invented_names_and_numbers_never_become_scenes() -> None:
    model = Summarizer(answer=lambda prompt: f"Zoe owes Tim 9999 pounds.\n{facts_only(prompt)}", prompts=[])
    step, _ = summarizer(model, 420)
    text = " ".join(scene.text for scene in step.invoke(long_view()))
    assert "Bob" in text
    assert "Zoe" not in text
    assert "9999" not in text


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
def test_a_repetition_loop_is_distinguished_from_an_ordinary_line(line: str, loops: bool) -> None:
    assert is_degenerate(line) is loops


def test_a_line_that_attributes_a_turn_to_the_wrong_speaker_is_misattributed() -> None:
    turns = [("Me", "My name is Bob."), ("Tim", "I lost my lamp.")]
    assert is_misattributed("Me tells Tim: I lost my lamp.", turns)
    assert not is_misattributed("Tim tells Me: I lost my lamp.", turns)
    assert not is_misattributed("Me and Tim talk of a lamp.", turns)
    assert not is_misattributed(
        "Meet me at the old mill.", [("Me", "Hello there."), ("Tim", "Meet me at the old mill.")]
    )
    assert not is_misattributed("我的法宝是金箍棒。", [("我", "你好。"), ("悟空", "我的法宝是金箍棒。")])
    assert is_misattributed("我告诉悟空：我的法宝是金箍棒。", [("我", "你好。"), ("悟空", "我的法宝是金箍棒。")])


class NoRobots:
    """A reviser that rejects every line about robots."""

    def keeps_scene(self, line: str, texts: Sequence[str]) -> bool:
        return "robot" not in line


def test_a_reviser_rejects_lines_of_a_summary() -> None:
    turns = (Turn(id="1", speaker="Me", text="Let us meet at 8:15."), Turn(id="2", speaker="Tim", text="Well."))
    view = ConversationView(role=TIM, turns=turns)
    for reviser in (None, NoRobots()):
        model = ScriptedChatModel(responses=["They meet a robot.\nMe tells Tim: Let us meet at 8:15."])
        step = Summarize(model, COUNT, 400, lambda *_: False, reviser=reviser)
        lines = step.scene_lines(turns, view)
        assert ("They meet a robot." in lines) is (reviser is None)
        assert "Me tells Tim: Let us meet at 8:15." in lines


def test_repetition_loops_and_misattributed_lines_never_become_scenes() -> None:
    wrong = "Tim tells Me: My name is Bob."
    model = Summarizer(answer=lambda prompt: f"{'Tim and ' * 20}\n{wrong}\n{facts_only(prompt)}", prompts=[])
    step, _ = summarizer(model, 420)
    texts = [scene.text for scene in step.invoke(long_view())]
    assert texts
    assert wrong not in texts
    assert not any("Tim and Tim" in text for text in texts)


def test_when_the_model_fails_nothing_changes_and_a_notice_says_so() -> None:
    def broken(prompt: str) -> str:
        raise ModelError("the server is down")

    notices: list[str] = []
    step, _ = summarizer(Summarizer(answer=broken, prompts=[]), 420, notices)
    assert step.invoke(long_view()) == ()
    assert notices == ["the earlier turns could not be summarized and stay as they are: the server is down"]


def test_an_exhausted_script_is_an_error() -> None:
    with pytest.raises(ScriptExhausted):
        summarizer(ScriptedChatModel(responses=[]), 420)[0].invoke(long_view())


def test_earlier_scenes_are_never_changed() -> None:
    step, organize = summarizer(Summarizer(answer=facts_only, prompts=[]), 420)
    first = long_view().with_scenes(step.invoke(long_view()))
    more = long_view(exchanges=24).turns[26:]
    second = ConversationView(TIM, (*first.turns, *more), first.scenes)
    new = step.invoke(second)
    assert new
    assert min(scene.epoch for scene in new) > max(scene.epoch for scene in first.scenes)
    assert second.with_scenes(new).scenes[: len(first.scenes)] == first.scenes
    assert organize.fits(second.with_scenes(new))


def test_a_turn_longer_than_a_chunk_is_summarized_in_parts() -> None:
    model = Summarizer(answer=facts_only, prompts=[])
    step, organize = summarizer(model, 600)
    huge = Turn(id="huge", speaker="Me", text="It rained for a long time, and nobody came. " * 40 + "Then 77 came.")
    view = ConversationView(TIM, (huge, *long_view(exchanges=2).turns))
    after = view.with_scenes(step.invoke(view))
    assert all(COUNT(prompt) <= 600 for prompt in model.prompts)
    assert organize.fits(after)
    assert "77" in " ".join(scene.text for scene in after.scenes)


def test_when_the_memory_is_full_a_notice_says_so_and_the_record_keeps_every_turn() -> None:
    notices: list[str] = []
    model = Summarizer(answer=lambda prompt: "They talk.", prompts=[])
    step, organize = summarizer(model, 260, notices)
    view = long_view(exchanges=60)
    after = view.with_scenes(step.invoke(view))
    assert organize.fits(after)
    assert len(set(model.prompts)) == len(model.prompts)  # what could not be merged is not summarized again
    assert after.turns == view.turns
    assert any("the memory is full" in notice for notice in notices)


def scenes_of(said: str, *turns: tuple[str, str], reviser: Any = None) -> list[str]:
    """The lines of a summary of ``turns`` by a model that writes ``said``."""
    model = ScriptedChatModel(responses=[said] * 3)
    spoken = tuple(Turn(id=str(n), speaker=speaker, text=text) for n, (speaker, text) in enumerate(turns))
    view = ConversationView(role=TIM if spoken[0].speaker == "Me" else WUKONG, turns=spoken)
    return Summarize(model, COUNT, 400, lambda *_: False, reviser=reviser).scene_lines(spoken, view)


ONE_OF_TWO = ("Me", "The weather is fine. Ann comes at seven. She is never late, you know."), ("Tim", "Good for Ann.")


def test_a_sentence_that_was_lost_is_kept_word_for_word_and_not_its_whole_turn() -> None:
    said = "Ann is never late."
    assert scenes_of(said, *ONE_OF_TWO) == [said, 'Me: "Ann comes at seven."']
    assert scenes_of(f"{said}\nAnn comes at 7.", *ONE_OF_TWO) == [said, "Ann comes at 7."]


def test_of_a_model_whose_drafts_are_revised_whole_turns_are_kept() -> None:
    turns = ("Me", "The weather is fine. Ann comes at 7."), ("Tim", "Good.")
    assert 'Me: "The weather is fine. Ann comes at 7."' in scenes_of("They talk.", *turns, reviser=NoRobots())


@pytest.mark.parametrize(
    ("text", "lost", "kept"),
    [
        ("I am allergic to walnuts.", "They talk about food.", "Me is allergic to walnuts."),
        ("My brother keeps bees.", "They talk about work.", "The brother of Me keeps bees."),
        ("I promise to mend the stove.", "They talk about winter.", "Me promised to mend the stove."),
        ("Do I need a coat?", "", "They talk about coats."),  # a question states nothing
    ],
)
def test_what_the_user_says_about_themselves_is_kept(text: str, lost: str, kept: str) -> None:
    exchange = ("Me", text), ("Tim", "Well, well.")
    assert scenes_of(kept, *exchange) == [kept]
    if lost:
        assert scenes_of(lost, *exchange) == [lost, f'Me: "{text}"']


@pytest.mark.parametrize(
    ("text", "lost", "kept"),
    [
        ("我对花生过敏。", "他们聊吃的。", "我吃花生过敏。"),
        ("我答应你修好炉子。", "他们聊冬天。", "我答应修好炉子。"),
        ("周文彬三点来。", "他们在等人。", "周文彬3点来。"),
        ("我要去桂林。", "我要出门。", "我去桂林。"),
    ],
)
def test_the_same_in_chinese(text: str, lost: str, kept: str) -> None:
    exchange = ("我", text), ("悟空", "好吧。")
    assert scenes_of(kept, *exchange) == [kept]
    assert scenes_of(lost, *exchange) == [lost, f"我：“{text}”"]


def test_a_long_window_is_still_summarized_a_few_turns_at_a_time() -> None:
    model = Summarizer(answer=facts_only, prompts=[])
    view = long_view(exchanges=60)
    Summarize(model, COUNT, 20_000, lambda view, share: bool(view.scenes)).invoke(view)
    sizes = [COUNT(prompt) for prompt in model.prompts]
    assert len(sizes) > 2
    assert max(sizes) <= 400


@pytest.mark.parametrize(
    "wrong",
    [
        "Me is Mr Ashdown.",  # the name that the user called the other
        "Me: called Tim.",
        "Do you still have bread?",
        "Me lives in Oslo.",
    ],
)
def test_a_line_that_asks_or_gives_a_speaker_anothers_name_never_becomes_a_scene(wrong: str) -> None:
    turns = ("Me", "Hello Mr Ashdown. I'm Bob."), ("Tim", "Good day.")
    scenes = scenes_of(f"{wrong}\nMe is called Bob and greets Mr Ashdown.", *turns)
    assert scenes == ["Me is called Bob and greets Mr Ashdown."]


def test_a_name_that_nobody_said_never_becomes_a_scene_in_chinese_either() -> None:
    exchange = ("我", "我要出门。"), ("悟空", "好吧。")
    assert scenes_of("我要出门，因为要去瓦恩。\n我要出门。", *exchange) == ["我要出门。"]


@pytest.mark.parametrize(
    ("language", "copied"),
    [
        ("zh", "我不能穿羊毛，会痒。"),
        ("zh", "悟空用丝绸给大衣做里子。"),  # the example's sentence with a speaker of this conversation
        ("zh", "我答应星期五把布料带来。"),
        ("en", "Tim lines the coat with silk."),
        ("en", "I cannot wear wool, it itches."),
    ],
)
def test_what_the_model_copies_from_the_prompts_example_never_becomes_a_scene(language: str, copied: str) -> None:
    model = Summarizer(answer=lambda prompt: f"{copied}\n{facts_only(prompt)}")
    scenes = summarizer(model, 420)[0].invoke(long_view(language))
    assert scenes and not any(copied in scene.text for scene in scenes)


def test_what_is_said_in_the_words_of_the_example_is_kept() -> None:
    turns = [Turn(speaker="我", text="我不能穿羊毛，会痒。"), Turn(speaker="悟空", text="那我用丝绸。")]
    model = ScriptedChatModel(responses=["我不能穿羊毛，会痒。\n悟空用丝绸。"])
    view = ConversationView(WUKONG, tuple(turns))
    assert summarizer(model, 420)[0].scene_lines(turns, view) == ["我不能穿羊毛，会痒。", "悟空用丝绸。"]
