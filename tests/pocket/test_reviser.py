"""The reviser of the embedded model: cards quote their sources, summaries quote only what was said."""

from __future__ import annotations

from egosrag.egos.extract.static import Extract
from egosrag.models.scripted import ScriptedChatModel
from egosrag.pocket.reviser import PocketReviser
from egosrag.schema import Role
from tests.egos.extract.sources import EN, ZH, assert_evidence_matches, texts


def extracted(response: str, text: str, name: str) -> Role:
    step = Extract(ScriptedChatModel(responses=[response]), reviser=PocketReviser())
    return step.invoke(([("a.txt", text)], name))


def test_cards_quote_sentences_of_the_sources() -> None:
    role = extracted("Background: Ann Lee is a Hull sailor.", EN, "Ann Lee")
    assert texts(role, "background") == ["Ann Lee is a sailor from Hull.", "Ann Lee was born in 1931."]
    assert "Ann Lee is brave and a little proud." in texts(role, "personality")
    assert texts(role, "speaking_style") == ["Ann Lee speaks in short sentences."]
    assert not any("Fox" in statement for statement in texts(role, "background") + texts(role, "personality"))
    assert_evidence_matches(role, [("a.txt", EN)])
    role = extracted("背景：顾青禾是白石村的修钟匠。", ZH, "顾青禾")
    assert {"顾青禾是云岭镇的修钟匠。", "顾青禾出生在白石村，今年46岁。"} <= set(texts(role, "background"))
    assert "顾青禾说话慢条斯理。" in texts(role, "speaking_style")
    assert "顾青禾是白石村的修钟匠。" not in texts(role, "background"), (
        "the sentence that supports it is quoted instead"
    )
    assert_evidence_matches(role, [("a.txt", ZH)])


def test_a_summary_line_that_quotes_what_nobody_said_is_rejected() -> None:
    turns = ["Let us meet at 8:15.", "I will be there: at the mill.", "我叫林舟。"]
    reviser = PocketReviser()
    assert not reviser.keeps_scene("Tim tells Me: I am at 8:15.", turns)
    assert not reviser.keeps_scene("我告诉她：小友，我叫林舟。", turns)
    assert reviser.keeps_scene("Me tells Tim: Let us meet at 8:15.", turns)
    assert reviser.keeps_scene("Tim tells Me: I will be there: at the mill.", turns)
    assert reviser.keeps_scene("我告诉她：我叫林舟。", turns)
    assert reviser.keeps_scene("Me and Tim talk.", turns)
