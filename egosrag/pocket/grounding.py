"""Extractive replies for the embedded model: its draft is replaced by the best matching sentence of the role's card.

The model is too small to read cards reliably, so its reply is only a draft. The sentence of the card that scores best
for the user's line (``card_matching``), also by its overlap with the draft, is spoken in its place, in the first
person (``first_person``). The draft stays where no sentence scores high enough: small talk, what the user said before,
and that the role does not know. A draft with a name or number that appears nowhere in the prompt is replaced by "That I
do not know."
"""

from __future__ import annotations

import re
from functools import cached_property

from egosrag.egos.extract.evidence import direct_statements
from egosrag.egos.view import ConversationView
from egosrag.pocket.card_matching import (
    PARTS,
    ScoredSentence,
    UserLine,
    card_sentences,
    contains_term,
    search_terms,
    speakable_sentences,
)
from egosrag.pocket.first_person import first_person, gender_of, second_person
from egosrag.prompts.render import card, macro_scope
from egosrag.schema import Role
from egosrag.text.repetition import is_degenerate

# Thresholds on the score of the best sentence. They were chosen on cards in the words of the training grammar and on 36
# in natural wording (evals/data/natural.*.json, "tuned"); results on other cards are in the model card of pocket.
CARD_SCORE = 0.15  # from here on a line is about the card; small talk scores less
# From here on the card is quoted although the model says that it does not know. Matching the kind of question alone
# seldom scores so high: the sentence also has some of the line's words.
OVERRULE_SCORE = 0.5
USER_SCORE = 0.45  # from here on an earlier line of the user is the answer to what they ask about themselves
_DRAFT_BONUS = 0.2  # times the share of the draft's new terms that a sentence contains

_YOU = {"en": "you", "zh": "你"}
_UNKNOWN = {"en": "That I do not know.", "zh": "这个我不知道。"}
_ACKNOWLEDGEMENT = {"en": "I see. Tell me more.", "zh": "我明白了，你接着说。"}
_NOT_TOLD = {"en": "You have not told me.", "zh": "你还没有告诉我。"}
_DECLINES = {"en": r"\bI do not know\b|\bYou have not told me\b", "zh": r"我不知道|你还没有告诉我"}
_ADDRESSES_USER = {"en": r"(?:You|Your|So you)\b", "zh": r"(?:原来)?[你您]"}
_ADDRESSES_ROLE = {"en": r"(?i)\b(?:you|your)\b", "zh": r"[你您]"}
_MENTIONS_USER = {
    "en": r"(?i)(?<!\ba )(?<!\bthe )(?<!tell )(?<!call )(?<!for )(?<!to )(?<!with )(?<!about )\b(?:my|mine|me|I)\b",
    "zh": r"(?<![叫诉呼跟对给和帮请陪骗问])我(?!们)",
}
_POLITE_PHRASE = {
    "en": r"(?i)\b(?:may|can|could) I (?:ask|know)\b|\bI(?:['’]d like to know| wonder(?:ed)?| heard)\b",
    "zh": r"我想(?:知道|问)|我听说",
}
_WHO_ARE_YOU = {
    "en": r"(?i)\bwho are you(?=\s*(?:[,.!?]|$))|\bintroduce yourself\b",
    "zh": r"[你您]是谁(?!的|教|带)|介绍.{0,4}自己|自我介绍",
}
_DEFINES = r"\b(?:is|was|am) (?:an?|the)\b|是"
_WITH_ADDRESS = {
    "en": r"(?P<text>.+), (?P<address>[^,.!?]+)(?P<end>[.!?])",
    "zh": r"(?P<address>[^，。！？]{1,6})，(?P<text>.+)(?P<end>)",
}


def revise_reply(draft: str, view: ConversationView) -> str:
    """The reply to the last line of ``view``: a sentence of the card, or the draft where it may stay.

    Args:
        draft: what the model generated; empty if it generated nothing usable.
        view: the conversation, with what was retrieved for its last line.
    """
    return _Revision(draft, view).reply


class _Revision:
    """The revision of one draft.

    Attributes:
        line: the line to answer.
        sentences: the card's sentences with their scores for the line.
        about_user: whether the line is about the user ("my dog").
        draft: the model's draft without a form of address ("..., sailor").
        declines: whether the draft says that the role does not know.
        reply: the result.
    """

    def __init__(self, draft: str, view: ConversationView) -> None:
        self.language, self.view, self.role = view.language, view, _with_source_hits(view)
        self.line = UserLine(view.turns[-1].text, self.role.name)
        scope = macro_scope(
            self.role, self.language, view.persona, user=view.user or _YOU[self.language], situation=view.situation
        )
        self.sentences = self.line.score(card_sentences(self.role, scope))
        text = re.sub(_POLITE_PHRASE[self.language], "", self.line.text)
        self.about_user = self._matches(_MENTIONS_USER, text)
        unusable = not draft or is_degenerate(draft)
        self.draft, address = (self._default_draft(), "") if unusable else self._split_address(draft)
        self.declines = self._matches(_DECLINES, self.draft)
        self.reply = _with_address(self._answer(), address, self.language)

    def _default_draft(self) -> str:
        """The draft in place of an unusable one."""
        if not self.line.is_question:
            return _ACKNOWLEDGEMENT[self.language]
        return (_NOT_TOLD if self.about_user else _UNKNOWN)[self.language]

    def _answer(self) -> str:
        if not self.about_user:
            return self._from_card()
        recalled = self._from_user()
        asks_role = self._has_score(OVERRULE_SCORE) and self._matches(_ADDRESSES_ROLE, self.line.text)
        may_use_card = self.draft != _NOT_TOLD[self.language] and asks_role
        return self._from_card() if recalled == self.draft and may_use_card else recalled

    def _from_card(self) -> str:
        """The card's sentence, the draft, or that the role does not know."""
        if self.sentences and self._matches(_WHO_ARE_YOU, self.line.text):
            defining = [s for s in self.sentences if s.part == "background" and re.search(_DEFINES, s.text)]
            return self.draft if self.role.name in self.draft else self._spoken([*defining, *self.sentences][0])
        if not self.sentences or (not self.declines and re.match(_ADDRESSES_USER[self.language], self.draft)):
            return self.draft
        unknown = self.draft if self.declines else _UNKNOWN[self.language]
        if self.line.is_question and self._is_about_strangers():
            return unknown
        if not self._has_score(OVERRULE_SCORE if self.declines else CARD_SCORE):
            return unknown if self.declines or self._is_wrong() else self.draft
        claims = self._claims()
        shares = [
            sum(contains_term(s.text, term) for term in claims) / len(claims) if claims else 0.0 for s in self.sentences
        ]
        best = max(range(len(shares)), key=lambda n: self.sentences[n].score + _DRAFT_BONUS * shares[n])
        return self.draft if shares[best] == 1.0 else self._spoken(self.sentences[best])

    def _spoken(self, sentence: ScoredSentence) -> str:
        """A sentence of the card in the first person."""
        gender, of_others = gender_of([s.text for s in self.sentences]), sentence.part == "relations"
        names = [name for name in (self.role.name, self.role.nickname) if name]
        return first_person(sentence.text, names, gender, self.language, of_others=of_others)

    def _from_user(self) -> str:
        """The user's own earlier sentence that answers their question, if the draft does not use it already."""
        sentences = self.line.score(
            [(sentence, "") for text in self._user_texts() for sentence in speakable_sentences(text)]
        )
        best = max(sentences, key=lambda sentence: sentence.score, default=ScoredSentence("", "", 0.0))
        used = any(contains_term(sentence.text, term) for term in self._claims() for sentence in sentences)
        if used or best.score < USER_SCORE or best.text[-1:] in ("?", "？"):
            return self.draft
        return second_person(best.text, self.language)

    def _user_texts(self) -> list[str]:
        """The user's earlier lines that are in the prompt, as turns, recalled turns or scenes; no others are used."""
        view, roles = self.view, (self.role.name, *self.view.others)
        turns = [*view.visible_turns[:-1], *(hit.turn for hit in view.recalled)]
        by_user = rf"{re.escape(view.user_name)}[^:：]*[:：]\s*[\"“]?(?P<text>.+?)[\"”]?$"  # a line of a scene
        scenes = (re.match(by_user, scene.text) for scene in view.visible_scenes)
        return [turn.text for turn in turns if turn.speaker not in roles] + [m["text"] for m in scenes if m]

    def _claims(self) -> frozenset[str]:
        """The terms of the draft that are not in the line."""
        return frozenset() if self.declines else search_terms(self.draft, self.role.name) - self.line.terms

    def _has_score(self, minimum: float) -> bool:
        return any(sentence.score >= minimum for sentence in self.sentences)

    def _is_about_strangers(self) -> bool:
        """Whether the line is about a person or animal that neither the prompt nor the card mentions."""
        return any(
            subject not in self._known
            if subject[0].isupper()
            else not any(contains_term(sentence.text, subject) for sentence in self.sentences)
            for subject in self.line.subjects
        )

    def _is_wrong(self) -> bool:
        """Whether the draft cannot be right.

        That is: it has a name or number that appears nowhere in the prompt, it is in the other language, or the
        question requires a form of answer that no sentence of the card has.
        """
        names = set(re.findall(r"(?<=[a-z,] )[A-Z]\w*|\d+", self.draft))
        invented = names - self._known - _words(self.line.text) - {"I"}
        foreign = (re.search(r"[\u4e00-\u9fff]", self.draft) is None) is (self.language == "zh")
        strict = [kind for kind in self.line.kinds if kind.strict]
        unanswerable = any(not any(kind.answer.search(s.text) for s in self.sentences) for kind in strict)
        return bool(invented) or foreign or unanswerable

    @cached_property
    def _known(self) -> set[str]:
        """All words and numbers of the prompt, without its last line."""
        view = self.view
        texts = [turn.text for turn in view.visible_turns[:-1]] + [scene.text for scene in view.visible_scenes]
        texts += [hit.turn.text for hit in view.recalled]
        texts += [hit.quote for hit in view.source_hits] + [entry.content for entry in view.lore]
        return _words("\n".join([*texts, card(self.role, self.language, view.persona, "pocket")]))

    def _split_address(self, draft: str) -> tuple[str, str]:
        """A draft without the word that addresses the user, and this word if the card says that the role uses it."""
        match = re.fullmatch(_WITH_ADDRESS[self.language], draft)
        if not match:
            return draft, ""
        text, address = match["text"] + match["end"], match["address"]
        addresses = re.compile(rf"(?:call|address|称|叫|喊|管).*{re.escape(address)}(?![a-z])", re.IGNORECASE)
        if any(addresses.search(sentence.text) for sentence in self.sentences):
            return text, address
        return (text if self._matches(_DECLINES, text) else draft), ""

    def _matches(self, patterns: dict[str, str], text: str) -> bool:
        return re.search(patterns[self.language], text) is not None


def _words(text: str) -> set[str]:
    """The numbers of a text, and its words in other scripts than Chinese."""
    return set(re.findall(r"[^\W\d_\u4e00-\u9fff]+|\d+", text))


def _with_address(text: str, address: str, language: str) -> str:
    """A reply with the word by which the role addresses people, if it is not in it already."""
    if not address or address in text:
        return text
    if language == "zh":
        return f"{address}，{text}"
    return f"{text[:-1]}, {address}{text[-1]}" if text[-1:] in (".", "!", "?") else f"{text}, {address}."


def _with_source_hits(view: ConversationView) -> Role:
    """The card, with the sentences about the role from what dynamic Extract retrieved for this line."""
    quoted = direct_statements(
        [(hit.source, hit.quote) for hit in view.source_hits], view.role.name, 12, resolve_pronouns=True
    )
    parts = {
        part: getattr(view.role, part) + tuple(item.statement for item in quoted if item.label == part)
        for part in PARTS
    }
    return view.role.model_copy(update=parts)
