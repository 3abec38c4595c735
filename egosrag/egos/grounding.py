"""Whether an answer to a question of fact is grounded in the prompt, by the model's own likelihoods.

Asked for an age or a name that neither the card nor the conversation states, a small model invents one, whatever its
instructions say, and instructions strong enough to stop that make it deny what the card does state. But its
likelihoods separate the two: an answer that was read from the prompt is far less likely without card and conversation,
an invented one hardly. The difference a token is the pointwise mutual information of answer and prompt (Church and
Hanks 1990; as a measure of faithfulness: van der Poel et al. 2022, "Mutual Information Alleviates Hallucinations in
Abstractive Summarization"). docs/prompts.md has the measurements.

Only questions of fact are judged: a role may invent what it sees, thinks and does in a scene.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from statistics import fmean
from typing import Any

from langchain_core.messages import AIMessage

from egosrag.egos.view import Composed
from egosrag.models.traits import unbound
from egosrag.text.named_items import invented_items
from egosrag.text.numbers import number_values, spelled_numbers
from egosrag.text.sentences import sentence_spans

MIN_INFORMATION = 0.8
"""Nats a token that an answer must gain from card and conversation; below, it counts as invented."""

_LEAST_CHARACTERS = {"en": 12, "zh": 5}  # of what is judged: "Good morning!" states nothing
_GREETING = re.compile(
    r"(?:good (?:morning|day|afternoon|evening|night)|hello|hi|hey|welcome|greetings|nice to meet you|thank you)\b"
    r"(?!.*\b(?:i|i'm|i’m|am|is|was)\b).{0,30}$"
    r"|(?:(?:您|你|大家|各位|阁下|先生|客官)?好|早上好|晚上好|早安|欢迎|幸会|久仰|谢谢)[^我是叫在有]{0,8}$",
    re.IGNORECASE,
)
# Patterns of lines. A question of fact asks for a name, a number, a time, a place, a person or a possession.
_QUESTION = {"en": re.compile(r"\?[\s\"'”’)*]*$"), "zh": re.compile(r"[?？][\s\"'”’」』）)*]*$|[吗呢呀啊啦]$")}
_SEEKS_FACT = {
    "en": re.compile(
        r"\bhow (?:old|many|much|long|tall|far|often|big)\b|\bwho(?:'s|se|m)?\b|\bwhen(?:'s)?\b|\bwhere(?:'s|'d)?\b"
        r"|\bwhich\b|\bwhat (?:year|colou?r|kind|time|day)\b|\b(?:names?|named|called|birthday|age|favou?rite|job)\b"
        r"|\b(?:do|have|did) you (?:have|got|own|keep)\b|\b(?:got )?any (?:pets?|kids?|family|siblings)\b"
        r"|\bwhat(?:'s| is| was| are| were|'re| do| did| does)? (?:\w+ )?(?:your|his|her|my|their|that|the|you)\b",
        re.IGNORECASE,
    ),
    "zh": re.compile(
        r"多[大少久高重长远]|几|谁|哪|何[时处地人]|什么时候|什么名|[叫姓](?:什么|啥)|名字|生日|高寿|贵[庚姓]"
        r"|(?:喜欢|爱|讨厌|怕|拿手).{0,6}(?:什么|啥)|有没有|有.{0,8}吗|是(?:什么|干嘛|做|干)|什么.{0,6}的$"
        r"|(?:做|干|学|教|卖|养|管|吃|喝|会|修|种|写|得|送|背|用|拿)(?:的是|了|过)?(?:什么|啥)",
    ),
}
# What a role sees, thinks and feels, and what is to be done, it may invent.
_SEEKS_TALK = {
    "en": re.compile(
        r"\b(?:think|feel|feeling|see|hear|smell|mean|want|wish|would|should|could|shall|can|may|might|if|advice"
        r"|suggest|tonight|tomorrow|how are|what now|(?:going )?on here)\b|\bwhat(?:'s| is) (?:wrong|up|the matter)\b"
        r"|\b(?:happen|will you|make of|laugh|miss|best|this morning|today)\b",
        re.IGNORECASE,
    ),
    "zh": re.compile(
        r"觉得|认为|怎么[看办样]|看[见到]|听[见到]|想[要不做干]|打算|如果|要是|应该|该不该|能不能|可以|感觉|怎么了|今[天早晚]|早上|什么时候最|最.{0,4}时候"
    ),
}


def can_judge(model: Any) -> bool:
    """Whether ``model`` states the likelihood of a given text (``log_likelihoods``)."""
    return hasattr(unbound(model), "log_likelihoods")


def seeks_fact(line: str, language: str) -> bool:
    """Whether ``line`` asks for a fact: a name, a number, a time, a place, a person, a possession."""
    text = line.strip().replace("’", "'")
    return bool(
        _QUESTION[language].search(text)
        and _SEEKS_FACT[language].search(text)
        and not _SEEKS_TALK[language].search(text)
    )


def is_question_of_fact(composed: Composed) -> bool:
    """Whether the last line is another speaker's question of fact, to a role of whom more is known than the name."""
    view = composed.view
    role, turns = view.role, view.turns
    described = role.background or role.personality or role.relations or view.raw_sources or view.source_hits
    is_question = bool(turns) and turns[-1].speaker != composed.speaker and seeks_fact(turns[-1].text, view.language)
    return is_question and bool(described)


def information(model: Any, composed: Composed, text: str) -> float:
    """What the beginning of ``text`` gains from card and conversation, in nats a token.

    Args:
        model: a model that states likelihoods.
        composed: the prompt that ``text`` answers.
        text: the speech, without quotation marks.
    """
    judged = composed.continued(_beginning(text, composed.view.language))
    prefix = AIMessage(composed.prefix)
    scorer = unbound(model)
    informed = scorer.log_likelihoods([*composed.messages, prefix], judged)
    uninformed = scorer.log_likelihoods([*composed.uninformed, prefix], judged)
    return fmean(informed) - fmean(uninformed)


def is_invented(model: Any, composed: Composed, text: str) -> bool:
    """Whether ``text`` names what the prompt does not, or gains too little from it to have been read from it."""
    if not text.strip():
        return False
    judged = _beginning(text, composed.view.language)
    prompt = "\n".join(str(message.text) for message in composed.messages) + composed.prefix
    if invented_items(judged, prompt) or _invented_numbers(judged, prompt):
        return True
    return information(model, composed, text) < MIN_INFORMATION


def _invented_numbers(text: str, prompt: str) -> list[str]:
    """The numbers in English words from ten to ninety-nine that the prompt does not have; others are idioms too."""
    have = number_values(prompt)
    return [written for written, value in spelled_numbers(text) if len(value) == 2 and value not in have]


def _beginning(text: str, language: str) -> str:
    """The first sentence that states something, and what is before it; "Hmm.", a greeting and a question do not."""
    stated = 0
    for end, sentence in _statements(text):
        stated += len(sentence)
        if stated >= _LEAST_CHARACTERS[language]:
            return text[:end].rstrip()
    return text.rstrip()


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """The sentences that are no question and no greeting, each with its end in ``text``."""
    for start, end in sentence_spans(text):
        sentence = text[start:end].strip().rstrip("\"'”’」』 ")
        if sentence and not sentence.endswith(("?", "？")) and not _GREETING.match(sentence):
            yield end, sentence


def states_nothing(text: str) -> bool:
    """Whether ``text`` only greets or asks in return, so that it is no answer to a question of fact."""
    return next(_statements(text), None) is None
