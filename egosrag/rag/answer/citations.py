"""Check an answer against the pages: which sentence of it is told by which sentences of the manual.

A sentence is supported when a quote of one or two neighbouring sentences of a page tells most of its content,
has all of its numbers with their units, and neither denies what it says nor says what it denies. Passage numbers
that the model wrote only say where to look first: small models confuse them, so a number is never believed without
the quote.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from egosrag.rag.documents.splitting import section_at
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.schema import Citation, Passage
from egosrag.text.sentences import sentence_spans
from egosrag.text.words import pairs, words

#: least share of a sentence's content that its quote must tell
SUPPORTED = 0.6
_MARK = re.compile(r"\s*[\[【［]\s*(\d{1,2}(?:\s*[,，、]\s*\d{1,2})*)\s*[\]】］]")
_MARK_AFTER_STOP = re.compile(
    r"([。！？.!?]+[”’\"')）]*)((?:\s*[\[【［]\s*\d{1,2}(?:\s*[,，、]\s*\d{1,2})*\s*[\]】］])+)"
)
_ITEM = re.compile(r"^\s*(?:[-*•■□]|\d{1,2}[.、)）](?!\d)|[（(]\d{1,2}[)）]|\d{1,2}\s(?=[\u3400-\u9fff]))\s*")
_UNIT = (
    r"%|‰|℃|°C?|[kKmc]?m²?|mm|km/h|mph|k?g|t|m?[lL]|ml|kPa|MPa|bar|psi|[kM]?W|kWh|[kM]?Hz|V|A|Ah|Nm|N·m|rpm|dB|s|min|h|"
    r"seconds?|minutes?|hours?|days?|weeks?|months?|years?|times?|met(?:er|re)s?|kilomet(?:er|re)s?|centimet(?:er|re)s?|"
    r"lit(?:er|re)s?|degrees?|percent|秒钟?|分钟?|小时|天|日|周|个月|月|年|次|公里|千米|米|厘米|毫米|升|毫升|公斤|千克|克|"
    r"吨|摄氏度|度|巴|千帕|瓦|千瓦|伏|安|牛米|公里每小时|元|挡|档|级|个|种|只|把|条"
)
_NUMBER = re.compile(rf"(?<![A-Za-z0-9_.])(\d+(?:[.,:]\d+)*)(?:\s*({_UNIT})(?![A-Za-z]))?")


_ASKS = re.compile(
    r"[？?][”’」』\"')）]*\s*$|^(?:如何|怎样|怎么|是否|how (?:do|to|can)\b)", re.IGNORECASE
)  # tells nothing
_CLAUSE = re.compile(r"[，,；;：:。！？!?\n]|\.(?=\s|$)|\b(?:and|but|or|when|while|if|because|so that)\b")
_LIMIT = re.compile(
    r"不(?:要|得|能|应|可)?(?:超过|超出|高于|低于|少于|大于|小于|多于)|不(?:仅|但|断|久|同|论|管|足)|没有(?=.{0,8}(?:时|的话))"
    r"|\b(?:not?|never) (?:\w+ ){0,4}?(?:more|less|\w+er) than\b",
    re.IGNORECASE,
)
_NEGATES = re.compile(
    r"[不勿未无没]|别[再让把将在去用]|禁止|严禁|\b(?:not|never|no|cannot|without|nor|neither)\b|n[’']t\b", re.IGNORECASE
)


class Checked(NamedTuple):
    """One sentence of an answer, with the quote that tells it; no citation where none does."""

    text: str
    citation: Citation | None


def answer_sentences(answer: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The sentences of an answer without their passage marks, each with the numbers that it was marked with."""
    moved = _MARK_AFTER_STOP.sub(lambda m: m.group(2) + m.group(1), answer)  # "yes.[1]" is "yes[1]."
    for start, end in sentence_spans(moved):
        raw = moved[start:end]
        marks = tuple(int(n) for group in _MARK.findall(raw) for n in re.findall(r"\d+", group))
        text = _MARK.sub("", raw).strip()
        if any(c.isalnum() for c in text):
            yield text, marks


def quantities(text: str) -> set[str]:
    """The numbers of ``text`` with their units, such as "30min" and "4.6升", for comparing."""
    found = set()
    for number, unit in _NUMBER.findall(_ITEM.sub("", text)):
        found.add(_plain(number) + _singular(unit))
    return found


def _plain(number: str) -> str:
    return number.replace(",", "").lstrip("0") or "0"


def _singular(unit: str) -> str:
    unit = {"秒钟": "秒", "分": "分钟", "千米": "公里", "千克": "公斤", "档": "挡", "日": "天"}.get(unit, unit)
    return unit[:-1] if len(unit) > 3 and unit.endswith("s") else unit


def has_quantities(text: str, quote: str) -> bool:
    """Whether every number of ``text`` stands in ``quote``, and with the same unit where both have one."""
    theirs = quantities(quote)
    bare = {re.sub(r"[^\d.:]", "", q) for q in theirs}
    # 30 in the answer goes with 30 minutes in the quote and the other way round; 30 seconds does not.
    return all(
        q in theirs or (q in bare if re.fullmatch(r"[\d.:]+", q) else re.sub(r"[^\d.:]", "", q) in theirs)
        for q in quantities(text)
    )


def same_sense(text: str, quote: str) -> bool:
    """Whether each clause of ``text`` is negated where, and only where, the clause of ``quote`` most like it is.

    "Put a child seat there" has all its words in "Never put a child seat there". Limits ("no more than") are no
    negations.
    """
    theirs = [(set(pairs(clause)), _negated(clause)) for clause in _CLAUSE.split(quote)]
    for clause in _CLAUSE.split(text):
        terms = set(pairs(clause))
        most = max((len(terms & there) for there, _ in theirs), default=0)
        # Of several clauses that are as much like it, one of its sense is enough.
        if most and _negated(clause) not in {negated for there, negated in theirs if len(terms & there) == most}:
            return False
    return True


def _negated(clause: str) -> bool:
    return bool(_NEGATES.search(_LIMIT.sub("", clause)))


class Checker:
    """Finds the quotes for answers made from one set of passages."""

    def __init__(self, index: ManualIndex, found: Sequence[Passage]) -> None:
        self._index = index
        self._bm25 = [index.lexical["pages-words"], index.lexical["pages-pairs"]]
        # Quotes of one and of two sentences, by the number of the passage that they were found in.
        self._quotes = [(n, p, quote) for n, p in enumerate(found, 1) for quote in self._in(p)]
        self._terms = [(frozenset(words(quote)), frozenset(pairs(quote))) for _, _, quote in self._quotes]

    def _in(self, passage: Passage) -> list[str]:
        page = self._index.page(passage.source, passage.page).text
        spans = [
            s for s in sentence_spans(page) if s[1] > passage.start and s[0] < passage.end and page[s[0] : s[1]].strip()
        ]
        two = [(a[0], b[1]) for a, b in zip(spans, spans[1:], strict=False)]
        return [page[start:end].strip() for start, end in (*spans, *two)]

    def section(self, citation: Citation) -> str:
        """The path of headings over a quote."""
        page = self._index.page(citation.source, citation.page)
        return section_at(page, page.text.find(citation.quote))

    def check(self, answer: str) -> list[Checked]:
        """Every sentence of the answer with its citation, in the order of the answer."""
        return [Checked(text, self.cite(text, marks)) for text, marks in answer_sentences(answer)]

    def cite(self, text: str, marks: Sequence[int] = ()) -> Citation | None:
        """The citation that tells ``text``: from a marked passage where one does, else from any; none else."""
        said = _ITEM.sub("", text)
        if _ASKS.search(said):
            return None
        rarities = [
            {term: bm25.rarity(term) for term in set(analyse(said))}
            for bm25, analyse in zip(self._bm25, (words, pairs), strict=True)
        ]
        best: tuple[float, bool, int, int] | None = None
        for i, ((n, _, quote), there) in enumerate(zip(self._quotes, self._terms, strict=True)):
            # Both must be told: pairs of characters alone let 儿童锁扣 pass for 儿童锁.
            share = min(_share(terms, had) for terms, had in zip(rarities, there, strict=True))
            rank = (round(share, 3), n in marks, -len(quote), -i)
            if share < SUPPORTED or (best is not None and rank <= best):
                continue
            if has_quantities(text, quote) and same_sense(text, quote):
                best = rank
        if best is None:
            return None
        _, passage, quote = self._quotes[-best[3]]
        return Citation(source=passage.source, page=passage.page, quote=quote, score=best[0])


def _share(terms: Mapping[str, float], there: frozenset[str]) -> float:
    whole = sum(terms.values())
    return sum(weight for term, weight in terms.items() if term in there) / whole if whole else 0.0


def joined(parts: Sequence[str]) -> str:
    """Sentences as one text: a space after Latin script, none after Chinese; list items a line each."""
    text = ""
    for part in parts:
        if not text:
            text = part
        elif _ITEM.match(part):
            text += "\n" + part
        else:
            text += ("" if re.match(r"[\u3000-\u9fff\uff00-\uffef]", text[-1]) else " ") + part
    return text


def one_per_quote(citations: Sequence[Citation]) -> tuple[Citation, ...]:
    """The citations without repetition, in order, the better score of equals."""
    best: dict[tuple[str, int, str], Citation] = {}
    for citation in citations:
        key = (citation.source, citation.page, citation.quote)
        if key not in best or best[key].score < citation.score:
            best[key] = citation
    return tuple(best.values())
