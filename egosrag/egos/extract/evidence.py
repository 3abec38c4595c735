"""What Extract believes: labelled lines of a model, each only with the sentence of the source that it stands on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from egosrag.egos.extract.chunks import Piece, mention, sentences
from egosrag.egos.extract.claims import unfounded
from egosrag.schema import Evidence, Statement
from egosrag.text.language import language_of, one_line
from egosrag.text.retention import degenerate, items

LABELS = {
    "en": {
        "background": "Background",
        "personality": "Personality",
        "speaking_style": "Speaking style",
        "relations": "Relations",
    },
    "zh": {"background": "背景", "personality": "性格", "speaking_style": "说话风格", "relations": "关系"},
}
_SPELLED = {
    "background": "background|history|identity|biography|背景(?:故事)?|身份|经历|生平",
    "personality": "personality(?: traits?)?|character|traits?|性格(?:特征|特点)?|个性",
    "speaking_style": "speaking[ _]style|speech(?: style)?|style|tone|说话(?:风格|方式)|语言风格|口头禅",
    "relations": "relations?|relationships?|(?:人物)?关系|亲友",
}
_LABEL = re.compile(
    r"^[\s*#>\-•·\d.)、]*(?:" + "|".join(f"(?P<{key}>{words})" for key, words in _SPELLED.items()) + r")[\s*]*[:：]\s*",
    re.IGNORECASE,
)
_BULLET = re.compile(r"^[\s*#>\-•·]+|^\s*\d{1,2}[.)、]\s*")
_NOTHING = re.compile(
    r"^(?:none|n/a|nothing|unknown|not (?:mentioned|stated)|无|没有|未提及|不详)[.。]?$", re.IGNORECASE
)
_WORD = re.compile(r"[a-z0-9]+(?:['’][a-z]+)?")
_HAN = re.compile(r"[\u4e00-\u9fff]+")
_STOP = frozenset(
    {
        "the", "and", "was", "were", "has", "had", "have", "with", "that", "this", "from", "for", "his",
        "her", "its", "their", "him", "she", "they", "who", "are", "been", "but", "not", "into", "about",
        "also", "very", "than", "then", "there", "which", "what", "when", "where", "will", "would", "can",
        "could", "one", "all", "any", "a", "an", "of", "in", "on", "at", "to", "is", "it", "he", "by", "as",
        "or", "be",
    }
)  # fmt: skip
_PRONOUN = re.compile(r"\b(?:he|she|his|her|him|they|their|i|my|me)\b|[他她它我]", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """A statement under its label, with how well the source supports it, 0 to 1."""

    label: str
    statement: Statement
    score: float


def labelled(text: str) -> list[tuple[str, str]]:
    """The (label, statement) lines of what a model wrote; a line without a label belongs to the one before it."""
    found: list[tuple[str, str]] = []
    label = ""
    for line in text.splitlines():
        match = _LABEL.match(line)
        if match:
            label = str(match.lastgroup)
            line = line[match.end() :]
        said = one_line(_BULLET.sub("", line).replace("**", ""))
        if label and len(said) > 1 and not _NOTHING.match(said):
            found.append((label, said))
    return found


def content(text: str, name: str = "") -> frozenset[str]:
    """What a text is about: the stems of its words, the pairs of its Chinese characters, ``name`` left out."""
    text = mention(name).sub(" ", text) if name else text
    words = {
        word[:6] for word in _WORD.findall(text.lower()) if word not in _STOP and (len(word) > 2 or word.isdigit())
    }
    pairs = {run[i : i + 2] for run in _HAN.findall(text) for i in range(max(1, len(run) - 1))}
    return frozenset(words | pairs)


def support(said: str, name: str, piece: Piece, source: str) -> tuple[Evidence, float] | None:
    """The sentence, or the two that follow each other, of ``piece`` that ``said`` stands on; None: there is none.

    At least half of what it says must stand there, every number and every other name too, be it the first word,
    and the sentence must be about ``name``: by the name, or by a pronoun with the name close before it.
    """
    wanted = content(said, name)
    if not wanted or degenerate(said):
        return None
    spans = sentences(piece.text)
    named = mention(name)
    best: tuple[float, int, tuple[int, int]] | None = None
    for n, (start, end) in enumerate(spans):
        for last in (n, n + 1):
            if last >= len(spans):
                continue
            quote = piece.text[start : spans[last][1]]
            score = len(wanted & content(quote, name)) / len(wanted) - 0.1 * (last - n)
            if score < 0.5 or (best and score <= best[0]):
                continue
            before = piece.text[spans[max(0, n - 3)][0] : end]
            second = piece.text[spans[last][0] : spans[last][1]]
            about = _about(quote, before, named) and (last == n or _about(second, quote, named))
            if about and not unfounded(said, name, quote, piece.text):
                best = (score, last - n, (start, spans[last][1]))
    if best is None:
        return None
    start, end = best[2]
    place = Evidence(source=source, start=piece.start + start, end=piece.start + end, quote=piece.text[start:end])
    return place, best[0]


def _about(quote: str, before: str, named: re.Pattern[str]) -> bool:
    """Whether ``quote`` names the role, or means it by a pronoun: named close before, and nobody else in between."""
    if named.search(quote):
        return True
    pronoun = _PRONOUN.search(quote)
    return bool(pronoun and named.search(before) and not items(quote[: pronoun.start()]))


def merged(found: Iterable[Found], name: str) -> list[Found]:
    """The statements without repetitions; one that is told again keeps every place where it is told."""
    kept: list[tuple[Found, frozenset[str]]] = []
    for new in found:
        about = content(new.statement.text, name)
        for n, (old, old_about) in enumerate(kept):
            alike = len(about & old_about) / max(1, len(about | old_about))
            same_place = {(e.source, e.start) for e in new.statement.evidence} & {
                (e.source, e.start) for e in old.statement.evidence
            }
            if alike >= 0.75 or (same_place and alike >= 0.5):
                places = tuple(dict.fromkeys((*old.statement.evidence, *new.statement.evidence)))
                statement = old.statement.model_copy(update={"evidence": places})
                kept[n] = (Found(old.label, statement, max(old.score, new.score)), old_about)
                break
        else:
            kept.append((new, about))
    return [item for item, _ in kept]


_DOES = {
    "en": "is|was|has|had|lives|lived|works|worked|came|comes|loves|loved|grew",
    "zh": "叫|住|有|喜欢|爱|害怕|当|在|曾",
}
_DIRECT = {
    "en": r"{name}(?:\s+\w+)?\s+(?:(?P<defines>(?:is|was)\s+(?:an?|the|born|from|one)\b)|(?:{does})\b)",
    "zh": r"{name}(?:[，,]|本|原|又|也|就)?(?:(?P<defines>是|乃|为人|出生|生于)|{does})",
}
_FEW = 6
_SPEECH = re.compile(r"[\"“”「」『』]|[:：]")
_MEANT = re.compile(r"(?:He|She)\b|(?P<has>His|Her)\b|[他她]")
# Where a sentence that stands for itself belongs; all others are background.
_BELONGS = {
    "speaking_style": r"\b(?:speak|talk|call(?:s|ed)? (?:every|people|the)|address|voice)"
    r"|说话|称呼|称|嗓|喊|口头禅|语气",
    "relations": r"\b(?:friends?|brother|sister|mother|father|uncle|aunt|cousin|wife|husband|son|daughter|neighbour"
    r"|enem(?:y|ies)|rival|teacher|pupil|master|employer|boss|apprentice|pet|(?:dog|cat|horse) (?:called|named))\b"
    r"|朋友|好友|哥|姐|弟|妹|母亲|父亲|叔|姑|奶奶|爷爷|儿子|女儿|妻|丈夫|邻居|师父|徒弟|敌|对手|老师|老板|东家|养了",
    "personality": r"\b(?:likes?|loves?|fond|favourite|afraid|fears?|scared|hobby|enjoys?|wants? to|dreams?|kind"
    r"|brave|stubborn|patient|character|nature)\b|喜欢|爱|怕|性格|为人|爱好|愿望|梦想|擅长",
}


def direct(sources: Sequence[tuple[str, str]], name: str, most: int = _FEW, *, meant: bool = False) -> list[Found]:
    """Sentences of the sources that tell of ``name`` directly, word for word; none that somebody speaks.

    Those that say who it is come before those that say what it did, and these before those that only name it; what
    happens just then comes last, and never makes more than ``_FEW``.

    Args:
        sources: (name, text) pairs.
        name: of the role.
        most: sentences that are given.
        meant: also those that begin with its pronoun after a sentence that begins with it, the name in its place; each
            behind the label that its words tell, instead of all as background.
    """
    named = mention(name)
    telling = {
        language: re.compile(pattern.format(name=f"(?:{named.pattern})", does=_DOES[language]))
        for language, pattern in _DIRECT.items()
    }
    told: list[tuple[int, int, int, int]] = []
    for number, (_, text) in enumerate(sources):
        tells, goes_on = telling[language_of(text[:4000])], False
        for start, end in sentences(text) if named.search(text) else ():
            sentence = text[start:end]
            pronoun = bool(goes_on and _MEANT.match(sentence))
            goes_on = pronoun or bool(named.match(sentence))
            fits = (4 if meant else 8) <= len(sentence) <= 200
            if fits and (named.search(sentence) or (meant and pronoun)) and not _SPEECH.search(sentence):
                found = tells.search(sentence)
                rank = 3 + pronoun if not found else (not found.group("defines")) + (found.start() > 0)
                told.append((rank if rank < 3 or _lasts(sentence, name) else rank + 2, number, start, end))
    ranked = sorted(told)
    lasting = [place for place in ranked if place[0] < 5]
    kept = sorted(lasting[:most] if len(lasting) > _FEW else ranked[: min(most, _FEW)], key=lambda place: place[1:])
    return [_verbatim(*sources[number], start, end, name if meant else "") for _, number, start, end in kept]


def _lasts(sentence: str, name: str) -> bool:
    """Whether a sentence tells more than what happens just now: it has a number, another name, or a label's word."""
    said = mention(name).sub("", sentence)
    return bool(items(said) or any(re.search(words, said) for words in _BELONGS.values()))


def _verbatim(source: str, text: str, start: int, end: int, name: str) -> Found:
    place = Evidence(source=source, start=start, end=end, quote=text[start:end])
    said, label = one_line(place.quote), "background"
    if name:
        label = next((label for label, words in _BELONGS.items() if re.search(words, said)), label)
        if (pronoun := _MEANT.match(said)) and not mention(name).search(said):
            said = name + ("'s" if pronoun.group("has") else "") + said[pronoun.end() :]
    return Found(label, Statement(text=said, evidence=(place,)), 0.5)
