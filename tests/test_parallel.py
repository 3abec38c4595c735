"""Bulk work: the same result here and on a Ray cluster of two nodes; who is killed goes on with the next shard."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding

from egosrag.errors import SettingsError, SourceError
from egosrag.parallel import by_ray, here
from egosrag.rag.index import bulk
from egosrag.rag.index.bulk import Bulk
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.retrieval.search import Retriever
from evals.common.records import read_jsonl
from evals.ppl.command import evaluate
from tests.conftest import ROOT
from tests.evals.ppl.data import make_data

PROGRAM = str(Path(sys.executable).parent / "egosrag")


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """The environment of a program that uses a local cluster of two nodes with a processor each."""
    pytest.importorskip("ray", reason="no Ray here: pip install 'egosrag[ray]'")
    command = [sys.executable, "-m", "tests.two_nodes"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as nodes:
        assert nodes.stdin and nodes.stdout
        yield {**os.environ, "RAY_ADDRESS": nodes.stdout.readline().strip(), "OMP_NUM_THREADS": "1"}
        nodes.stdin.close()


def documents(folder: Path, count: int) -> Path:
    for n in range(count):
        path = folder / f"part{n}.md"
        path.parent.mkdir(exist_ok=True)
        text = " ".join(f"Part {n} has {m} screws and weighs {n * m} grams." for m in range(1, 40))
        path.write_text(f"# Part {n}\n\n{text}\n", encoding="utf-8")
    return folder


def same(a: ManualIndex, b: ManualIndex) -> None:
    assert (a.pages, a.passages, a.page_of) == (b.pages, b.passages, b.page_of)
    for question in ("How many screws has part 3?", "What weighs 12 grams?"):
        first, second = Retriever(a).search(question), Retriever(b).search(question)
        assert [hit.passage for hit in first] == [hit.passage for hit in second]
    if a.dense and b.dense:
        np.testing.assert_allclose(a.dense.vectors, b.dense.vectors, atol=1e-5)


BUILD = """
import json, os, sys, time
import ray
from langchain_core.embeddings import DeterministicFakeEmbedding
from egosrag.rag.index import bulk
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.parallel import by_ray

def where(n):
    time.sleep(0.2)
    return ray.get_runtime_context().get_node_id()

nodes = {node for _, node in by_ray(where, range(8))}
bulk.SHARD_BYTES, bulk.SHARD_TEXTS = 4000, 16
ManualIndex.build([sys.argv[1]], sys.argv[2], DeterministicFakeEmbedding(size=8), bulk=bulk.Bulk(by_ray))
print(json.dumps([len(nodes), os.environ["RAY_USAGE_STATS_ENABLED"]]))
"""


@pytest.mark.timeout(600)
def test_an_index_that_two_nodes_built_is_the_one_built_here(cluster: dict[str, str], tmp_path: Path) -> None:
    folder = documents(tmp_path / "docs", 4)
    words = [sys.executable, "-c", BUILD, str(folder), str(tmp_path / "far")]
    done = subprocess.run(words, env=cluster, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [2, "0"], "two nodes worked, and told nobody"
    embedder = DeterministicFakeEmbedding(size=8)
    same(ManualIndex.build([folder], embedder=embedder), ManualIndex.load(tmp_path / "far", embedder))


DYING = """
import os, signal, sys, time
from pathlib import Path
from langchain_core.embeddings import DeterministicFakeEmbedding
from egosrag.rag.index import bulk
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.parallel import by_ray

mode, marks = sys.argv[3], Path(sys.argv[4])

def once(name):  # the worker dies in the middle of its first shard of either kind
    with open(marks / f"{name}-{os.getpid()}-{time.monotonic_ns()}", "x"):
        pass
    if mode == "worker" and len(list(marks.glob(f"{name}-*"))) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.3)

def read_shard(files):
    once("read")
    from egosrag.rag.index.bulk import read_shard as whole  # over there it is the program's own
    return whole(files)

def embed_shard(texts, embedder):
    once("embed")
    from egosrag.rag.index.bulk import embed_shard as whole
    return whole(texts, embedder)

bulk.read_shard, bulk.embed_shard, bulk.SHARD_BYTES, bulk.SHARD_TEXTS = read_shard, embed_shard, 1, 16
keep = bulk.Bulk(by_ray, Path(sys.argv[5]))
ManualIndex.build([sys.argv[1]], sys.argv[2], DeterministicFakeEmbedding(size=8), bulk=keep)
"""


@pytest.mark.timeout(600)
def test_a_worker_that_is_killed_loses_nothing(cluster: dict[str, str], tmp_path: Path) -> None:
    folder, marks = documents(tmp_path / "docs", 4), tmp_path / "marks"
    marks.mkdir()
    words = [str(folder), str(tmp_path / "far"), "worker", str(marks), str(tmp_path / "keep")]
    done = subprocess.run([sys.executable, "-c", DYING, *words], env=cluster, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list(marks.glob("read-*"))) == 5, "four shards, of which one was begun twice"
    embedder = DeterministicFakeEmbedding(size=8)
    shards = -(-len(ManualIndex.build([folder]).passages) // 16)
    assert len(list(marks.glob("embed-*"))) == shards + 1
    same(ManualIndex.build([folder], embedder=embedder), ManualIndex.load(tmp_path / "far", embedder))


@pytest.mark.timeout(600)
def test_who_started_the_work_may_be_killed_too(cluster: dict[str, str], tmp_path: Path) -> None:
    folder, keep = documents(tmp_path / "docs", 8), tmp_path / "keep"
    for name in ("first", "second"):  # what the first one had begun may go on for a moment after its death
        (tmp_path / name).mkdir()

    def words(marks: str) -> list[str]:
        given = [str(folder), str(tmp_path / "far"), "driver", str(tmp_path / marks), str(keep)]
        return [sys.executable, "-c", DYING, *given]

    with subprocess.Popen(words("first"), env=cluster, cwd=ROOT, stderr=subprocess.PIPE) as driver:
        while driver.poll() is None and len([*keep.glob("*")] if keep.exists() else []) < 2:
            time.sleep(0.01)
        driver.kill()
    assert driver.returncode == -signal.SIGKILL and not (tmp_path / "far").exists()
    kept = sum(not path.suffix for path in keep.glob("pages-*"))  # with one it is half written
    done = subprocess.run(words("second"), env=cluster, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "second").glob("read-*"))) == 8 - kept, "what was kept is not read again"
    embedder = DeterministicFakeEmbedding(size=8)
    same(ManualIndex.build([folder], embedder=embedder), ManualIndex.load(tmp_path / "far", embedder))


@pytest.mark.timeout(600)
def test_the_command_tells_what_is_wrong_with_a_document_over_there(cluster: dict[str, str], tmp_path: Path) -> None:
    folder = documents(tmp_path / "docs", 2)
    (folder / "broken.pdf").write_bytes(b"no pdf")
    words = [PROGRAM, "index", str(folder), "--engine", "ray", "--out", str(tmp_path / "far")]
    done = subprocess.run(words, env=cluster, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("egosrag: ")
    assert "broken.pdf" in done.stderr and "Traceback" not in done.stderr


def test_without_ray_the_engine_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("egosrag.parallel.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"pip install 'egosrag\[ray\]'"):
        list(by_ray(str, [1]))


def test_a_shard_that_is_done_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = documents(tmp_path / "docs", 5)
    monkeypatch.setattr(bulk, "SHARD_BYTES", 1)  # a shard each
    whole = bulk.load_document
    read: list[str] = []

    def breaks(path: Path, source: str, **more: Any) -> Any:
        if len(read) == 3 and not (tmp_path / "mended").exists():
            raise SourceError("the disk broke")
        read.append(source)
        return whole(path, source, **more)

    monkeypatch.setattr(bulk, "load_document", breaks)
    with pytest.raises(SourceError, match="the disk broke"):
        ManualIndex.build([folder], tmp_path / "index", bulk=Bulk(here, tmp_path / "keep"))
    assert read == ["part0.md", "part1.md", "part2.md"]
    read.clear()
    (tmp_path / "mended").touch()
    (folder / "part1.md").write_text("# Part 1\n\nIt was changed meanwhile.\n", encoding="utf-8")
    kept = sorted((tmp_path / "keep").iterdir())
    kept[0].write_bytes(kept[0].read_bytes()[:9])
    index = ManualIndex.build([folder], tmp_path / "index", bulk=Bulk(here, tmp_path / "keep"))
    assert 3 <= len(read) <= 4 and {"part1.md", "part3.md", "part4.md"} <= set(read), "what is damaged or was changed"
    monkeypatch.setattr(bulk, "load_document", whole)
    same(index, ManualIndex.build([folder]))
    assert len(list((tmp_path / "keep").iterdir())) == 1, "what belongs to no build any more is left"


def test_vectors_that_are_kept_are_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = documents(tmp_path / "docs", 3)
    monkeypatch.setattr(bulk, "SHARD_TEXTS", 4)
    embedder = DeterministicFakeEmbedding(size=8)
    given: list[int] = []

    def embed(texts: list[str], *, embedder: Any) -> Any:
        if len(given) == 2:
            raise KeyboardInterrupt
        given.append(len(texts))
        return bulk.load_embedder(embedder).passages(texts)  # type: ignore[union-attr]

    monkeypatch.setattr(bulk, "embed_shard", embed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            ManualIndex.build([folder], tmp_path / "index", embedder, bulk=Bulk(here, tmp_path / "keep"))
        assert given == [4, 4]
    monkeypatch.undo()
    monkeypatch.setattr(bulk, "SHARD_TEXTS", 4)
    index = ManualIndex.build([folder], tmp_path / "index", embedder, bulk=Bulk(here, tmp_path / "keep"))
    same(index, ManualIndex.build([folder], embedder=embedder))
    assert not list((tmp_path / "keep").iterdir())


@pytest.mark.timeout(600)
def test_an_evaluation_on_two_nodes_is_the_one_made_here(
    cluster: dict[str, str], tiny_qwen: Path, tmp_path: Path
) -> None:
    data = make_data(tmp_path, 70)
    chosen = {name: data[name] for name in ("arc_easy", "hellaswag")}
    words = [f"--data={name}={path}" for name, path in chosen.items()]
    words += [f"--model={tiny_qwen}", "--device=cpu", "--engine=ray", "--json"]
    command = [sys.executable, "-m", "evals.ppl", *words, f"--predictions={tmp_path / 'far.jsonl'}"]
    done = subprocess.run(command, env=cluster, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    near = evaluate(str(tiny_qwen), chosen, predictions=tmp_path / "near.jsonl", device="cpu")
    assert json.loads(done.stdout) == json.loads(json.dumps(near))
    rows = [read_jsonl(tmp_path / f"{name}.jsonl") for name in ("far", "near")]
    far, mine = ({tuple(row["key"]): row for row in some if "key" in row} for some in rows)
    assert far.keys() == mine.keys() and len(far) == 140
    for key, record in mine.items():
        assert far[key]["prediction"] == record["prediction"]
        assert far[key]["continuation"] == pytest.approx(record["continuation"], abs=1e-3)
