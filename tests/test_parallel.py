"""Bulk work: the same result in one process and on a Ray cluster of two nodes; a killed build resumes."""

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

from egosrag.errors import SettingsError, StoreError
from egosrag.parallel import run_on_ray, run_serially
from egosrag.rag.index import bulk
from egosrag.rag.index.bulk import ShardedBuild
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.retrieval.search import Retriever
from evals.common.records import read_jsonl
from evals.ppl.run import evaluate
from tests.conftest import ROOT
from tests.evals.ppl.data import make_data

PROGRAM = str(Path(sys.executable).parent / "egosrag")


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """The environment of a program that uses a local cluster of two nodes with one processor each."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'egosrag[ray]'")
    command = [sys.executable, "-m", "tests.two_nodes"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as nodes:
        assert nodes.stdin and nodes.stdout
        address = nodes.stdout.readline().strip()
        assert address, "the cluster did not start; Ray waits half a minute for a node"  # else each test starts its own
        yield {**os.environ, "RAY_ADDRESS": address, "OMP_NUM_THREADS": "1"}
        nodes.stdin.close()


def documents(folder: Path, count: int) -> Path:
    for n in range(count):
        path = folder / f"part{n}.md"
        path.parent.mkdir(exist_ok=True)
        text = " ".join(f"Part {n} has {m} screws and weighs {n * m} grams." for m in range(1, 40))
        path.write_text(f"# Part {n}\n\n{text}\n", encoding="utf-8")
    return folder


def assert_same(a: ManualIndex, b: ManualIndex) -> None:
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
from egosrag.parallel import run_on_ray

def node_id(n):
    time.sleep(0.2)
    return ray.get_runtime_context().get_node_id()

nodes = {node for _, node in run_on_ray(node_id, range(8))}
bulk.SHARD_BYTES, bulk.SHARD_TEXTS = 4000, 16
embedder = DeterministicFakeEmbedding(size=8)
ManualIndex.build([sys.argv[1]], sys.argv[2], embedder, sharding=bulk.ShardedBuild(run_on_ray))
print(json.dumps([len(nodes), os.environ["RAY_USAGE_STATS_ENABLED"]]))
"""


@pytest.mark.timeout(600)
def test_an_index_built_on_two_nodes_equals_one_built_in_process(cluster: dict[str, str], tmp_path: Path) -> None:
    folder = documents(tmp_path / "docs", 4)
    words = [sys.executable, "-c", BUILD, str(folder), str(tmp_path / "remote")]
    done = subprocess.run(words, env=cluster, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [2, "0"], "two nodes worked, usage statistics off"
    embedder = DeterministicFakeEmbedding(size=8)
    assert_same(ManualIndex.build([folder], embedder=embedder), ManualIndex.load(tmp_path / "remote", embedder))


DYING = """
import os, signal, sys, time
from pathlib import Path
from langchain_core.embeddings import DeterministicFakeEmbedding
from egosrag.rag.index import bulk
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.parallel import run_on_ray

mode, marks = sys.argv[3], Path(sys.argv[4])

def mark(name):  # the worker is killed in the middle of its first shard of each kind
    with open(marks / f"{name}-{os.getpid()}-{time.monotonic_ns()}", "x"):
        pass
    if mode == "worker" and len(list(marks.glob(f"{name}-*"))) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.3)

def read_shard(files):
    mark("read")
    from egosrag.rag.index.bulk import read_shard as real  # on the worker the module is not patched
    return real(files)

def embed_shard(texts, embedder):
    mark("embed")
    from egosrag.rag.index.bulk import embed_shard as real
    return real(texts, embedder)

bulk.read_shard, bulk.embed_shard, bulk.SHARD_BYTES, bulk.SHARD_TEXTS = read_shard, embed_shard, 1, 16
keep = bulk.ShardedBuild(run_on_ray, Path(sys.argv[5]))
ManualIndex.build([sys.argv[1]], sys.argv[2], DeterministicFakeEmbedding(size=8), sharding=keep)
"""


@pytest.mark.timeout(600)
def test_a_worker_that_is_killed_loses_nothing(cluster: dict[str, str], tmp_path: Path) -> None:
    folder, marks = documents(tmp_path / "docs", 4), tmp_path / "marks"
    marks.mkdir()
    words = [str(folder), str(tmp_path / "remote"), "worker", str(marks), str(tmp_path / "keep")]
    done = subprocess.run([sys.executable, "-c", DYING, *words], env=cluster, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list(marks.glob("read-*"))) == 5, "four shards, one of them started twice"
    embedder = DeterministicFakeEmbedding(size=8)
    shards = -(-len(ManualIndex.build([folder]).passages) // 16)
    assert len(list(marks.glob("embed-*"))) == shards + 1
    assert_same(ManualIndex.build([folder], embedder=embedder), ManualIndex.load(tmp_path / "remote", embedder))


@pytest.mark.timeout(600)
def test_a_killed_driver_resumes(cluster: dict[str, str], tmp_path: Path) -> None:
    folder, keep = documents(tmp_path / "docs", 8), tmp_path / "keep"
    for name in ("first", "second"):  # tasks of the first driver may run for a moment after it was killed
        (tmp_path / name).mkdir()

    def words(marks: str) -> list[str]:
        arguments = [str(folder), str(tmp_path / "remote"), "driver", str(tmp_path / marks), str(keep)]
        return [sys.executable, "-c", DYING, *arguments]

    with subprocess.Popen(words("first"), env=cluster, cwd=ROOT, stderr=subprocess.PIPE) as driver:
        while driver.poll() is None and len([*keep.glob("*")] if keep.exists() else []) < 2:
            time.sleep(0.01)
        driver.kill()
    assert driver.returncode == -signal.SIGKILL and not (tmp_path / "remote").exists()
    stored = sum(not path.suffix for path in keep.glob("pages-*"))  # one with a suffix is half written
    done = subprocess.run(words("second"), env=cluster, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "second").glob("read-*"))) == 8 - stored, "stored shards are not read again"
    embedder = DeterministicFakeEmbedding(size=8)
    assert_same(ManualIndex.build([folder], embedder=embedder), ManualIndex.load(tmp_path / "remote", embedder))


@pytest.mark.timeout(600)
def test_an_error_on_a_worker_is_one_line_of_the_command(cluster: dict[str, str], tmp_path: Path) -> None:
    broken, folder = tmp_path / "broken.pdf", documents(tmp_path / "docs", 2)
    broken.write_bytes(b"no pdf")
    words = [PROGRAM, "index", "--engine", "ray", "--out", str(tmp_path / "remote"), str(broken)]
    done = subprocess.run(words, env=cluster, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("egosrag: ")
    beside = subprocess.run([*words, str(folder)], env=cluster, capture_output=True, text=True)
    assert beside.returncode == 0, "the other files are indexed"
    for stderr in (done.stderr, beside.stderr):
        assert "broken.pdf" in stderr and "Traceback" not in stderr


def test_without_ray_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("egosrag.parallel.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"pip install 'egosrag\[ray\]'"):
        list(run_on_ray(str, [1]))


def test_a_finished_shard_is_not_processed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = documents(tmp_path / "docs", 5)
    monkeypatch.setattr(bulk, "SHARD_BYTES", 1)  # one shard per file
    real = bulk.load_document
    read: list[str] = []

    def failing(path: Path, source: str, **options: Any) -> Any:
        if len(read) == 3 and not (tmp_path / "repaired").exists():
            raise StoreError("the disk failed")
        read.append(source)
        return real(path, source, **options)

    monkeypatch.setattr(bulk, "load_document", failing)
    with pytest.raises(StoreError, match="the disk failed"):
        ManualIndex.build([folder], tmp_path / "index", sharding=ShardedBuild(run_serially, tmp_path / "keep"))
    assert read == ["part0.md", "part1.md", "part2.md"]
    read.clear()
    (tmp_path / "repaired").touch()
    (folder / "part1.md").write_text("# Part 1\n\nIt was changed in the meantime.\n", encoding="utf-8")
    stored = sorted((tmp_path / "keep").iterdir())
    stored[0].write_bytes(stored[0].read_bytes()[:9])
    index = ManualIndex.build([folder], tmp_path / "index", sharding=ShardedBuild(run_serially, tmp_path / "keep"))
    assert 3 <= len(read) <= 4 and {"part1.md", "part3.md", "part4.md"} <= set(read), (
        "only the damaged, the changed and the missing"
    )
    monkeypatch.setattr(bulk, "load_document", real)
    assert_same(index, ManualIndex.build([folder]))
    assert len(list((tmp_path / "keep").iterdir())) == 1, (
        "only the shard of the changed file, which no build uses any more"
    )


def test_stored_vectors_are_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = documents(tmp_path / "docs", 3)
    monkeypatch.setattr(bulk, "SHARD_TEXTS", 4)
    embedder = DeterministicFakeEmbedding(size=8)
    sizes: list[int] = []

    def embed(texts: list[str], *, embedder: Any) -> Any:
        if len(sizes) == 2:
            raise KeyboardInterrupt
        sizes.append(len(texts))
        return bulk.load_embedder(embedder).passages(texts)  # type: ignore[union-attr]

    monkeypatch.setattr(bulk, "embed_shard", embed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            ManualIndex.build(
                [folder], tmp_path / "index", embedder, sharding=ShardedBuild(run_serially, tmp_path / "keep")
            )
        assert sizes == [4, 4]
    monkeypatch.undo()
    monkeypatch.setattr(bulk, "SHARD_TEXTS", 4)
    index = ManualIndex.build(
        [folder], tmp_path / "index", embedder, sharding=ShardedBuild(run_serially, tmp_path / "keep")
    )
    assert_same(index, ManualIndex.build([folder], embedder=embedder))
    assert not list((tmp_path / "keep").iterdir())


NOTICE = """
import sys, time
import ray
from ray._private.utils import push_error_to_driver
from egosrag.parallel import run_on_ray

print(sorted(run_on_ray(str.upper, ["a", "b"])))
push_error_to_driver(ray._private.worker.global_worker, "notice", "a task ran out of memory")
time.sleep(2)
"""


def test_ray_s_notices_do_not_mix_with_results(cluster: dict[str, str]) -> None:
    done = subprocess.run([sys.executable, "-c", NOTICE], env=cluster, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "[(0, 'A'), (1, 'B')]\n", done.stderr
    assert "a task ran out of memory" in done.stderr


@pytest.mark.timeout(600)
def test_an_evaluation_on_two_nodes_equals_one_in_process(
    cluster: dict[str, str], tiny_qwen: Path, tmp_path: Path
) -> None:
    data = make_data(tmp_path, 70)
    tasks = {name: data[name] for name in ("arc_easy", "hellaswag")}
    words = [f"--data={name}={path}" for name, path in tasks.items()]
    words += [f"--model={tiny_qwen}", "--device=cpu", "--engine=ray", "--json"]
    command = [sys.executable, "-m", "evals.ppl", *words, f"--predictions={tmp_path / 'remote.jsonl'}"]
    done = subprocess.run(command, env=cluster, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    local = evaluate(str(tiny_qwen), tasks, predictions=tmp_path / "local.jsonl", device="cpu")
    assert done.stdout.startswith("{"), (done.stdout, done.stderr)
    assert json.loads(done.stdout) == json.loads(json.dumps(local))
    rows = [read_jsonl(tmp_path / f"{name}.jsonl") for name in ("remote", "local")]
    remote, expected = ({tuple(row["key"]): row for row in some if "key" in row} for some in rows)
    assert remote.keys() == expected.keys() and len(remote) == 140
    for key, record in expected.items():
        assert remote[key]["prediction"] == record["prediction"]
        assert remote[key]["continuation"] == pytest.approx(record["continuation"], abs=1e-3)
