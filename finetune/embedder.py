"""An embedder for your documents, trained on nothing but them (report 6.3.4).

    python -m finetune.embedder --config finetune/configs/embedder.yaml

Pairs are made from the documents, those of some pages are held out, and the result is kept only where it finds the
held-out passages better than what it started from: ``model`` (a sentence-transformers embedder), or, without one, a
static embedder with random vectors, which is trained on a CPU in a minute and needs no download. ``out`` is then an
embedder for ``egosrag index --embedder``; ``run.json`` beside it has both measures.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from egosrag.errors import SettingsError, TrainingError
from finetune.data.embedder_pairs import Pair, hard_negatives, make_pairs
from finetune.trainer.args import command

STATIC = "static"


def _f(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(kw_only=True)
class EmbedderArgs:
    """Everything that training an embedder needs."""

    data: list[str] = field(metadata={"help": "the documents: files and folders"})
    out: str = field(metadata={"help": "the folder that gets the embedder"})
    model: str = _f(STATIC, "what to start from: an embedder's hub id or folder, or static: from nothing")
    asker: str | None = _f(None, "a chat model that makes a question of every passage too; see egosrag --model")
    dimension: int = _f(256, "static: numbers in a vector")
    vocabulary: int = _f(8000, "static: most pieces of words")
    held_out: float = _f(0.15, "share of the pages whose pairs are measured and not trained on")
    lr: float | None = _f(None, "peak learning rate; absent: 0.1 for static, 2e-5 for a transformer")
    epochs: float = _f(3.0, "passes over the pairs")
    batch_size: int = _f(64, "pairs a step; the other pairs' passages are negatives")
    seed: int = _f(42, "of the pairs, their order and new vectors")
    overwrite: bool = _f(False, "replace what is in out")

    def __post_init__(self) -> None:
        if min(self.dimension, self.vocabulary, self.batch_size) < 2 or self.epochs <= 0:
            raise SettingsError("dimension, vocabulary and batch_size must be 2 or more and epochs over 0: mend them")
        if not 0 < self.held_out < 1:
            raise SettingsError(f"held_out is {self.held_out}: give a share between 0 and 1")


class Split(NamedTuple):
    """The passages' texts, and the pairs that are trained on and measured."""

    texts: list[str]
    train: list[Pair]
    test: list[Pair]
    negatives: list[int]


def embedder(args: EmbedderArgs) -> dict[str, Any]:
    """Train as ``args`` says.

    Returns:
        The run record, as in ``run.json``: the settings, pairs by kind, both measures, seconds.

    Raises:
        TrainingError: the result is not better than the start, or ``out`` holds one already.
        SourceError, ModelError: the documents or a model cannot be read.
    """
    from transformers import set_seed

    out = Path(args.out)
    if out.exists() and any(out.iterdir()) and not args.overwrite:
        raise TrainingError(f"{out} is not empty: give another --out, or --overwrite true")
    started = time.monotonic()
    set_seed(args.seed)
    split = _split(args)
    model = _static(args, split) if args.model == STATIC else _load(args.model)
    before = measure(model, split.texts, split.test)
    _train(model, args, split, out)
    after = measure(model, split.texts, split.test)
    print(f"held-out MRR {before['mrr']:.3f} before, {after['mrr']:.3f} after", file=sys.stderr)
    if after["mrr"] <= before["mrr"]:
        raise TrainingError(
            f"held-out MRR is {after['mrr']:.3f} after training and {before['mrr']:.3f} before it, so nothing was "
            "kept: give more documents, more epochs or another lr"
        )
    kinds = {kind: sum(p.kind == kind for p in split.train) for kind in sorted({p.kind for p in split.train})}
    record = {"args": asdict(args), "passages": len(split.texts), "pairs": kinds, "held_out": len(split.test)}
    record |= {"before": before, "after": after, "seconds": round(time.monotonic() - started, 1)}
    _publish(model, record, out)
    return record


def _split(args: EmbedderArgs) -> Split:
    import random

    from egosrag.rag.documents.load import load_pages
    from egosrag.rag.documents.splitting import split_pages
    from egosrag.rag.index.bm25 import Bm25
    from egosrag.rag.index.manual_index import searched_text

    passages = split_pages(load_pages(args.data))
    texts = [searched_text(p) for p in passages]
    bm25 = Bm25.build("words", texts)
    pairs = make_pairs(passages, bm25, _asker(args.asker) if args.asker else None, args.seed)
    pages = sorted({(p.source, p.page) for p in passages})
    random.Random(args.seed).shuffle(pages)
    held = set(pages[: round(len(pages) * args.held_out)])
    test = [p for p in pairs if (passages[p.row].source, passages[p.row].page) in held and p.kind != "sentence"]
    train = [p for p in pairs if (passages[p.row].source, passages[p.row].page) not in held]
    if not test or len(train) < 2 * args.batch_size:
        raise TrainingError(f"the documents give {len(train)} pairs to train on and {len(test)} to measure: give more")
    return Split(texts, train, test, hard_negatives(train, passages, bm25))


def _asker(name: str) -> Callable[[str], str]:
    from egosrag import load_chat_model
    from egosrag.prompts import load
    from egosrag.text.language import language_of, one_line

    model = load_chat_model(name, max_new_tokens=48)

    def ask(text: str) -> str:
        prompt = load("ask", language_of(text)).messages(source=one_line(text)[:600])
        return one_line(str(model.invoke(prompt).text))[:120]

    return ask


def _static(args: EmbedderArgs, split: Split) -> Any:
    """A bag of learned word pieces: no attention, so a passage costs microseconds."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation()])
    trainer = trainers.UnigramTrainer(
        vocab_size=args.vocabulary, special_tokens=["[UNK]"], unk_token="[UNK]", max_piece_length=6, show_progress=False
    )
    tokenizer.train_from_iterator([*split.texts, *(p.question for p in split.train)], trainer)
    return SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=args.dimension)], device="cpu")


def _load(name: str) -> Any:
    from sentence_transformers import SentenceTransformer

    try:
        return SentenceTransformer(name)
    except (OSError, ValueError) as error:
        raise TrainingError(f"the embedder {name} cannot be loaded: give a folder, a hub id or static") from error


def measure(model: Any, texts: Sequence[str], pairs: Sequence[Pair]) -> dict[str, float]:
    """How well the pairs' questions find their passages among all: hit@1, hit@5 and MRR (to depth 10)."""
    import numpy as np

    passages = model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
    questions = model.encode([p.question for p in pairs], normalize_embeddings=True, show_progress_bar=False)
    scores = questions @ passages.T
    own = scores[np.arange(len(pairs)), [p.row for p in pairs]]
    ranks = (scores >= own[:, None]).sum(axis=1)  # of equals the own passage is the last: no credit for ties
    return {
        "hit@1": float((ranks <= 1).mean()),
        "hit@5": float((ranks <= 5).mean()),
        "mrr": float(np.where(ranks <= 10, 1 / ranks, 0).mean()),
    }


def _train(model: Any, args: EmbedderArgs, split: Split, out: Path) -> None:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from sentence_transformers.sentence_transformer.training_args import BatchSamplers
    from transformers import PrinterCallback

    rows = Dataset.from_dict(
        {
            "anchor": [p.question for p in split.train],
            # A sentence is to find its neighbours: with itself among them it would learn to find equal words alone.
            "positive": [_without(split.texts[p.row], p) for p in split.train],
            "negative": [split.texts[row] for row in split.negatives],
        }
    )
    options = SentenceTransformerTrainingArguments(
        output_dir=str(out / "checkpoints"),
        num_train_epochs=args.epochs,
        per_device_train_batch_size=args.batch_size,
        learning_rate=args.lr or (0.1 if args.model == STATIC else 2e-5),
        warmup_steps=0.1,
        lr_scheduler_type="cosine",
        batch_sampler=BatchSamplers.NO_DUPLICATES,
        seed=args.seed,
        save_strategy="no",
        report_to="none",
        logging_strategy="no",
        disable_tqdm=True,
        use_cpu=args.model == STATIC,
        dataloader_pin_memory=False,
    )
    trainer = SentenceTransformerTrainer(
        model=model, args=options, train_dataset=rows, loss=MultipleNegativesRankingLoss(model)
    )
    trainer.remove_callback(PrinterCallback)  # standard output is the result's
    trainer.train()


def _without(text: str, pair: Pair) -> str:
    rest = text.replace(pair.question, " ") if pair.kind == "sentence" else text
    return rest if rest.strip() else text


def _publish(model: Any, record: dict[str, Any], out: Path) -> None:
    partial = out.with_name(out.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        model.save(str(partial), create_model_card=False, safe_serialization=True)
        (partial / "run.json").write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")
        shutil.rmtree(out, ignore_errors=True)
        partial.rename(out)
    except OSError as error:
        raise TrainingError(f"cannot save {out}: {error.strerror or error}; free some space and start again") from error


def _run(args: EmbedderArgs) -> None:
    record = embedder(args)
    print(json.dumps({key: record[key] for key in ("passages", "held_out", "before", "after", "seconds")}))
    print(f"saved to {args.out}; use it with: egosrag index PATH --out DIR --embedder {args.out}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; see the module docstring."""
    return command(EmbedderArgs, _run, argv, doc=__doc__)


if __name__ == "__main__":
    raise SystemExit(main())
