"""Random names, places, words and numbers: composed of syllables and characters, so that none can be memorized."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Sequence
from typing import TypeVar

from finetune.pocket.grammar.sample import table

T = TypeVar("T")
NUMERALS = "零一二三四五六七八九十"


def _words(text: str) -> list[str]:
    """``text`` split at spaces; easier to read than a list of quoted words."""
    return text.split()


ONSETS = _words("b c d f g h j k l m n p r s t v w y z br cr dr fr gr pr tr bl cl fl gl pl sl sh ch th st sp qu wh ph")
VOWELS = _words("a e i o u a e i o u a e i o u ai ea ee ie oo ou ia io")
CODAS = _words("n r l s t m k d x th nd rt ck ss ng y")
BELOW_TWENTY = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
TENS = _words("zero ten twenty thirty forty fifty sixty seventy eighty ninety")
MONTHS = _words("January February March April May June July August September October November December")
SURNAMES = "赵钱孙李周吴郑王冯陈蒋沈韩杨朱秦许何吕张孔曹严金魏陶姜谢邹苏潘葛范彭鲁马方任袁柳唐罗薛雷贺汤林江"
TRANSCRIPTION = (  # characters that transcribe foreign names
    "阿巴贝比波布达德迪多尔法菲戈格哈海卡科拉莱雷里丽利林卢鲁罗洛马玛米莫娜纳尼诺帕佩"
    "皮萨塞斯索塔特提托瓦维温西亚伊扎佐汤姆杰克安"
)
# Level 1 of GB 2312: the 3,755 most common Chinese characters.
COMMON_CHARACTERS = [bytes((row, col)).decode("gb2312") for row in range(0xB0, 0xD7) for col in range(0xA1, 0xFA)]
GIVEN_NAME_CHARACTERS = COMMON_CHARACTERS[::5] + list(
    "明华小红伟强军丽平芳英文玉春秋月云雪海山石松竹梅兰青白光星雨田禾"
)
PLACE_ENDINGS = {
    "zh": list("镇城村港湾岛谷山庄州县河堡"),
    "en": ["", "", "", "ton", "ville", "ford", "burg", "by", " Bay", " Hill"],
}


def is_held_out(word: str) -> bool:
    """Whether a word belongs to the test splits: one in eight does, by a checksum of its letters."""
    return zlib.crc32(word.lower().encode()) % 8 == 0


def in_words(number: int, language: str) -> str:
    """``number``, below 100, in words: "twenty-six", "二十六"."""
    tens, ones = divmod(number, 10)
    if language == "zh":
        return NUMERALS[tens] * (tens > 1) + "十" * (tens > 0) + NUMERALS[ones] * (ones > 0 or not tens)
    return BELOW_TWENTY[number] if number < 20 else TENS[tens] + (f"-{BELOW_TWENTY[ones]}" if ones else "")


class Dice:
    """A seeded random source of words, names, numbers and templates.

    Args:
        seed: any text; all draws follow from it.
        language: "en" or "zh".
        split: "train"; "names" draws held-out words, "wordings" held-out templates too.
        level: 0 (short and easy samples) to 1 (full length).
    """

    def __init__(self, seed: str, language: str, split: str = "train", level: float = 1.0) -> None:
        self.random = random.Random(f"{seed}/{language}/{split}")
        self.language, self.split, self.level = language, split, level

    @property
    def zh(self) -> bool:
        """Whether the sample is Chinese."""
        return self.language == "zh"

    def chance(self, p: float) -> bool:
        """True with probability ``p``."""
        return self.random.random() < p

    def of(self, items: Sequence[T]) -> T:
        """One of ``items``."""
        return self.random.choice(items)

    def wording(self, templates: Sequence[str]) -> str:
        """One template; of three or more, the last fifth is held out: it is drawn in the split "wordings" only."""
        if len(templates) < 3:
            return self.of(templates)
        held = max(1, len(templates) // 5)
        return self.of(templates[-held:] if self.split == "wordings" else templates[:-held])

    def count(self, low: int, high: int) -> int:
        """An integer from ``low`` to ``high``; the upper bound shrinks with the level."""
        return self.random.randint(low, max(low, round(low + (high - low) * self.level)))

    def _in_split(self, make: Callable[[], str]) -> str:
        """The first word from ``make`` that belongs to this split."""
        while True:
            word = make()
            if is_held_out(word) == (self.split != "train"):
                return word

    def _syllable(self, first: bool) -> str:
        onset = "" if first and self.chance(0.15) else self.of(ONSETS)
        if not first and len(onset) == 1 and self.chance(0.2):
            onset += onset  # Anna, Edda, Otto: a doubled letter is the hardest to copy
        return onset + self.of(VOWELS) + (self.of(CODAS) if self.chance(0.3) else "")

    def word(self) -> str:
        """An invented word: "bravelo", "维洛塔"."""
        if self.zh:
            return self._in_split(lambda: "".join(self.random.choices(TRANSCRIPTION, k=self.random.randint(2, 3))))
        return self._in_split(lambda: "".join(self._syllable(not n) for n in range(self.of((2, 2, 2, 3)))))

    def name(self) -> str:
        """A person's name; in Chinese a surname with a given name, or a transcribed one."""
        if not self.zh:
            if self.chance(0.25):
                return self.common(table("lexicon", "en")["person"])
            return self.word().capitalize()
        if self.chance(0.5):
            return self._in_split(lambda: "".join(self.random.choices(TRANSCRIPTION, k=self.random.randint(2, 4))))
        if self.chance(0.2):
            return self._in_split(lambda: self.of("小大阿老") + self._given_name_character())
        return self._in_split(
            lambda: (
                self.of(COMMON_CHARACTERS if self.chance(0.25) else SURNAMES)
                + "".join(self._given_name_character() for _ in range(self.random.randint(1, 2)))
            )
        )

    def _given_name_character(self) -> str:
        """A character of given names, or (one in five) any common character."""
        return self.of(COMMON_CHARACTERS if self.chance(0.2) else GIVEN_NAME_CHARACTERS)

    def pet(self) -> str:
        """The name of an animal."""
        if self.zh and self.chance(0.6):
            return self._in_split(lambda: self.of("小大阿老") + self._given_name_character())
        return self.name()

    def place(self) -> str:
        """The name of a town."""
        if self.chance(0.15):
            return self.common(table("lexicon", self.language)["city"])
        if not self.zh:
            return self.word().capitalize() + self.of(PLACE_ENDINGS["en"])
        transcribed = self.chance(0.4)
        return self._in_split(
            lambda: "".join(self.of(TRANSCRIPTION) if transcribed else self._given_name_character() for _ in "12")
        ) + self.of(PLACE_ENDINGS["zh"])

    def common(self, items: Sequence[str]) -> str:
        """One of ``items``; one in eight of them is held out, by the checksum of its letters."""
        return self._in_split(lambda: self.of(items))

    def number(self, low: int = 2, high: int = 999) -> str:
        """A number, small ones as likely as large ones; of those of 100 or more, one in eight is held out."""
        while True:
            drawn = self.random.randint(low, min(high, 10 ** self.random.randint(1, len(str(high)))))
            if drawn < 100 or is_held_out(str(drawn)) == (self.split != "train"):
                return str(drawn)

    def amount(self, low: int = 2, high: int = 99) -> str:
        """A number below 100, in digits or in words."""
        drawn = self.random.randint(low, high)
        return in_words(drawn, self.language) if self.chance(0.35 if self.zh else 0.2) else str(drawn)

    def year(self) -> str:
        """A year between 1700 and 2020."""
        return self._in_split(lambda: str(self.random.randint(1700, 2020)))

    def decimal(self) -> str:
        """A number, sometimes with one decimal place."""
        return self.number() + (f".{self.random.randint(1, 9)}" if self.chance(0.35) else "")

    def date(self) -> str:
        """A day of the year."""
        day, month = self.random.randint(1, 28), self.random.randint(1, 12)
        if self.zh:
            return f"{month}月{day}日"
        return f"{day} {MONTHS[month - 1]}"

    def clock(self) -> str:
        """A time of day: "7:05", "half past seven", "七点一刻"."""
        hour, minute = self.random.randint(1, 23), self.random.randint(0, 59)
        if self.chance(0.6):
            return f"{hour}:{minute:02d}"
        hour = 1 + hour % 12
        if self.zh:
            part = self.of(["", "", "早上", "上午", "中午", "下午", "傍晚", "晚上"])
            return part + in_words(hour, "zh") + self.of(["点", "点", "点半", "点一刻", "点三刻", "点钟"])
        word = in_words(hour, "en")
        forms = [f"half past {word}", f"a quarter past {word}", f"a quarter to {word}", f"{word} o'clock"]
        return self.of([*forms, f"{hour} {self.of(['am', 'pm'])}", f"{word} in the {self.of(['morning', 'evening'])}"])
