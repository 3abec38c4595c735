"""Whether a place of a source is about the role, where the role is not always named: pronouns, speech, tables."""

from __future__ import annotations

import re

from egosrag.text.named_items import named_items
from egosrag.text.names import mention_pattern, names_of

_FAR = 2000  # characters before a place in which the role is named, if a pronoun may mean it
_NEAR = 300  # characters after it: in a dialogue the speaker's name often follows
_HE, _SHE = re.compile(r"\b(?:he|his|him)\b|他", re.IGNORECASE), re.compile(r"\b(?:she|hers?)\b|她", re.IGNORECASE)
_THEY = re.compile(r"\b(?:they|their|them)\b", re.IGNORECASE)
_I = re.compile(r"\b(?:I|my|me|we|our)\b|[我俺咱]|在下")
_SPEECH = re.compile(r"[\"“”「」『』]")
_SAYS = r"(?:said|asked|replied|answered|cried|called|whispered|shouted|added|laughed)"
_SPEAKER = re.compile(
    rf"\b{_SAYS}\s+(?:the\s+)?(?P<after>\w+)|(?P<before>\w+)\s+{_SAYS}\b|(?P<zh>[\u4e00-\u9fff]{{2,4}}?)(?:说|问|道|喊|笑)"
)
# "Tom is her brother", "Ann, his wife": another is the subject, and the role is in the possessive.
_HIS_OWN = re.compile(r"(?:\b(?:is|was|are|were)|,)\s+(?:his|her|their)\b|[是，](?:他|她)")


class Mentions:
    """Where a source is about a role.

    Args:
        text: the source.
        name: the role's name.
    """

    def __init__(self, text: str, name: str) -> None:
        self.text = text
        self._named = mention_pattern(name)
        self._parts = {part.casefold() for part in names_of(name)}
        self._places = [match.start() for match in self._named.finditer(text)]
        self._other_gender = self._pronoun_of_others()

    def about(self, start: int, end: int) -> bool:
        """Whether ``text[start:end]`` is about the role.

        It names the role; or it is a row of a table under the role's name; or it has a pronoun that may mean the role,
        which is named not far away, and nobody else is its subject.
        """
        quote = self.text[start:end]
        if self._named.search(quote):
            return True
        if "|" in quote:
            return self._heads_table(start)
        if not any(start - _FAR <= place <= end + _NEAR for place in self._places):
            return False
        if _SPEECH.search(quote) and _I.search(quote):
            return not self._spoken_by_another(quote)
        pronoun = next((match for match in self._pronouns(quote)), None)
        if pronoun is None:
            return False
        return not named_items(quote[: pronoun.start()]) or bool(_HIS_OWN.search(quote))

    def _pronouns(self, quote: str) -> list[re.Match[str]]:
        own = [pattern for pattern in (_HE, _SHE, _THEY) if pattern is not self._other_gender]
        return sorted((m for pattern in own for m in pattern.finditer(quote)), key=lambda match: match.start())

    def _pronoun_of_others(self) -> re.Pattern[str] | None:
        """The pronoun, he or she, that hardly occurs near the role's name, if there is one."""
        near = "\n".join(self.text[place : place + 200] for place in self._places[:200])
        he, she = len(_HE.findall(near)), len(_SHE.findall(near))
        if max(he, she) < 3 or max(he, she) < 3 * min(he, she):
            return None
        return _SHE if he > she else _HE

    def _spoken_by_another(self, quote: str) -> bool:
        match = _SPEAKER.search(_quoted_out(quote))
        if not match:
            return False
        who = (match.group("after") or match.group("before") or match.group("zh") or "").casefold()
        return who not in ("he", "she", "他", "她") and not any(part in who or who in part for part in self._parts)

    def _heads_table(self, start: int) -> bool:
        """Whether the table that contains ``start``, or the two lines before it, name the role."""
        lines = self.text[:start].split("\n")[:-1]
        rows = 0
        while rows < len(lines) and ("|" in lines[-1 - rows] or not lines[-1 - rows].strip()):
            rows += 1
        return bool(self._named.search("\n".join(lines[len(lines) - rows - 2 if rows + 2 <= len(lines) else 0 :])))


def _quoted_out(text: str) -> str:
    """``text`` without what is between quotation marks."""
    return re.sub(r"“[^”]*”?|\"[^\"]*\"?|「[^」]*」?|『[^』]*』?", " ", text)
