"""Search: synonyms, continued sections, duplicates and reranking."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from egosrag.errors import ModelError, SettingsError
from egosrag.models.local import LocalChatModel
from egosrag.models.scripted import ScriptedChatModel
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.retrieval.reranking import LikelihoodReranker, Reranker
from egosrag.rag.retrieval.search import Retriever
from egosrag.rag.retrieval.thesaurus import Synonyms, synonym_groups, synonyms
from tests.tiny import make_tiny_qwen

ZH = {
    1: "行李舱\n按下车牌上方的按钮即可打开行李舱。",
    2: "蓄电池\n蓄电池电量不足时，连接充电器。",
    3: "驻车制动\n拉起中控台上的开关，驻车制动启用。",
    4: "空调\n选择合适的温度，其余由系统自动控制。",
}
EN = {
    1: "Tailgate\nPress the button above the number plate.",
    2: "Windscreen\nThe washer tank holds four litres.",
    3: "Parking brake\nPull the switch on the centre console.",
    4: "Coolant\nNever open the cap of the hot reservoir.",
}


@pytest.fixture
def built(tmp_path: Path) -> Callable[[dict[int, str]], ManualIndex]:
    def build(texts: dict[int, str]) -> ManualIndex:
        path = tmp_path / "pages.jsonl"
        rows = [json.dumps({"page": n, "text": text}, ensure_ascii=False) for n, text in texts.items()]
        path.write_text("\n".join(rows), encoding="utf-8")
        return ManualIndex.build([path])

    return build


def contained(*terms: str) -> Callable[[str], bool]:
    return lambda term: term in terms


def test_a_term_has_the_synonyms_that_the_documents_contain() -> None:
    assert synonyms("后备箱怎么开？", "zh", contained("行李舱")) == [Synonyms("后备箱", ["行李舱"])]
    assert synonyms("Where is the boot?", "en", contained("tailgate")) == [Synonyms("boot", ["tailgate"])]
    assert synonyms("Two tyres are flat.", "en", contained("tires")) == [Synonyms("tyres", ["tires"])]
    assert synonyms("天气怎么样？", "zh", contained("行李舱")) == []


def test_terms_inside_longer_ones_or_inside_words_have_no_synonyms() -> None:
    assert [found.term for found in synonyms("刹车油在哪里", "zh", contained("制动液", "制动"))] == ["刹车油"]
    assert [found.term for found in synonyms("How do I unlock it?", "en", contained("closed", "lock up"))] == []


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_thesaurus_is_well_formed(language: str) -> None:
    groups = synonym_groups(language)
    assert len(groups) > 100
    assert all(len(group) > 1 for group in groups)
    assert all(term == term.strip() and term for group in groups for term in group.values())


@pytest.mark.parametrize(
    ("texts", "question", "page"),
    [
        (ZH, "后备厢怎么弄开？", 1),
        (ZH, "电瓶没电了怎么办？", 2),
        (ZH, "手刹在哪？", 3),
        (ZH, "冷气太小", 4),
        (EN, "How do I get the trunk open?", 1),
        (EN, "What goes in behind the windshield?", 2),
        (EN, "How does the handbrake work?", 3),
        (EN, "May I top up the antifreeze?", 4),
    ],
)
def test_the_users_words_find_the_manuals(
    built: Callable[[dict[int, str]], ManualIndex], texts: dict[int, str], question: str, page: int
) -> None:
    assert Retriever(built(texts)).search(question)[0].passage.page == page


def test_the_manuals_own_word_ranks_above_its_synonym(
    built: Callable[[dict[int, str]], ManualIndex],
) -> None:
    index = built({1: "电瓶\n电瓶在座椅下面。", 2: "蓄电池\n蓄电池在前舱。"})
    assert [hit.passage.page for hit in Retriever(index).search("电瓶在哪里？")] == [1, 2]


def test_the_page_after_the_best_one_ranks_above_an_equal_page(
    built: Callable[[dict[int, str]], ManualIndex],
) -> None:
    """Pages 1 and 4 have the same text; 4 follows the best page."""
    same = "检查以后，按顺序装回。"
    index = built({1: same, 2: "其他内容。", 3: "机油\n机油这样检查：机油尺要擦净。", 4: same})
    assert [hit.passage.page for hit in Retriever(index).search("怎么检查机油？")] == [3, 4, 1]


@pytest.fixture(scope="module")
def tiny_reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random cross-encoder of one layer."""
    from sentence_transformers import CrossEncoder
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    folder = tmp_path_factory.mktemp("reranker")
    (folder / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"机油检查电池"]), "utf-8"
    )
    config = BertConfig(
        vocab_size=11, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=1
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    CrossEncoder(str(folder), max_length=64).save_pretrained(str(folder))
    return folder


def test_a_cross_encoder_reranks_the_first_ten(
    built: Callable[[dict[int, str]], ManualIndex], tiny_reranker: Path
) -> None:
    index = built(ZH)
    plain = Retriever(index).search("蓄电池在哪里？", top_k=4)
    hits = Retriever(index, Reranker(str(tiny_reranker))).search("蓄电池在哪里？", top_k=4)
    assert {hit.passage.id for hit in hits} >= {hit.passage.id for hit in plain}
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert all(0 <= hit.score <= 1 for hit in hits)
    assert Retriever(index, Reranker(str(tiny_reranker))).search("第3页讲什么？")[0].passage.page == 3


class Likely:
    """Finds a question likely after the passages that have a word."""

    def __init__(self, word: str) -> None:
        self.word = word
        self.read: list[str] = []

    def log_likelihoods(self, messages: Any, text: str) -> list[float]:
        self.read.append(str(messages[-1].content))
        return [-1.0 if self.word in self.read[-1] else -2.0] * len(text)


def test_the_chat_model_reranks_the_first_five_by_the_likelihood_of_the_question(
    built: Callable[[dict[int, str]], ManualIndex],
) -> None:
    index = built({n: f"检查机油，第{n}项。" for n in range(1, 9)})
    plain = [hit.passage.page for hit in Retriever(index).search("怎么检查机油？", top_k=8)]
    model = Likely(f"第{plain[3]}项")
    hits = Retriever(index, LikelihoodReranker(model)).search("怎么检查机油？", top_k=8)
    assert [hit.passage.page for hit in hits] == [plain[3], *plain[:3], *plain[4:]]
    assert len(model.read) == 5 and all(text.startswith("手册的一段：") for text in model.read)
    assert all(0 <= hit.score <= 1 for hit in hits)
    english = Retriever(index, LikelihoodReranker(model)).search("How is 机油 checked?")
    assert english and model.read[-1].startswith("Passage of a manual:")


def test_a_real_model_reranks_and_one_without_likelihoods_is_an_error(tmp_path: Path) -> None:
    make_tiny_qwen(tmp_path / "tiny")
    model = LocalChatModel(model=str(tmp_path / "tiny"))
    scores = LikelihoodReranker(model).scores("Where is the lever?", ["The lever is on the left.", "Tyres."])
    assert len(scores) == 2 and all(0 < score < 1 for score in scores)
    with pytest.raises(SettingsError, match="reranker=model needs a model on this machine"):
        LikelihoodReranker(ScriptedChatModel(responses=[]))


def test_a_cross_encoder_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ModelError, match="no-such-folder"):
        Reranker("./no-such-folder")


def test_a_duplicate_document_takes_one_place(tmp_path: Path) -> None:
    text = "# Tap\n\nThe tap is closed with the key B8.\n"
    for name, more in {"a": "", "b": "", "c": "\nThe key B8 hangs beside the door.\n"}.items():
        (tmp_path / f"{name}.md").write_text(text + more, encoding="utf-8")
    found = Retriever(ManualIndex.build([tmp_path])).search("Which key closes the tap?", 3)
    assert sorted(hit.passage.source for hit in found) in (["a.md", "c.md"], ["b.md", "c.md"])
