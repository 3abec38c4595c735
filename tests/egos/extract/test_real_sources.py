"""Static and dynamic Extract on real novels, scripts, chat logs and profiles: all evidence matches its source.

The model is simulated: it writes sentences of the chunk, some with an invented name or number. The true sentences are
kept with their places, the invented ones are not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from egosrag.assemble import source_search
from egosrag.egos.extract.chunks import source_sentences
from egosrag.egos.extract.dynamic import Lookup
from egosrag.egos.extract.static import Extract
from egosrag.egos.view import ConversationView
from egosrag.models.scripted import ScriptedChatModel
from egosrag.rag.documents.load import read_text
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.schema import Evidence, Role, Turn
from egosrag.text.names import mention_pattern

Sources = list[tuple[str, str]]
MAX_CHUNKS = 6  # of one source that are read, to save time: the others are like them


class InventingModel(ScriptedChatModel):
    """Writes two sentences that mention the role, and variants of each with an invented name or number."""

    role: str

    def _next(self, messages: Any, stop: Any) -> str:
        text = str(messages[-1].text if messages[-1].text else messages[-2].text)
        source = re.split("Passage:\n|段落：\n|Text:\n|文字：\n", text)[-1]
        named = mention_pattern(self.role)
        sentences = [source[a:b] for a, b in source_sentences(source) if b - a < 120 and named.search(source[a:b])][:2]
        lines = [line for sentence in map(one_line, sentences) for line in (sentence, *invented(sentence))]
        super()._next(messages, stop)  # records the call
        return "\n".join("Background: " + line for line in lines) or "None"


def one_line(text: str) -> str:
    return " ".join(text.split())


def invented(sentence: str) -> Iterator[str]:
    yield sentence.rstrip(".。") + ", 4711."
    yield "Bisces " + sentence
    yield sentence.rstrip(".。") + "，约翰·史密斯也在。"


def places(role: Role) -> list[Evidence]:
    parts = (role.background, role.personality, role.speaking_style, role.relations, role.sample_dialogue)
    return [place for part in parts for statement in part for place in statement.evidence]


def card_of(sources: Sources, name: str) -> Role:
    model = InventingModel(responses=["-"] * MAX_CHUNKS, role=name, context_window=1024)
    return Extract(model, max_chunks=MAX_CHUNKS).invoke((sources, name))


def assert_supported(role: Role, sources: Sources) -> None:
    by_name = dict(sources)
    assert role.background
    assert places(role)
    for place in places(role):
        assert by_name[place.source][place.start : place.end] == place.quote
    for statement in (*role.background, *role.personality, *role.speaking_style, *role.relations):
        assert statement.evidence
        assert not re.search("4711|Bisces|约翰·史密斯", statement.text)


@pytest.mark.parametrize(("folder", "name"), [("haruhi", "春日"), ("Sheldon", "Sheldon"), ("wukong", "悟空")])
def test_scripts_of_chat_haruhi_become_cards(folder: str, name: str, shared_data: Path) -> None:
    files = [
        shared_data / "chatharuhi" / folder / "system_prompt.txt",
        *sorted((shared_data / "chatharuhi" / folder / "texts").iterdir())[:40],
    ]
    sources = [(path.name, read_text(path)) for path in files]
    role = card_of(sources, name)
    assert_supported(role, sources)
    assert role.sample_dialogue, "a script has lines of its characters"
    assert {line.speaker for line in role.sample_dialogue} == {name}


def test_profiles_and_scenes_of_character_eval_become_cards(shared_data: Path) -> None:
    folder = shared_data / "charactereval"
    profiles: dict[str, dict[str, str]] = json.loads((folder / "character_profiles.json").read_text(encoding="utf-8"))
    contexts: list[dict[str, str]] = json.loads((folder / "contexts.json").read_text(encoding="utf-8"))
    spoken = 0
    for name, profile in profiles.items():
        facts = "\n".join(f"{key}：{value}" for key, value in profile.items())
        scenes = [row["context"] for row in contexts if row["role"] == name][:2]
        sources = [("profile", f"{name}\n{facts}"), *((f"scene {n}", text) for n, text in enumerate(scenes))]
        role = card_of(sources, name)
        assert_supported(role, sources)
        spoken += bool(role.sample_dialogue)
    assert len(profiles) == 39
    assert spoken >= 35


@pytest.mark.parametrize(
    ("folder", "name", "line", "word"),
    [
        ("chatharuhi/wukong/texts", "孙悟空", "你还记得五行山吗？", "山"),
        ("chatharuhi/Sheldon/texts", "Sheldon", "Who is Leonard to you?", "Leonard"),
        ("texts", "Gatsby", "What is the green light at the end of the dock?", "green light"),
    ],
)
def test_lookup_finds_what_the_line_is_about_in_real_sources(
    folder: str, name: str, line: str, word: str, shared_data: Path
) -> None:
    files = sorted(path for path in (shared_data / folder).iterdir() if path.suffix == ".txt")[:40]
    lookup = Lookup(source_search(ManualIndex.build(files)), len, 1500)
    talk = ConversationView(role=Role(name=name), turns=(Turn(id="1", speaker="Me", text=line),))
    hits = lookup.invoke(talk)
    assert hits
    assert sum(len(place.quote) for place in hits) <= 1500
    assert any(word in place.quote for place in hits)
    texts = {path.name: read_text(path) for path in files}
    for place in hits:
        assert texts[Path(place.source).name][place.start : place.end] == place.quote


def test_a_novel_becomes_a_card_with_evidence_from_all_of_it(shared_data: Path) -> None:
    sources = [("gatsby.txt", read_text(shared_data / "texts" / "gatsby.txt"))]
    role = card_of(sources, "Gatsby")
    assert_supported(role, sources)
    assert len(role.sample_dialogue) >= 2
    assert max(place.start for place in places(role)) > len(sources[0][1]) / 2, "the second half too"
