"""Query rewriting (report 6.3.4): from a question with its history to the queries that are searched for.

* A follow-up is made standalone (:class:`FollowUpRewriter`), on by default.
* A question that needs several facts is decomposed into sub-questions, off by default.
* A question for which too little is found is reworded in the manual's terms, off by default.

Queries that a model writes are used only if they are in the question's language and of its size.

Measured on the sample manuals, the right pages among the top 5 passages. English follow-ups: 5 of 8 as they are, 8
standalone by rule (the last question put before), 6 standalone as pocket writes them, 8 with both; so this is on, and
both are searched for. English paraphrases: 10 of 14, 11 with one rewording by hand, 8 with one by pocket. Questions
that need several facts (evals/data/hops.jsonl), all their pages: 17 of 20 as they are, 19 decomposed by hand. So
decomposition and rewording gain little here, rewording loses with a small model, and both are off.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from egosrag.models.traits import traits_of
from egosrag.models.usage import usage_of
from egosrag.prompts import load
from egosrag.prompts.render import question_history
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.refusals import is_refusal
from egosrag.schema import Usage
from egosrag.text.language import language_of, one_line
from egosrag.text.words import is_noun, pairs, without_question_words, words

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

#: earlier (question, answer) pairs, oldest first
History = Sequence[tuple[str, str]]

MAX_SUB_QUESTIONS = 4
_HISTORY_CHARACTERS = 300  # of each turn in the prompt that makes a follow-up standalone: it must fit a small window
_ANSWER_CHARACTERS = 200  # of the last answer in the query that is searched for with it
_LIST_MARKER = re.compile(r"^\s*(?:[-*•]|\d{1,2}[.、)）]|[Qq]\d*[:：.]|问题?\d*[:：]|Question:)?\s*")
_REFERS_BACK = re.compile(
    r"[它其此]|^那|那(?:么|个|怎|要|能|是|如果)|这(?:个|种|样|时|些|项|里)|上述|前者|后者|刚才|之后呢|呢[？?]?$|还有(?:别的|其他)"
    r"|\b(?:it|its|they|them|their|that|those|this|these|one|ones|then|else|same|another)\b|(?<!are )(?<!is )\bthere\b"
    r"|^and\b|^(?:but|so|or|what about|how about)\b.{0,24}$|^why\W*$",
    re.IGNORECASE,
)
_NAMED = re.compile(r"\b(?:the|my|our|your|an?)\s+\w", re.IGNORECASE)  # English: a thing of its own, "the hood"
_GENERAL_ZH = frozenset("时候 东西 地方 问题 办法 方法 情况 功率 时间 速度 温度 压力 型号 容量 讲究".split())  # noqa: SIM905
_SMALL_TALK = re.compile(
    r"(?:hi|hello|hey|good (?:morning|day|afternoon|evening|night)|thanks?(?: you)?(?: (?:very|so) much| a lot)?"
    r"|bye|goodbye|ok(?:ay)?|great|cool|perfect|got it|never ?mind|how are you)(?: there| again| everyone| bye)*"
    r"|(?:您|你|大家)?好[的啊呀吧嘛]*|早上好|晚上好|嗨|哈喽|谢谢[你您啦了]?|多谢|再见|拜拜|明白了?|知道了|收到|没事了?|行[啊吧了]?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class QueryPlan:
    """What is searched for to answer a question.

    Attributes:
        question: the user's question, as it was asked.
        standalone: the question in its standalone forms, the preferred one first; the question itself if it is
            standalone.
        sub_questions: the simple questions of a decomposed one.
        with_last_answer: a follow-up together with the last question and its answer. It finds passages and is no
            evidence for an answer, as it contains what was answered before; empty for a standalone question.
        usage: the tokens that writing the queries took.
    """

    question: str
    standalone: tuple[str, ...]
    sub_questions: tuple[str, ...] = ()
    with_last_answer: str = ""
    usage: Usage = Usage()


def is_small_talk(text: str) -> bool:
    """Whether a text is a greeting, thanks or a goodbye and no question: "hi", "thanks!", "谢谢"."""
    return bool(_SMALL_TALK.fullmatch(one_line(text).strip(" .!?。！？~～,，")))


class QueryRewriter:
    """Plans the queries for a question.

    Args:
        index: the index to be searched: what it contains decides whether a question is standalone.
        model: writes standalone questions, sub-questions and rewordings; None: standalone by rule alone.
        condense: whether follow-ups are made standalone.
        decompose: whether the model decomposes questions; needs a model.
    """

    def __init__(
        self, index: ManualIndex, model: BaseChatModel | None = None, *, condense: bool = True, decompose: bool = False
    ) -> None:
        self._index = index
        self._model = model
        self._follow_ups = FollowUpRewriter(index, model) if condense else None
        self._decompose = decompose

    def plan(self, question: str, history: History = ()) -> QueryPlan:
        """The queries for a question.

        Args:
            question: the last question.
            history: earlier (question, answer) pairs, oldest first.

        Raises:
            ModelError: the model cannot answer.
        """
        forms, with_last_answer, usage = [question], "", Usage()
        if self._follow_ups:
            standalone, usage = self._follow_ups.standalone(question, history)
            if standalone != question:
                # A model's form is never trusted alone: pocket's lost two pages of eight that the rule's form finds.
                forms = list(dict.fromkeys([standalone, f"{one_line(history[-1][0])} {one_line(question)}"]))
                with_last_answer = self._follow_ups.with_last_answer(question, history)
        sub_questions: list[str] = []
        if self._decompose:
            sub_questions, spent = self._sub_questions(forms[0])
            usage += spent
        return QueryPlan(question, tuple(forms), tuple(sub_questions), with_last_answer, usage)

    def reworded(self, question: str, tried: Sequence[str], titles: Iterable[str]) -> tuple[str, Usage]:
        """The question in other words, by the model.

        Args:
            question: the standalone question.
            tried: the queries so far.
            titles: the headings of the passages that they found.

        Returns:
            A query, empty where the model writes none that can be used, and the tokens that it took.
        """
        messages = load("rewrite", language_of(question)).messages(
            titles="\n".join(map(one_line, titles)),
            tried="\n".join(map(one_line, tried)),
            question=one_line(question),
        )
        text, usage = self._ask(messages)
        lines = [_LIST_MARKER.sub("", line).strip() for line in text.splitlines() if line.strip()]
        if not lines or lines[0] in tried or not _is_plausible(lines[0], question):
            return "", usage
        known = self._index.lexical["pages-words"]
        usable = any(known.contains(word) for word in words(without_question_words(lines[0])))
        return (lines[0] if usable else ""), usage

    def _sub_questions(self, question: str) -> tuple[list[str], Usage]:
        """The simple questions that the model decomposes the question into; none if it is simple already."""
        text, usage = self._ask(load("decompose", language_of(question)).messages(question=one_line(question)))
        lines = [_LIST_MARKER.sub("", line).strip() for line in text.splitlines()]
        parts = [part for part in dict.fromkeys(lines) if _is_plausible(part, question) and part != question]
        # One part may share no word with the question (a second hop); if none does, they are about something else.
        terms = set(pairs(without_question_words(question)))
        related = any(terms & set(pairs(without_question_words(part))) for part in parts)
        return (parts[:MAX_SUB_QUESTIONS] if related and len(parts) > 1 else []), usage

    def _ask(self, messages: list[BaseMessage]) -> tuple[str, Usage]:
        from egosrag.models.continuation import complete  # LangChain, which a quoted manual does without

        assert self._model is not None, "decomposition and rewording need a model"
        message = complete(self._model, messages)
        return str(message.text), usage_of(message)


class FollowUpRewriter:
    """Turns follow-ups into standalone questions, by a model or by a rule.

    A question is standalone unless it refers back (it, that, 它, 那) or names too little.
    The model writes the standalone question with the prompt ``condense``; it is used only if it is in the question's
    language and adds at most two words to those of the conversation. Otherwise, and without a model, the last question
    is put before this one.
    """

    def __init__(self, index: ManualIndex, model: BaseChatModel | None = None) -> None:
        self._index = index
        self._model = model

    def is_standalone(self, question: str) -> bool:
        """Whether the question can be searched for without its history.

        It refers back where it says so (it, that, 它, 那), and where it names nothing: "How often?", "要加多少？".
        What it names need not be in the manual, or "What is the capital of France?" would be about the topic before.
        """
        text = one_line(question)
        if _REFERS_BACK.search(text):
            return False
        named = [word for word in words(without_question_words(text)) if len(word) > 1]
        content = set(named)
        known = {word for word in content if self._index.lexical["pages-words"].contains(word)}
        if language_of(text) == "en":
            return len(content) >= 2 or (bool(content) and bool(_NAMED.search(text)))
        things = {word for word in content if is_noun(word) and word not in _GENERAL_ZH}
        if named and text.startswith(named[0]) and named[0] in known & things:
            return True  # its topic comes first: "儿童锁怎么设置？"
        return len(known) >= 2 or len(things) >= 2 or any(is_noun(word, proper=True) for word in content - known)

    def standalone(self, question: str, history: History) -> tuple[str, Usage]:
        """The standalone question, and the tokens that writing it took.

        Args:
            question: the last question.
            history: earlier (question, answer) pairs, oldest first.
        """
        if not history or self.is_standalone(question):
            return question, Usage()
        rewritten, usage = self._rewrite(question, history) if self._model else ("", Usage())
        return rewritten or f"{one_line(history[-1][0])} {one_line(question)}", usage

    def with_last_answer(self, question: str, history: History) -> str:
        """The query that finds a follow-up best without a model: the last question, its answer and this question.

        The answer is in the manual's words and the user's question is not. Follow-ups in users' own words to the sample
        manuals, the right page first: 24 of 24, without the answer 9. It is for retrieval only: it says nothing about
        whether there is an answer.
        """
        if not history or self.is_standalone(question):
            return question
        last_question, last_answer = history[-1]
        answer = "" if is_refusal(last_answer) else one_line(last_answer)[:_ANSWER_CHARACTERS]
        return " ".join(part for part in (one_line(last_question), answer, one_line(question)) if part)

    def prompt(self, question: str, history: History) -> list[BaseMessage]:
        """The messages that ask the model for the standalone question, from the last two turns."""
        language = language_of(question)
        turns = [(one_line(q)[:_HISTORY_CHARACTERS], one_line(a)[:_HISTORY_CHARACTERS]) for q, a in history[-2:]]
        return load("condense", language, traits_of(self._model).prompts).messages(
            history=question_history(turns, language), question=one_line(question)[:_HISTORY_CHARACTERS]
        )

    def _rewrite(self, question: str, history: History) -> tuple[str, Usage]:
        """The model's standalone question; empty where it cannot be trusted."""
        from egosrag.models.continuation import complete

        assert self._model is not None
        message = complete(self._model, self.prompt(question, history))
        text = one_line(str(message.text))
        if not _is_plausible(text, question):
            return "", usage_of(message)
        conversation = set(words(" ".join([question, *(part for turn in history[-2:] for part in turn)])))
        content = words(without_question_words(text))
        trusted = any(w in conversation for w in content) and sum(w not in conversation for w in content) <= 2
        return (text if trusted and text != one_line(question) else ""), usage_of(message)


def _is_plausible(written: str, question: str) -> bool:
    """Whether a query that a model wrote is in the language of ``question`` and not much longer."""
    return 2 <= len(written) <= 4 * len(question) + 120 and language_of(written) == language_of(question)
