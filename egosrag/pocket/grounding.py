"""Speech of a model that reads worse than what it reads tells: the card's own sentence, in the first person.

As the manual is quoted where such a model answers from it, so is the card: the sentence that fits the line best, also
by what the model itself would have said. The model's own words stay where no sentence fits: small talk, what the user
told, and that it does not know. What it says of the role by a name or number that stands nowhere is not said.
"""

from __future__ import annotations

import re
from functools import cached_property

from egosrag.egos.extract.evidence import direct_statements
from egosrag.egos.view import ConversationView
from egosrag.pocket.card_matching import PARTS, Asked, Line, card_lines, has, sayable, terms
from egosrag.pocket.first_person import first_person, gender_of, second_person
from egosrag.prompts.render import card
from egosrag.schema import Role
from egosrag.text.repetition import is_degenerate

# From FITS on a line is about the card: small talk shares less with it. A model that says it does not know is believed
# up to PLAIN, which a sentence of the right kind alone seldom reaches: some of the line's words must stand in it.
# Chosen on cards of the grammar's training words and on 36 in natural wording (evals/data/natural.*.json, "tuned");
# what they reach on others: the model card of pocket.
FITS = 0.15
PLAIN = 0.5
RECALLED = 0.45  # from which on a line of the user's is what they ask for
_POINTED_AT = 0.2  # what a sentence gains that has all that the model would have said

_YOU = {"en": "you", "zh": "你"}
_UNKNOWN = {"en": "That I do not know.", "zh": "这个我不知道。"}
_GO_ON = {"en": "I see. Tell me more.", "zh": "我明白了，你接着说。"}
_NOT_TOLD = {"en": "You have not told me.", "zh": "你还没有告诉我。"}
_DECLINES = {"en": r"\bI do not know\b|\bYou have not told me\b", "zh": r"我不知道|你还没有告诉我"}
_TO_THE_USER = {"en": r"(?:You|Your|So you)\b", "zh": r"(?:原来)?[你您]"}
_TO_THE_ROLE = {"en": r"(?i)\b(?:you|your)\b", "zh": r"[你您]"}
_OF_THE_USER = {
    "en": r"(?i)(?<!\ba )(?<!\bthe )(?<!tell )(?<!call )(?<!for )(?<!to )(?<!with )(?<!about )\b(?:my|mine|me|I)\b",
    "zh": r"(?<![叫诉呼跟对给和帮请陪骗问])我(?!们)",
}
_POLITELY = {
    "en": r"(?i)\b(?:may|can|could) I (?:ask|know)\b|\bI(?:['’]d like to know| wonder(?:ed)?| heard)\b",
    "zh": r"我想(?:知道|问)|我听说",
}
_WHO_ARE_YOU = {
    "en": r"(?i)\bwho are you(?=\s*(?:[,.!?]|$))|\bintroduce yourself\b",
    "zh": r"[你您]是谁(?!的|教|带)|介绍.{0,4}自己|自我介绍",
}
_DEFINES = r"\b(?:is|was|am) (?:an?|the)\b|是"
_ADDRESSED = {
    "en": r"(?P<said>.+), (?P<address>[^,.!?]+)(?P<end>[.!?])",
    "zh": r"(?P<address>[^，。！？]{1,6})，(?P<said>.+)(?P<end>)",
}


def grounded(draft: str, talk: ConversationView) -> str:
    """What is said to the last line of ``talk`` instead of ``draft``, or the draft itself where it may stay."""
    return _Grounding(draft, talk).text


class _Grounding:
    """One reply: ``said``, what the model said without the word that it calls the user by, and what becomes of it."""

    def __init__(self, draft: str, talk: ConversationView) -> None:
        self.language, self.talk, self.role = talk.language, talk, _informed(talk)
        self.asked = Asked(talk.turns[-1].text, self.role.name)
        self.lines = self.asked.fits(card_lines(self.role, talk.user or _YOU[self.language]))
        asked = re.sub(_POLITELY[self.language], "", self.asked.text)
        self.of_user = self._finds(_OF_THE_USER, asked)
        lost = not draft or is_degenerate(draft)  # what a model says that lost the thread is nothing to go by
        self.said, address = (self._without(), "") if lost else self._parted(draft)
        self.declines = self._finds(_DECLINES, self.said)
        self.text = _addressed(self._answer(), address, self.language)

    def _without(self) -> str:
        """What is said where the model says nothing."""
        if not self.asked.asks:
            return _GO_ON[self.language]
        return (_NOT_TOLD if self.of_user else _UNKNOWN)[self.language]

    def _answer(self) -> str:
        if not self.of_user:
            return self._from_card()
        recalled = self._recalled()
        asks_role = self._fits(PLAIN) and self._finds(_TO_THE_ROLE, self.asked.text)
        open_to_it = self.said != _NOT_TOLD[self.language] and asks_role
        return self._from_card() if recalled == self.said and open_to_it else recalled

    def _from_card(self) -> str:
        """The card's sentence, what the model said, or that it is not known."""
        if self.lines and self._finds(_WHO_ARE_YOU, self.asked.text):
            defining = [line for line in self.lines if line.part == "background" and re.search(_DEFINES, line.text)]
            return self.said if self.role.name in self.said else self._spoken([*defining, *self.lines][0])
        if not self.lines or (not self.declines and re.match(_TO_THE_USER[self.language], self.said)):
            return self.said
        unknown = self.said if self.declines else _UNKNOWN[self.language]
        if self.asked.asks and self._is_of_strangers():
            return unknown
        if not self._fits(PLAIN if self.declines else FITS):
            return unknown if self.declines or self._is_wrong() else self.said
        claims = self._claims()
        shares = [sum(has(line.text, t) for t in claims) / len(claims) if claims else 0.0 for line in self.lines]
        best = max(range(len(shares)), key=lambda n: self.lines[n].fit + _POINTED_AT * shares[n])
        return self.said if shares[best] == 1.0 else self._spoken(self.lines[best])

    def _spoken(self, line: Line) -> str:
        """A line of the card in the role's own mouth."""
        gender, of_others = gender_of([line.text for line in self.lines]), line.part == "relations"
        names = [name for name in (self.role.name, self.role.nickname) if name]
        return first_person(line.text, names, gender, self.language, of_others=of_others)

    def _recalled(self) -> str:
        """What the user said of what they ask for now, where the model did not find it."""
        lines = self.asked.fits([(sentence, "") for text in self._told() for sentence in sayable(text)])
        best = max(lines, key=lambda line: line.fit, default=Line("", "", 0.0))
        read = any(has(line.text, term) for term in self._claims() for line in lines)
        if read or best.fit < RECALLED or best.text[-1:] in ("?", "？"):
            return self.said
        return second_person(best.text, self.language)

    def _told(self) -> list[str]:
        """What the user said, as far as the prompt still has it: a memory that lost a line has lost it here too."""
        talk, others = self.talk, (self.role.name, *self.talk.others)
        turns = [*talk.visible_turns[:-1], *(found.turn for found in talk.recalled)]
        by_user = rf"{re.escape(talk.user_name)}[^:：]*[:：]\s*[\"“]?(?P<said>.+?)[\"”]?$"  # a line of a scene
        scenes = (re.match(by_user, scene.text) for scene in talk.visible_scenes)
        return [turn.text for turn in turns if turn.speaker not in others] + [m["said"] for m in scenes if m]

    def _claims(self) -> frozenset[str]:
        """What the model says that the line does not."""
        return frozenset() if self.declines else terms(self.said, self.role.name) - self.asked.terms

    def _fits(self, least: float) -> bool:
        return any(line.fit >= least for line in self.lines)

    def _is_of_strangers(self) -> bool:
        """Whether the line is about somebody, or an animal, of whom nothing is told."""
        return any(
            who not in self._known if who[0].isupper() else not any(has(line.text, who) for line in self.lines)
            for who in self.asked.whom
        )

    def _is_wrong(self) -> bool:
        """Whether the draft cannot be right: it has what stands nowhere, or no line has the form of an answer."""
        stray = set(re.findall(r"(?<=[a-z,] )[A-Z]\w*|\d+", self.said)) - self._known - _tokens(self.asked.text) - {"I"}
        foreign = (re.search(r"[\u4e00-\u9fff]", self.said) is None) is (self.language == "zh")
        strict = [kind for kind in self.asked.kinds if kind.strict]
        formless = any(not any(kind.told.search(line.text) for line in self.lines) for kind in strict)
        return bool(stray) or foreign or formless

    @cached_property
    def _known(self) -> set[str]:
        """The names and numbers of all that stands in the prompt beside the line, and its other words."""
        talk = self.talk
        heard = [turn.text for turn in talk.visible_turns[:-1]] + [scene.text for scene in talk.visible_scenes]
        heard += [found.turn.text for found in talk.recalled]
        heard += [place.quote for place in talk.source_hits] + [entry.content for entry in talk.lore]
        return _tokens("\n".join([*heard, card(self.role, self.language, talk.persona)]))

    def _parted(self, draft: str) -> tuple[str, str]:
        """A draft without the word that it calls the user by, and that word where the card has it."""
        found = re.fullmatch(_ADDRESSED[self.language], draft)
        if not found:
            return draft, ""
        said, address = found["said"] + found["end"], found["address"]
        calls = re.compile(rf"(?:call|address|称|叫|喊|管).*{re.escape(address)}(?![a-z])", re.IGNORECASE)
        if any(calls.search(line.text) for line in self.lines):
            return said, address
        return (said if self._finds(_DECLINES, said) else draft), ""

    def _finds(self, patterns: dict[str, str], text: str) -> bool:
        return re.search(patterns[self.language], text) is not None


def _tokens(text: str) -> set[str]:
    """The words of other scripts than Chinese, and the numbers."""
    return set(re.findall(r"[^\W\d_\u4e00-\u9fff]+|\d+", text))


def _addressed(text: str, address: str, language: str) -> str:
    """What is said, with the word by which the role calls people."""
    if not address or address in text:
        return text
    if language == "zh":
        return f"{address}，{text}"
    return f"{text[:-1]}, {address}{text[-1]}" if text[-1:] in (".", "!", "?") else f"{text}, {address}."


def _informed(talk: ConversationView) -> Role:
    """The card with what the places that were found for this line tell of the role directly."""
    found = direct_statements(
        [(place.source, place.quote) for place in talk.source_hits], talk.role.name, 12, resolve_pronouns=True
    )
    parts = {
        part: getattr(talk.role, part) + tuple(item.statement for item in found if item.label == part) for part in PARTS
    }
    return talk.role.model_copy(update=parts)
