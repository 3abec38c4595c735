"""The domain embedder: pairs from the documents alone, saved only if held-out retrieval improves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from egosrag.errors import TrainingError
from egosrag.rag.index.bm25 import Bm25
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.retrieval.search import Retriever
from egosrag.schema import Passage
from finetune import embedder
from finetune.cli import parse
from finetune.data.embedder_pairs import hard_negatives, make_pairs
from finetune.embedder import EmbedderArgs

ROOT = Path(__file__).resolve().parent.parent.parent
CONFIG = ROOT / "finetune" / "configs" / "embedder.yaml"
SAMPLE = ROOT / "egosrag" / "data" / "samples" / "manual.zh.md"


def passage(page: int, title: str, text: str) -> Passage:
    return Passage(id=str(page), source="a", page=page, start=0, end=len(text), text=text, section=title)


PASSAGES = [
    passage(1, "后备箱", "按下按钮打开后备箱的盖子。关闭之前请检查周围有没有障碍物。"),
    passage(2, "机油", "启动以前检查机油尺的刻度。机油不足时缓慢添加同样型号的机油。"),
]


def test_pairs_are_headings_sentences_rare_words_questions_and_synonyms() -> None:
    bm25 = Bm25.build("words", [p.text for p in PASSAGES])
    pairs = make_pairs(PASSAGES, bm25, lambda text: f"这里讲{text[:4]}吗？", seed=1)
    assert {p.kind for p in pairs} == {"title", "sentence", "keywords", "question", "meaning"}
    assert {(p.query, p.passage) for p in pairs if p.kind == "title"} == {("后备箱", 0), ("机油", 1)}
    synonyms = [p for p in pairs if p.kind == "meaning"]
    assert synonyms and not any("后备箱" in p.query for p in synonyms)
    assert pairs == make_pairs(PASSAGES, bm25, lambda text: f"这里讲{text[:4]}吗？", seed=1)


def test_a_hard_negative_is_from_another_page() -> None:
    bm25 = Bm25.build("words", [p.text for p in PASSAGES])
    pairs = make_pairs(PASSAGES, bm25, None, seed=1)
    assert hard_negatives(pairs, PASSAGES, bm25) == [1 - p.passage for p in pairs]


def test_the_configuration_opens_with_its_command_and_parses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    head = CONFIG.read_text(encoding="utf-8")
    assert head.startswith("# python -m finetune.embedder --config finetune/configs/embedder.yaml\n")
    assert "# Hardware: " in head and "# Expected time: " in head and "estimate:" in head
    args = parse(EmbedderArgs, ["--config", str(CONFIG)])
    assert args.out == "runs/embedder" and all((ROOT / path).is_file() for path in args.data)
    assert set(yaml.safe_load(head)) <= {f.name for f in args.__dataclass_fields__.values()}


def test_a_static_embedder_improves_and_can_be_used_by_an_index(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "embedder"
    words = [
        "--data",
        str(SAMPLE),
        "--out",
        str(out),
        "--dimension",
        "64",
        "--vocabulary",
        "1500",
        "--batch_size",
        "16",
    ]
    assert embedder.main(words) == 0
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert record["after"]["mrr"] > record["before"]["mrr"]
    assert json.loads(capsys.readouterr().out)["after"] == record["after"]
    assert not [p for p in out.rglob("*") if p.suffix in {".bin", ".pkl", ".pt"}]
    index = ManualIndex.build([SAMPLE], embedder=str(out))
    assert index.manifest.embedder is not None and index.manifest.embedder.dimension == 64
    assert Retriever(index).search("钥匙用的是什么型号的电池？")[0].passage.page == 2
    assert embedder.main(words) == 1
    assert "is not empty" in capsys.readouterr().err


def test_an_embedder_that_is_not_better_is_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedder, "measure", lambda *_: {"hit@1": 0.5, "hit@5": 0.5, "mrr": 0.5})
    out = tmp_path / "embedder"
    with pytest.raises(TrainingError, match="nothing was saved"):
        embedder.embedder(EmbedderArgs(data=[str(SAMPLE)], out=str(out), batch_size=16, vocabulary=1500))
    assert not out.exists()


def test_too_few_documents_are_reported_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.md").write_text("# 机油\n检查机油。\n", encoding="utf-8")
    assert embedder.main(["--data", str(tmp_path / "a.md"), "--out", str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "give more" in err
    assert embedder.main(["--data", "x", "--out", "y", "--held_out", "2"]) == 2
