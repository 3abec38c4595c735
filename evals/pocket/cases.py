"""The cases of ``evals.pocket``: questions asked through the pipeline, and whether the replies are right.

Cards, conversations and passages are drawn from the grammar with words (split "names") or words and wordings
(split "wordings") that training never saw; the seeds are fixed. A record is ``{"asked", "said", "right", ...}``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from langchain_core.messages import convert_to_messages

from egosrag import Conversation, ManualEngine, ManualIndex, assemble
from egosrag.egos.pipeline import MemorySettings
from egosrag.models.continuation import continue_prefix
from egosrag.models.traits import traits_of
from egosrag.prompts import load, render
from egosrag.schema import Role
from evals.common.records import Record
from finetune.pocket.grammar import Dice, Sample, draw
from finetune.pocket.grammar.baseline import contains_values, lexical_answer
from finetune.pocket.grammar.conversation import RandomConversation, user_fact
from finetune.pocket.grammar.sample import table

TURNS = 8  # facts that a user states before the first is asked for
BUDGET = 330  # tokens beside the card: so few that Summarize has to run within such a conversation

Case = Callable[[Any, str, str, int], Record]


def declined(text: str, language: str) -> bool:
    """Whether a reply says that this is unknown, or that the user did not mention it."""
    words = table("talk", language)
    return any(words[name].strip(".。") in text for name in ("not_told", "unknown"))


def contains(text: str, value: str) -> bool:
    """Whether ``text`` contains ``value``, ignoring case and blanks."""
    return "".join(value.lower().split()) in "".join(text.lower().split())


def _talk(language: str, split: str, n: int, family: str) -> tuple[Dice, RandomConversation]:
    dice = Dice(f"eval/{n}/{family}", language, split)
    return dice, RandomConversation(dice)


def conversation_with(model: Any, role: Role, window: int | None = None, keep_turns: int = 4) -> Conversation:
    """A conversation with static memory, with the reviser that the model needs."""
    memory = MemorySettings("static", keep_turns=keep_turns)
    return Conversation(model, role, memory=memory, window=window, reviser=assemble.reviser_for(model))


def card_fact(model: Any, language: str, split: str, n: int) -> Record:
    """A fact of a card that the model never saw: does the reply contain its value, and is the quote closed?

    When the question contains the value ("Who is Tom?"), the card's own statement is right too, beside the grammar's.
    """
    dice, talk = _talk(language, split, n, "card_fact")
    fact = dice.of(talk.facts)
    reply = conversation_with(model, talk.role).say(fact.ask)
    record = _said(fact.ask, reply.text, fact.value)
    return record | {
        "right": record["right"] or _is_statement(reply.text, fact.says),
        "closed": reply.stop_reason == "quote",
    }


def _is_statement(said: str, statement: str) -> bool:
    """Whether a reply is the card's own ``statement`` (without its subject), in any grammatical person."""
    words = re.findall(r"[\u4e00-\u9fff]+|[A-Za-z]{4,}", re.sub(r"{\w+}", " ", statement))
    stems = [word[: max(3, len(word) - 2)].lower() if word.isascii() else word for word in words]  # "keeps", "keep"
    return bool(stems) and all(stem in said.lower() for stem in stems)


def unknown(model: Any, language: str, split: str, n: int) -> Record:
    """A question that neither the card nor the user answers: is it declined?"""
    _, talk = _talk(language, split, n, "unknown")
    ask, _, _ = talk.exchange("unknown")
    reply = conversation_with(model, talk.role).say(ask)
    right = declined(reply.text, language)
    return {"asked": ask, "said": reply.text, "right": right, "closed": reply.stop_reason == "quote"}


def _window(model: Any, role: Role, language: str) -> int:
    return int(model.get_num_tokens(render.card(role, language, prompts=traits_of(model).prompts))) + BUDGET


def recall(model: Any, language: str, split: str, n: int, *, short: bool = False, turns: int = 3) -> Record:
    """The first fact that the user stated, asked for after other lines; with a ``short`` window, from the summary."""
    dice, talk = _talk(language, split, n, "recall")
    items = [user_fact(dice, key) for key in dice.random.sample(list(table("talk", language)["told"]), turns)]
    window = _window(model, talk.role, language) if short else None
    conversation = conversation_with(model, talk.role, window=window, keep_turns=2)
    for item in items:
        conversation.say(item.line)
    reply = conversation.say(items[0].ask)
    scenes = [scene.text for scene in conversation.scenes()]
    return _said(items[0].ask, reply.text, items[0].value) | {
        "closed": reply.stop_reason == "quote",
        "summarized": bool(scenes),
        "kept": any(items[0].value.lower() in scene.lower() for scene in scenes),
    }


def recall_summarized(model: Any, language: str, split: str, n: int) -> Record:
    """As ``recall``, after so many lines that Summarize has condensed the first."""
    return recall(model, language, split, n, short=True, turns=TURNS)


def passages(model: Any, language: str, split: str, n: int) -> Record:
    """A question about drawn passages, each a page of a manual, through the manual engine."""
    sample = draw("manual", language, f"eval/{n}", split=split)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "manual.jsonl"
        rows = [{"page": page, "text": text} for page, text in enumerate(sample.passages, 1)]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        answer = ManualEngine(ManualIndex.build([file]), model).ask(sample.question)
    where = [page for page, text in enumerate(sample.passages, 1) if _reason(sample.answer, language) in text]
    return _grounded(sample, answer.answer) | {
        "refused": answer.refused,
        "passage": any(citation.page in where for citation in answer.citations),
    }


def passages_written(model: Any, language: str, split: str, n: int) -> Record:
    """The same question answered by the model alone, without the engine."""
    sample = draw("manual", language, f"eval/{n}", split=split)
    said = _answer(model, sample)
    reason = _reason(said, language)
    return _grounded(sample, said) | {
        "refused": load("refusal", language).text() in said,
        "passage": any(reason and reason in sentence for sentence in sample.sentences),
    }


def _reason(answer: str, language: str) -> str:
    """An answer without its yes or no."""
    for verdict in table("manual", language)["verdicts"].values():
        answer = answer.removeprefix(verdict).strip()
    return answer


def _grounded(sample: Sample, said: str) -> Record:
    hopeless = sample.answer == load("refusal", sample.language).text()
    guess = lexical_answer(sample)
    return _said(sample.question, said, sample.value) | {
        "hopeless": hopeless,
        "baseline": contains_values(sample, guess or ""),
    }


def summary(model: Any, language: str, split: str, n: int) -> Record:
    """The user's facts, summarized by Summarize with its checks: the share that the scenes contain."""
    dice, talk = _talk(language, split, n, "summary")
    items = [user_fact(dice, key) for key in dice.random.sample(list(table("talk", language)["told"]), TURNS)]
    window = _window(model, talk.role, language)
    conversation = conversation_with(model, talk.role, window=window, keep_turns=2)
    for item in items:
        conversation.say(item.line)
    while not conversation.scenes():  # a short card leaves budget for more
        conversation.say(items[-1].line)
    scenes = conversation.scenes()
    condensed = {turn_id for scene in scenes for turn_id in scene.turn_ids}
    lines = {turn.text for turn in conversation.turns() if turn.id in condensed}
    values = [item.value for item in items if item.line in lines]
    said = "\n".join(scene.text for scene in scenes)
    share = sum(value.lower() in said.lower() for value in values) / len(values)
    return {"asked": "\n".join(item.line for item in items if item.line in lines), "said": said, "right": share}


def summary_written(model: Any, language: str, split: str, n: int) -> Record:
    """A conversation summarized by the model alone: the share of the user's facts that its lines contain."""
    sample = draw("summarize", language, f"eval/{n}", split=split)
    said = _answer(model, sample)
    values = [value for value in sample.value.split("\n") if value]
    share = sum(value.lower() in said.lower() for value in values) / len(values)
    return {"asked": sample.messages[1][1], "said": said, "right": share}


def card(model: Any, language: str, split: str, n: int) -> Record:
    """A card extracted from a source by Extract with its checks: the share of the stated facts that it contains."""
    sample = next(s for k in range(100) if _has_facts(s := draw("extract", language, f"eval/{n}/{k}", split=split)))
    name = sample.question
    expected = [line.split(":" if language == "en" else "：", 1)[1].strip(" .。") for line in sample.answer.split("\n")]
    role = assemble.extract_step(model).invoke(([("source", " ".join(sample.sentences))], name))
    parts = (role.background, role.personality, role.speaking_style, role.relations)
    stated = "\n".join(statement.text for part in parts for statement in part)
    share = sum(line in stated for line in expected) / len(expected)
    return {"asked": name, "said": stated, "right": share}


def _has_facts(sample: Sample) -> bool:
    return sample.answer != table("extract", sample.language)["none"] and not sample.messages[1][1].count("\n\n\n")


def condensed(model: Any, language: str, split: str, n: int) -> Record:
    """A follow-up rewritten as a standalone question: does it name the part?"""
    sample = draw("condense", language, f"eval/{n}", split=split)
    return _said(sample.question, _answer(model, sample), sample.value) | {
        "baseline": contains_values(sample, sample.question)
    }


CASES: dict[str, Case] = {
    "card_fact": card_fact,
    "card_fact_written": card_fact,
    "unknown": unknown,
    "recall": recall,
    "recall_summarized": recall_summarized,
    "passages": passages,
    "passages_written": passages_written,
    "summary": summary,
    "summary_written": summary_written,
    "card": card,
    "condensed": condensed,
}


def _said(asked: str, said: str, value: str) -> Record:
    return {"asked": asked, "said": said, "value": value, "right": contains(said, value)}


def _answer(model: Any, sample: Sample) -> str:
    *prompt, (_, prefix) = sample.messages
    return "".join(str(chunk.text) for chunk in continue_prefix(model, convert_to_messages(prompt), prefix))
