"""Work that is killed (-9) at random moments and goes on, until it is let come to its end.

A program of its own, so that its children are forks of a process that has loaded everything and computed nothing.
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


def load(*modules: str) -> None:
    """Imports what the children would import each for itself."""
    for name in modules:
        import_module(name)


def evaluation(folder: Path, given: dict[str, Any]) -> tuple[Callable[[Path], Work], Work]:
    """PPL mode over made-up rows, with its records in a file."""
    from evals.ppl.run import evaluate

    load("torch", "transformers.models.qwen2.modeling_qwen2", "transformers.models.auto")

    def work(out: Path) -> Work:
        def run() -> None:
            result = evaluate(given["model"], given["data"], predictions=out / "records.jsonl", device="cpu")
            (out / "result.json").write_text(json.dumps(result))

        return run

    return work, lambda: None


def training(folder: Path, given: dict[str, Any]) -> tuple[Callable[[Path], Work], Work]:
    """A LoRA training with dropout that keeps a checkpoint every second step."""
    from finetune.sft import sft
    from finetune.trainer.args import SftArgs
    from finetune.trainer.run_folder import CHECKPOINTS, last_complete_checkpoint

    load("torch", "transformers.trainer", "transformers.models.qwen2.modeling_qwen2", "peft", "datasets", "matplotlib")

    def work(out: Path) -> Work:
        def run() -> None:
            model = out / "model"
            begun = last_complete_checkpoint(model / CHECKPOINTS) is not None  # else it was killed before the first
            args = SftArgs(**given, out=str(model), resume=begun)
            if not (model / "run.json").exists():
                sft(args)

        return run

    return work, lambda: None


def indexing(folder: Path, given: dict[str, Any]) -> tuple[Callable[[Path], Work], Work]:
    """A folder of documents of which one changes before each build."""
    from egosrag.parallel import run_serially
    from egosrag.rag.index.bulk import ShardedBuild
    from egosrag.rag.index.manual_index import ManualIndex
    from egosrag.rag.retrieval.search import Retriever

    documents, place = folder / "docs", given["place"]
    documents.mkdir()
    for n in range(15):
        (documents / f"part{n}.md").write_text(f"# Part {n}\n\nPart {n} weighs {n * 7} grams.\n", encoding="utf-8")
    number = [0]

    def work(out: Path) -> Work:
        number[0] += 1
        (documents / "news.md").write_text(f"# News\n\nThis is version {number[0]}.\n", encoding="utf-8")
        return lambda: print(
            len(ManualIndex.build([documents], place, sharding=ShardedBuild(run_serially, folder / "keep")).pages)
        )

    def check() -> None:
        index = ManualIndex.load(place)
        assert [page.source for page in index.pages] == sorted(f.name for f in documents.iterdir())
        version = int(index.page("news.md", 1).text.rstrip(".").rsplit(" ", 1)[1])
        assert int((folder / "version").read_text()) <= version <= number[0], "an older one came back"
        (folder / "version").write_text(str(version))
        assert Retriever(index).search("version")[0].passage.source == "news.md"
        assert Retriever(index).search("weighs 91 grams")[0].passage.source == "part13.md"

    (folder / "version").write_text("0")
    return work, check


def forked(work: Work, after: float | None = None) -> float:
    """Seconds that the work took in a child, which is killed ``after`` so many where that is given."""
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


def main(kind: str, folder: str, kills: str, given: str) -> None:
    """Does the work once in ``whole``, and in ``broken`` with so many kills before it may end."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    chance, base = random.Random(7), Path(folder)
    work, check = {"evaluation": evaluation, "training": training, "indexing": indexing}[kind](base, json.loads(given))
    for name in ("whole", "broken"):
        (base / name).mkdir()
    seconds = forked(work(base / "whole"))
    for _ in range(int(kills)):
        forked(work(base / "broken"), chance.uniform(0, seconds))
        forked(check)
    forked(work(base / "broken"))
    forked(check)


if __name__ == "__main__":
    main(*sys.argv[1:])
