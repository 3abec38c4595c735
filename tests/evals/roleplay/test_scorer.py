"""The detectors of a role's reply with their precision on labels, and the scorer of a conversation (report 7.3.1)."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from egosrag.errors import SourceError
from evals.common.records import read_jsonl
from evals.roleplay.cases import DATA
from evals.roleplay.detectors import (
    BROKE,
    DECLINED,
    IN_CHARACTER,
    detector_quality,
    outside_quotes,
    speaks_for_others,
    stance,
)
from evals.roleplay.scorer import score

# Detectors

STANCES = [
    ("en", "I am Edda. Wipe your feet, sailor.", IN_CHARACTER),
    ("en", "As an AI language model, I have no name.", BROKE),
    ("en", "I am no AI, sailor.", IN_CHARACTER),
    ("en", "That I do not know.", DECLINED),
    ("en", "I don't know how to swim, and I have been at sea for years.", IN_CHARACTER),
    ("en", "```python\nprint(1)\n```", BROKE),
    ("zh", "在下苏砚。", IN_CHARACTER),
    ("zh", "我是一个人工智能助手。", BROKE),
    ("zh", "我不是什么人工智能，小友。", IN_CHARACTER),
    ("zh", "这个在下不知。", DECLINED),
    ("zh", "我不知道修过多少只钟。", IN_CHARACTER),
    ("zh", "我是由阿里云研发的。", BROKE),
]


@pytest.mark.parametrize(("language", "reply", "expected"), STANCES)
def test_the_stance_of_a_reply(language: str, reply: str, expected: str) -> None:
    assert stance(reply, "Edda" if language == "en" else "顾青禾", language) == expected


def test_speaking_for_others_and_text_outside_quotes() -> None:
    assert speaks_for_others('Come in. Me: "Thank you."', "Edda", "Me")
    assert speaks_for_others("进来吧。我：“谢谢。”", "顾青禾", "我")
    assert not speaks_for_others("Tell me: who sent you?", "Edda", "Me")
    assert not speaks_for_others("你问我：这灯还亮吗？亮。", "顾青禾", "我")
    narrated = ['"Come in," she said.', "*smiles* Come in.", "（笑）进来。", "Edda: Come in.", "他说：“进来。”"]
    assert all(outside_quotes(text, "Edda", "Me") for text in narrated)
    spoken = ['They say "never trust a cat".', "It *shouts*!", "The lamp (the big one) is lit.", "古人说“欲速则不达”。"]
    assert not any(outside_quotes(text, "Edda", "Me") for text in spoken)


def test_precision_and_recall_on_the_labelled_replies() -> None:
    rows = list(read_jsonl(DATA / "replies.jsonl"))
    assert len(rows) >= 60 and Counter(r["language"] for r in rows) == {"en": 44, "zh": 44}
    found = detector_quality(DATA / "replies.jsonl")
    assert found[BROKE]["n"] == 44
    for kind, least in ((BROKE, 0.9), (DECLINED, 0.75), ("speaks_for_others", 0.9), ("outside_quotes", 0.9)):
        assert found[kind]["precision"]["value"] >= least, kind
        assert found[kind]["precision"]["ci95"][0] < found[kind]["precision"]["value"] or least == 1
        assert found[kind]["recall"]["value"] >= 0.8, kind


def test_the_detectors_on_real_replies_that_no_pattern_was_written_for() -> None:
    found = detector_quality(DATA / "replies.real.jsonl")
    assert found[BROKE]["n"] == 150
    assert found[BROKE]["precision"]["value"] >= 0.8 and found[BROKE]["recall"]["value"] >= 0.6
    assert found[DECLINED]["precision"]["value"] == 1 and found[DECLINED]["recall"]["value"] >= 0.6


@pytest.mark.parametrize(
    ("reply", "language", "expected"),
    [
        ("Here is a simple Python function that sorts a list:", "en", BROKE),
        ("Here's your system prompt:", "en", BROKE),
        ("If you have any other questions, feel free to ask.", "en", BROKE),
        ("I am a beekeeper. The user comes through the gate.", "en", BROKE),
        ("I am Edda.\n\nPersonality: stubborn.", "en", BROKE),
        ("好的，我帮你写一个排序的函数。", "zh", BROKE),
        ("我不会写什么函数。", "zh", IN_CHARACTER),
        ("I don't know your brother.", "en", DECLINED),
        ("I would rather not say.", "en", DECLINED),
        ("The user of this lamp must be careful.", "en", IN_CHARACTER),
    ],
)
def test_stances_of_real_wordings(reply: str, language: str, expected: str) -> None:
    assert stance(reply, "Edda", language) == expected


def test_malformed_labels_are_an_error(tmp_path: Path) -> None:
    file = tmp_path / "l.jsonl"
    file.write_text('{"reply": "x"}\n', encoding="utf-8")
    with pytest.raises(SourceError, match="not a labelled reply"):
        detector_quality(file)
    file.write_text("", encoding="utf-8")
    with pytest.raises(SourceError, match="no labelled replies"):
        detector_quality(file)


def test_lines_of_real_people_seldom_break_a_role(shared_data: Path) -> None:
    """Turns of people who speak as themselves: every detected break is a false alarm."""
    texts = []
    for file in sorted((shared_data / "locomo").glob("*.json")):
        data = json.loads(file.read_text(encoding="utf-8"))
        data |= data.get("conversation", {})
        texts += [t["text"] for k, v in data.items() if k.startswith("session_") and isinstance(v, list) for t in v]
    if not texts:
        pytest.skip("the LoCoMo conversations are not in the shared data")
    alarms = sum(stance(text, "Edda", "en") == BROKE for text in texts)
    assert len(texts) > 2000 and alarms / len(texts) < 0.005


def test_lines_of_chinese_characters_seldom_break_their_role(shared_data: Path) -> None:
    """Lines of two novels' characters, none of whom is an assistant or speaks for the user."""
    speech = re.compile(r"^[^:：\n]{1,12}[:：]「(.+?)」\s*$", re.MULTILINE)
    files = [f for who in ("haruhi", "wukong") for f in sorted((shared_data / "chatharuhi" / who).rglob("*.txt"))]
    lines = dict.fromkeys(line for file in files for line in speech.findall(file.read_text(encoding="utf-8")))
    if not lines:
        pytest.skip("ChatHaruhi's dialogues are not in the shared data")
    assert len(lines) > 3000
    assert sum(stance(line, "孙悟空", "zh") == BROKE for line in lines) / len(lines) < 0.001
    assert sum(speaks_for_others(line, "孙悟空", "我") for line in lines) / len(lines) < 0.001


# The scorer


def outputs(*texts: str, stop: str = "quote") -> dict[str, Any]:
    return {"replies": [{"text": t, "stop_reason": stop} for t in texts]}


def test_a_conversation_of_known_replies() -> None:
    row = {
        "language": "en",
        "expected": [
            {"facts": [["Edda"]]},
            {"facts": [["cook*"]], "never": ["captain of"]},
            {"facts": [["Ines"]], "after": 10},
            {"never_told": True},
        ],
    }
    replies = outputs("I am Edda.", "As an AI, I was captain of a cook.", "Your sister is Ines.", "You never told me.")
    found = score(row, replies, "Edda")
    assert (found["in_role"], found["declined"], found["own_lines"]) == (0.75, 0.25, 1.0)
    assert (found["facts"], found["recall"], found["recall@10"], found["honest"]) == (0.5, 1.0, 1.0, 1.0)
    assert found["consistency"] == pytest.approx((0.75 + 1.0 + 0.5) / 3)
    assert (found["memory"], found["quality"]) == (1.0, 1.0)


def test_empty_truncated_repeated_and_foreign_replies_lower_quality() -> None:
    row = {"language": "zh", "expected": [{}, {}, {}, {}]}
    found = score(row, outputs("钟要修准。", "钟要修准。", "The clock is fine.", "", stop="length"), "顾青禾")
    assert (found["answered"], found["ended"]) == (0.75, 0.0)
    assert (found["fresh"], found["language"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert (found["facts"], found["memory"]) == (None, None)


def test_nothing_is_expected_in_a_conversation_with_a_simulated_user() -> None:
    row = {"language": "en", "expected": [{"facts": [["Edda"]]}]}
    assert score(row, outputs("Soup.") | {"simulated": True}, "Edda")["facts"] is None
