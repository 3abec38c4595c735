"""Sources for the tests of Extract, and what a card of them must hold."""

from __future__ import annotations

from typing import Any

from egosrag.models.scripted import ScriptedChatModel
from egosrag.schema import Role

EN = (
    "Ann Lee is a sailor from Hull. She is brave and a little proud. She was born in 1931.\n\n"
    "“I never lost a ship,” said Ann. Her brother Tom keeps a shop. Mr. Fox is a clerk, and he is shy.\n\n"
    "Ann Lee speaks in short sentences. “Sit down,” said Mr. Fox."
)
ZH = (
    "顾青禾是云岭镇的修钟匠。他出生在白石村，今年46岁。他细心而固执。\n"
    "顾青禾道：“坏了的东西都能修好。”老秦是他的棋友。\n顾青禾说话慢条斯理。阿铁说：“师傅好。”"
)


def model(*responses: str, **settings: Any) -> ScriptedChatModel:
    return ScriptedChatModel(responses=list(responses), **settings)


def texts(role: Role, part: str) -> list[str]:
    return [statement.text for statement in getattr(role, part)]


def assert_evidence_matches(role: Role, sources: list[tuple[str, str]]) -> None:
    by_name = dict(sources)
    parts = (role.background, role.personality, role.speaking_style, role.relations, role.sample_dialogue)
    for statement in (s for part in parts for s in part):
        assert statement.evidence
        for place in statement.evidence:
            assert by_name[place.source][place.start : place.end] == place.quote


def novel(paragraphs: int) -> str:
    names = ["Nick", "Daisy", "Tom", "Jordan"]
    parts = []
    for n in range(paragraphs):
        who = "Gatsby" if n % 9 == 0 else names[n % 4]
        parts.append(f"{who} walked along the shore on day {n}, and the lights went out one after another.")
        parts.append("Nobody knew where the road went, and nobody asked.")
    return "\n\n".join(parts)
