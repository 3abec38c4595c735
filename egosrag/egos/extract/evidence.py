"""Evidence for the statements of a card: a model's labelled lines, each with the sentence that supports it.

``direct_statements`` quotes sentences of the sources where no model found anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from egosrag.egos.extract.chunks import Chunk, source_sentences
from egosrag.egos.extract.claims import unsupported_claims
from egosrag.egos.extract.relations import stated_relation
from egosrag.schema import Evidence, Statement
from egosrag.text.language import language_of, one_line
from egosrag.text.named_items import named_items
from egosrag.text.names import mention_pattern
from egosrag.text.repetition import is_degenerate

LABELS = {
    "en": {
        "background": "Background",
        "personality": "Personality",
        "speaking_style": "Speaking style",
        "relations": "Relations",
    },
    "zh": {"background": "背景", "personality": "性格", "speaking_style": "说话风格", "relations": "关系"},
}
_LABEL_SPELLINGS = {
    "background": "background|history|identity|biography|背景(?:故事)?|身份|经历|生平",
    "personality": "personality(?: traits?)?|character|traits?|性格(?:特征|特点)?|个性",
    "speaking_style": "speaking[ _]style|speech(?: style)?|style|tone|说话(?:风格|方式)|语言风格|口头禅",
    "relations": "relations?|relationships?|(?:人物)?关系|亲友",
}
_LABEL = re.compile(
    r"^[\s*#>\-•·\d.)、]*(?:"
    + "|".join(f"(?P<{key}>{words})" for key, words in _LABEL_SPELLINGS.items())
    + r")[\s*]*[:：]\s*",
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
_THIRD_PERSON = re.compile(r"\b(?:he|she|they|his|her|their|him|them)\b|[他她]", re.IGNORECASE)
_OTHER_SUBJECT = re.compile(
    r"(?:I|We|You|My)\b|[我你您咱]|[A-Z]\w+ (?:is|was|has|had|\w+s|\w+ed)\b"
    r"|[\u4e00-\u9fff]{2,5}(?:是|说|指|笑|对|把|递|给|答应)"
)
_SPOKEN_SENTENCE = re.compile(r"[^.!?。！？\n]+[.!?。！？]*[\"”」』]?")
_QUESTION = re.compile(r"[?？][\"”」』]?\s*$")
_AFFIRMS = re.compile(
    r"\W*(?:of \w+\W+)?(?:yes|yeah|indeed|I (?:am|do|was|did))\b|[\W]*(?:是|对|嗯|怕|会|能|有|想|当然)", re.I
)
_FEAR = re.compile(r"\b(?:fear(?:s|ed)?|scared|frighten\w*|terrified)\b", re.I)  # all the same as "afraid"
# A generality ("She is a good mother") is not supported by a good step somewhere else.
_VAGUE = frozenset(["good", "great", "nice", "person", "people", "sense", "many", "much", "some", "often", "always"])
_RELATION_SHARE = 0.7  # support of a relation by a quote that has both people and such a relation
_EXCHANGE = 3  # speeches, one after the other, that may support a statement together
_SPEECH_MARK = re.compile(r"[\"“”「」『』]")
_PRONOUN = re.compile(r"\b(?:he|she|his|her|him|they|their|i|my|me)\b|[他她它我]", re.IGNORECASE)


@dataclass(frozen=True)
class FoundStatement:
    """A statement under its label, with the support that its source gives it, 0 to 1."""

    label: str
    statement: Statement
    score: float


def parse_labelled_lines(text: str) -> list[tuple[str, str]]:
    """The (label, statement) lines of a model's answer; a line without a label has the label of the line before."""
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


def content_terms(text: str, name: str = "") -> frozenset[str]:
    """The content terms of a text: stems of words and pairs of Chinese characters; no stop words, not ``name``."""
    text = mention_pattern(name).sub(" ", text) if name else text
    words = {
        word[:6] for word in _WORD.findall(text.lower()) if word not in _STOP and (len(word) > 2 or word.isdigit())
    }
    pairs = {run[i : i + 2] for run in _HAN.findall(text) for i in range(max(1, len(run) - 1))}
    return frozenset(words | pairs)


def find_support(
    statement: str, name: str, chunk: Chunk, source: str, about: Callable[[int, int], bool] | None = None
) -> tuple[Evidence, float] | None:
    """The sentence of ``chunk``, or the few neighbouring ones, that best support a statement about ``name``.

    Supported means: at least half of the statement's terms, each of its numbers and each other name are in the quote,
    and the quote is about the role.

    Args:
        statement: what a model wrote about the role.
        name: the role's name.
        chunk: what the model read.
        source: the name of the chunk's source.
        about: whether the text of the source between two places is about the role (``Mentions.about``); absent: by its
            name, or by a pronoun with the name shortly before it.

    Returns:
        The place and its score, 0 to 1; None if no sentence supports the statement.
    """
    terms = content_terms(statement, name) if about is None else _telling_terms(statement, name)
    if not terms or is_degenerate(statement) or (about is not None and not _concerns(statement, name)):
        return None
    best: tuple[float, int, tuple[int, int]] | None = None
    named = mention_pattern(name)
    spans = source_sentences(chunk.text)
    relation = stated_relation(statement, name) if about is not None else None
    for first, last, is_speech in _candidates(spans, chunk.text, dialogue=about is not None):
        start, end = spans[first][0], spans[last][1]
        quote = chunk.text[start:end]
        said = _FEAR.sub("afraid", _asserted(quote)) if about is not None else quote
        if about is not None and _is_another(statement, said, name):
            continue
        share = len(terms & content_terms(said, name)) / len(terms)
        if relation:  # the words of the relation decide, not how many others agree
            share = max(share, _RELATION_SHARE) if relation.is_in(quote) else 0
        score = share - 0.1 * min(last - first, 2)
        if score < 0.5 or (best and score <= best[0]):
            continue
        if about is not None:
            parts = [(start, end)] if is_speech else spans[first : last + 1]
            enough = any if relation else all
            is_about = enough(about(chunk.start + a, chunk.start + b) for a, b in parts)
        else:
            before = chunk.text[spans[max(0, first - 3)][0] : spans[first][1]]
            second = chunk.text[spans[last][0] : spans[last][1]]
            is_about = _is_about(quote, before, named) and (last == first or _is_about(second, quote, named))
        if is_about and not unsupported_claims(statement, name, quote, chunk.text):
            best = (score, last - first, (start, end))
    if best is None:
        return None
    start, end = best[2]
    place = Evidence(source=source, start=chunk.start + start, end=chunk.start + end, quote=chunk.text[start:end])
    return place, best[0]


def _telling_terms(statement: str, name: str) -> frozenset[str]:
    return content_terms(_FEAR.sub("afraid", statement), name) - _VAGUE


def _asserted(quote: str) -> str:
    """An exchange without its questions, but for those whose answer affirms them."""
    parts = [match.group() for match in _SPOKEN_SENTENCE.finditer(quote)]
    return " ".join(
        part
        for n, part in enumerate(parts)
        if not _QUESTION.search(part) or (n + 1 < len(parts) and _AFFIRMS.match(parts[n + 1]))
    )


def _is_another(statement: str, quote: str, name: str) -> bool:
    """Whether ``statement`` says that the role is somebody ("Ann is a clerk") who in ``quote`` is another.

    Every such noun of the quote has "the" and nothing that makes it a predicate or an apposition: "asked the clerk".
    """
    says = re.match(rf"(?:{mention_pattern(name).pattern}|He|She) (?:is|was) (?:an?|the) (\w+)\W*$", statement)
    if says is None:
        return False
    used = [quote[: match.start()] for match in re.finditer(rf"\b{re.escape(says.group(1))}\b", quote, re.IGNORECASE)]
    return bool(used) and all(re.search(r"(?<!is )(?<!was )(?<!am )(?<!as )(?<!, )\bthe $", before) for before in used)


def _concerns(statement: str, name: str) -> bool:
    """Whether a statement is one about the role: it names it, or does not begin with another, and is no speech."""
    if _SPEECH_MARK.match(statement):
        return False
    if mention_pattern(name).search(statement) or _THIRD_PERSON.search(statement):
        return True
    return not _OTHER_SUBJECT.match(statement)


def _candidates(spans: Sequence[tuple[int, int]], text: str, *, dialogue: bool) -> Iterator[tuple[int, int, bool]]:
    """The (first, last) sentences of each possible quote, and whether it is speech of a ``dialogue``, with its answers.

    Else it is one sentence, or two neighbouring ones.
    """
    for n in range(len(spans)):
        yield n, n, False
        if n + 1 < len(spans):
            yield n, n + 1, False
    if dialogue:
        breaks = [n for n in range(1, len(spans)) if "\n" in text[spans[n - 1][1] : spans[n][0]]]
        speeches = []
        for first, end in pairwise((0, *breaks, len(spans))):
            marked = [n for n in range(first, end) if _SPEECH_MARK.search(text[slice(*spans[n])])]
            if marked:
                speeches.append((marked[0], marked[-1]))
        for n, (first, last) in enumerate(speeches):
            yield first, last, True
            for after, (begin, end) in enumerate(speeches[n + 1 : n + _EXCHANGE], n):
                if begin > speeches[after][1] + 2:  # a sentence may be between two speeches
                    break
                yield first, end, True


def _is_about(quote: str, before: str, named: re.Pattern[str]) -> bool:
    """Whether ``quote`` names the role, or refers to it by a pronoun: named shortly before, nobody else in between."""
    if named.search(quote):
        return True
    pronoun = _PRONOUN.search(quote)
    return bool(pronoun and named.search(before) and not named_items(quote[: pronoun.start()]))


def merge_statements(found: Iterable[FoundStatement], name: str) -> list[FoundStatement]:
    """The statements without repetitions; a repeated one keeps every place that supports it."""
    kept: list[tuple[FoundStatement, frozenset[str]]] = []
    for new in found:
        about = content_terms(new.statement.text, name)
        for n, (old, old_about) in enumerate(kept):
            alike = len(about & old_about) / max(1, len(about | old_about))
            same_place = {(e.source, e.start) for e in new.statement.evidence} & {
                (e.source, e.start) for e in old.statement.evidence
            }
            if alike >= 0.75 or (same_place and alike >= 0.5):
                places = tuple(dict.fromkeys((*old.statement.evidence, *new.statement.evidence)))
                statement = old.statement.model_copy(update={"evidence": places})
                kept[n] = (FoundStatement(old.label, statement, max(old.score, new.score)), old_about)
                break
        else:
            kept.append((new, about))
    return [item for item, _ in kept]


_VERBS = {
    "en": "is|was|has|had|lives|lived|works|worked|came|comes|loves|loved|grew",
    "zh": "叫|住|有|喜欢|爱|害怕|当|在|曾",
}
_DESCRIBES = {
    "en": r"{name}(?:\s+\w+)?\s+(?:(?P<defines>(?:is|was)\s+(?:an?|the|born|from|one)\b)|(?:{does})\b)",
    "zh": r"{name}(?:[，,]|本|原|又|也|就)?(?:(?P<defines>是|乃|为人|出生|生于)|{does})",
}
QUOTED_SENTENCES = 6  # most sentences that are quoted in place of a model's statements
_SPEECH = re.compile(r"[\"“”「」『』]|[:：]")
_PRONOUN_SUBJECT = re.compile(r"(?:He|She)\b|(?P<has>His|Her)\b|[他她]")
# Words that put a quoted sentence under another label than background.
_LABEL_WORDS = {
    "speaking_style": r"\b(?:speak|talk|call(?:s|ed)? (?:every|people|the)|address|voice)"
    r"|说话|称呼|称|嗓|喊|口头禅|语气",
    "relations": r"\b(?:friends?|brother|sister|mother|father|uncle|aunt|cousin|wife|husband|son|daughter|neighbour"
    r"|enem(?:y|ies)|rival|teacher|pupil|master|employer|boss|apprentice|pet|(?:dog|cat|horse) (?:called|named))\b"
    r"|朋友|好友|哥|姐|弟|妹|母亲|父亲|叔|姑|奶奶|爷爷|儿子|女儿|妻|丈夫|邻居|师父|徒弟|敌|对手|老师|老板|东家|养了",
    "personality": r"\b(?:likes?|loves?|fond|favourite|afraid|fears?|scared|hobby|enjoys?|wants? to|dreams?|kind"
    r"|brave|stubborn|patient|character|nature)\b|喜欢|爱|怕|性格|为人|爱好|愿望|梦想|擅长",
}


def direct_statements(
    sources: Sequence[tuple[str, str]], name: str, limit: int = QUOTED_SENTENCES, *, resolve_pronouns: bool = False
) -> list[FoundStatement]:
    """Quotes sentences of the sources that describe ``name``, without direct speech.

    If there are too many, sentences that define the role are preferred to those that say what it did, and these to
    those that only mention it. Sentences about a passing event come last; with them, at most ``QUOTED_SENTENCES`` are
    quoted.

    Args:
        sources: (name, text) pairs.
        name: the role's name.
        limit: most sentences to quote.
        resolve_pronouns: also quote sentences that begin with a pronoun after one that begins with the name, which
            then replaces the pronoun; and put each sentence under the label of its words, not all under background.
    """
    named = mention_pattern(name)
    patterns = {
        language: re.compile(pattern.format(name=f"(?:{named.pattern})", does=_VERBS[language]))
        for language, pattern in _DESCRIBES.items()
    }
    ranked: list[tuple[int, int, int, int]] = []
    for number, (_, text) in enumerate(sources):
        describes, continues = patterns[language_of(text[:4000])], False
        for start, end in source_sentences(text) if named.search(text) else ():
            sentence = text[start:end]
            pronoun = bool(continues and _PRONOUN_SUBJECT.match(sentence))
            continues = pronoun or bool(named.match(sentence))
            fits = (4 if resolve_pronouns else 8) <= len(sentence) <= 200
            about = named.search(sentence) or (resolve_pronouns and pronoun)
            if fits and about and not _SPEECH.search(sentence):
                found = describes.search(sentence)
                rank = 3 + pronoun if not found else (not found.group("defines")) + (found.start() > 0)
                rank += 2 * (rank >= 3 and not says_something_lasting(sentence, name))
                ranked.append((rank, number, start, end))
    ranked.sort()
    lasting = [place for place in ranked if place[0] < 5]
    enough = lasting[:limit] if len(lasting) > QUOTED_SENTENCES else ranked[: min(limit, QUOTED_SENTENCES)]
    in_order = sorted(enough, key=lambda place: place[1:])
    return [
        _quoted_statement(*sources[number], start, end, name if resolve_pronouns else "")
        for _, number, start, end in in_order
    ]


def says_something_lasting(sentence: str, name: str) -> bool:
    """Whether a sentence is not only about a passing event: it has a number, another name or a word of a label."""
    rest = mention_pattern(name).sub("", sentence)
    return bool(named_items(rest) or any(re.search(words, rest) for words in _LABEL_WORDS.values()))


def _quoted_statement(source: str, text: str, start: int, end: int, name: str) -> FoundStatement:
    place = Evidence(source=source, start=start, end=end, quote=text[start:end])
    statement, label = one_line(place.quote), "background"
    if name:
        label = next((label for label, words in _LABEL_WORDS.items() if re.search(words, statement)), label)
        if (pronoun := _PRONOUN_SUBJECT.match(statement)) and not mention_pattern(name).search(statement):
            statement = name + ("'s" if pronoun.group("has") else "") + statement[pronoun.end() :]
    return FoundStatement(label, Statement(text=statement, evidence=(place,)), 0.5)
