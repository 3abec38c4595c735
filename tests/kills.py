"""Runs an indexing, an evaluation or a training that is killed (-9) at random moments and resumed until it ends.

It is a separate program so that its children are forks of a process that has imported everything and computed nothing.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

Work = Callable[[], None]


def preload(*modules: str) -> None:
    """Imports modules once, before the children are forked."""
    for name in modules:
        import_module(name)


def evaluation(folder: Path, options: dict[str, Any]) -> tuple[Callable[[Path], Work], Work]:
    """A perplexity evaluation that writes its records to a file."""
    from evals.ppl.run import evaluate

    preload("torch", "transformers.models.qwen2.modeling_qwen2", "transformers.models.auto")

    def work(out: Path) -> Work:
        def run() -> None:
            result = evaluate(options["model"], options["data"], predictions=out / "records.jsonl", device="cpu")
            (out / "result.json").write_text(json.dumps(result))

        return run

    return work, lambda: None


def training(folder: Path, options: dict[str, Any]) -> tuple[Callable[[Path], Work], Work]:
    """A LoRA training with dropout that saves a checkpoint every second step."""
    from finetune.sft import sft
    from finetune.trainer.args import SftArgs
    from finetune.trainer.run_folder import CHECKPOINTS, last_complete_checkpoint

    preload(
        "torch", "transformers.trainer", "transformers.models.qwen2.modeling_qwen2", "peft", "datasets", "matplotlib"
    )

    def work(out: Path) -> Work:
        def run() -> None:
            model = out / "model"
            begun = last_complete_checkpoint(model / CHECKPOINTS) is not None  # else killed before the first
            args = SftArgs(**options, out=str(model), resume=begun)
            if not (model / "run.json").exists():
                sft(args)

        return run

    return work, lambda: None


def indexing(folder: Path, options: dict[str, Any]) -> tuple[Callable[[Path], Work], Work]:
    """An index of a folder of documents, one of which changes before each build."""
    from egosrag.parallel import run_serially
    from egosrag.rag.index.bulk import ShardedBuild
    from egosrag.rag.index.manual_index import ManualIndex
    from egosrag.rag.retrieval.search import Retriever

    documents, index_path = folder / "docs", options["place"]
    documents.mkdir()
    for n in range(15):
        (documents / f"part{n}.md").write_text(f"# Part {n}\n\nPart {n} weighs {n * 7} grams.\n", encoding="utf-8")
    number = [0]

    def work(out: Path) -> Work:
        number[0] += 1
        (documents / "news.md").write_text(f"# News\n\nThis is version {number[0]}.\n", encoding="utf-8")
        sharding = ShardedBuild(run_serially, folder / "keep")
        return lambda: print(len(ManualIndex.build([documents], index_path, sharding=sharding).pages))

    def check() -> None:
        index = ManualIndex.load(index_path)
        assert [page.source for page in index.pages] == sorted(f.name for f in documents.iterdir())
        version = int(index.page("news.md", 1).text.rstrip(".").rsplit(" ", 1)[1])
        assert int((folder / "version").read_text()) <= version <= number[0], "an older index came back"
        (folder / "version").write_text(str(version))
        assert Retriever(index).search("version")[0].passage.source == "news.md"
        assert Retriever(index).search("weighs 91 grams")[0].passage.source == "part13.md"

    (folder / "version").write_text("0")
    return work, check


def run_in_child(work: Work, after: float | None = None) -> float:
    """Runs the work in a child, kills it ``after`` so many seconds if given, and returns the seconds that it took."""
    started = time.monotonic()
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, -signal.SIGKILL) or (code and after is None):
        sys.exit(f"the work failed with {code}")
    return time.monotonic() - started


def main(kind: str, folder: str, kills: str, options: str) -> None:
    """Does the work in folder ``whole`` without a kill, and in folder ``broken`` with so many kills before it ends."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    rng, base = random.Random(7), Path(folder)
    work, check = {"evaluation": evaluation, "training": training, "indexing": indexing}[kind](
        base, json.loads(options)
    )
    for name in ("whole", "broken"):
        (base / name).mkdir()
    seconds = run_in_child(work(base / "whole"))
    for _ in range(int(kills)):
        run_in_child(work(base / "broken"), rng.uniform(0, seconds))
        run_in_child(check)
    run_in_child(work(base / "broken"))
    run_in_child(check)


if __name__ == "__main__":
    main(*sys.argv[1:])
