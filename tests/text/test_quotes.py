"""The quote decoder: the speech alone, with all kinds of marks, and the same however the stream is cut."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egosrag.text.quotes import QuoteDecoder, speech
from tests.text.quote_cases import CASES, EN, ZH

GENERATED = 10_000 if os.environ.get("EGOSRAG_TEST_PROFILE") == "full" else 2_000


def streamed(prefix: str, chunks: list[str]) -> str:
    decoder = QuoteDecoder(prefix)
    return "".join([decoder.feed(chunk) for chunk in chunks]) + decoder.finish()


@pytest.mark.parametrize(
    ("description", "prefix", "raw", "expected"), CASES, ids=[c[0] + ": " + c[2][:24] for c in CASES]
)
def test_case_of_the_table(description: str, prefix: str, raw: str, expected: str) -> None:
    assert speech(prefix, raw) == expected
    assert streamed(prefix, list(raw)) == expected


def test_the_table_of_cases_is_long_enough_and_in_both_languages() -> None:
    assert len({(c[1], c[2]) for c in CASES}) >= 100
    chinese = [c for c in CASES if any("\u4e00" <= char <= "\u9fff" for char in c[1] + c[2])]
    assert len(chinese) >= 30


@pytest.mark.parametrize(
    ("prefix", "raw", "reason"),
    [
        (EN, 'I am Tim." he said', "quote"),
        (ZH, "我是悟空。”他说", "quote"),
        (EN, 'I am Tim.\nMe: "Hi', "speaker"),
        (ZH, "我是悟空。\n我：“你好", "speaker"),
        ("Tim: ", "I am Tim.\nMe: Hi", "speaker"),
        (EN, "I am Tim, and", "eos"),
        ("悟空：", "我是悟空。", "eos"),
    ],
)
def test_the_stop_reason_of_a_speech(prefix: str, raw: str, reason: str) -> None:
    decoder = QuoteDecoder(prefix)
    decoder.feed(raw)
    assert decoder.closed == (reason != "eos")
    decoder.finish()
    assert decoder.stop_reason == reason
    assert decoder.closed
    assert decoder.feed("more") == ""
    assert decoder.finish() == ""


def test_a_known_speakers_name_alone_ends_an_unquoted_reply() -> None:
    decoder = QuoteDecoder("Tim: ", speakers=["Daisy Fay"])
    assert decoder.feed("I am Tim.\nDaisy Fay: Hello.") == "I am Tim."
    assert decoder.stop_reason == "speaker"


@pytest.mark.parametrize(("prefix", "text"), [(EN, "I am Tim, and you are Ann"), (ZH, "我是悟空，你是八戒，他是沙僧")])
def test_text_is_returned_as_soon_as_it_is_certain(prefix: str, text: str) -> None:
    decoder = QuoteDecoder(prefix)
    returned = ""
    for n, char in enumerate(text, 1):
        returned += decoder.feed(char)
        assert text[:n].strip().startswith(returned.strip())
        assert len(text[:n].rstrip()) - len(returned) <= 5, "more than an undecided suffix was held back"


def test_a_closing_mark_after_a_full_stop_is_recognized_at_once() -> None:
    decoder = QuoteDecoder(EN)
    assert decoder.feed('I am Tim."') == "I am Tim."
    assert decoder.closed, "the model would have to generate one more token for nothing"


ALPHABET = st.sampled_from(
    [
        *"\"'“”‘’「」『』„«»＂ \n\n.,!?。，！？…:：*()（）—-0159",
        "Tim",
        "Me: ",
        "我：",
        "悟空",
        "Daisy: ",
        "n",
        "s",
        "he said",
        "他说",
    ]
)
PREFIXES = ["Tim: " + m for m in "\"“‘'„«»"] + ["悟空：" + m for m in "“「『＂"] + ["Tim: ", "悟空：", ""]


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    st.sampled_from(PREFIXES), st.lists(ALPHABET, max_size=40).map("".join), st.lists(st.integers(0, 80), max_size=8)
)
def test_any_cutting_gives_the_same_speech(prefix: str, raw: str, cuts: list[int]) -> None:
    edges = [0, *sorted(c for c in cuts if c < len(raw)), len(raw)]
    chunks = [raw[a:b] for a, b in zip(edges, edges[1:], strict=False)]
    whole = speech(prefix, raw)
    assert streamed(prefix, chunks) == whole
    assert streamed(prefix, list(raw)) == whole
    assert whole == whole.strip()


WORDS = {
    "en": [
        "I",
        "know",
        "Tim's",
        "dogs",
        "don’t",
        "a",
        '100" screen',
        "rock 'n' roll",
        "*very*",
        "6 o'clock",
        "well-made",
    ],
    "zh": ["我", "知道", "悟空", "的", "金箍棒", "*很*", "五百年", "OK", "2024年", "花果山"],
}
PAIRS = {"en": ['""', "“”", '""'], "zh": ["“”", "「」", "『』"]}
NESTED = {'"': ["“”", "''"], "“": ["“”", '""', "‘’"], "「": ["『』", "「」", "“”"], "『": ["「」", "“”"]}
AFTER = {
    "en": ["", " he said.", ' He smiled. "And you?"', '\nMe: "Who?"', " *bows*", "\n\nThe end."],
    "zh": ["", "他说。", "悟空笑道：“你呢？”", "\n我：“谁？”", "（鞠躬）", "\n\n完。"],
}


def made_speech(rng: random.Random, language: str, opener: str) -> str:
    """A speech whose marks are balanced and that ends as a sentence does."""
    space = " " if language == "en" else ""
    sentences = []
    for _ in range(rng.randint(1, 3)):
        words = rng.choices(WORDS[language], k=rng.randint(2, 7))
        if rng.random() < 0.4:
            left, right = rng.choice(NESTED[opener])
            words[rng.randrange(1, len(words))] = (
                left + rng.choice(["no", "yes"] if language == "en" else ["不", "是"]) + right
            )
        if opener == '"' or language == "zh":
            words = [w for w in words if language == "en" or '"' not in w] or ["好"]
        sentences.append(space.join(words) + rng.choice(".!?" if language == "en" else "。！？"))
    return (space or "").join(sentences) if rng.random() < 0.8 else "\n".join(sentences)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_generated_speeches_are_decoded_as_they_were_made(language: str) -> None:
    rng = random.Random(language)
    for _ in range(GENERATED // 2):
        opener, closer = rng.choice(PAIRS[language])
        said = made_speech(rng, language, opener)
        echo = rng.choice(["", "", ("Tim: " if language == "en" else "悟空：") + opener])
        prefix = ("Tim: " if language == "en" else "悟空：") + opener
        raw = echo + said + closer + rng.choice(AFTER[language])
        assert speech(prefix, raw) == said, (prefix, raw)
        cut = rng.randrange(len(raw) + 1)
        assert streamed(prefix, [raw[:cut], raw[cut:]]) == said, (prefix, raw, cut)
