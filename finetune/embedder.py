"""Train an embedder for your documents, on the documents alone (report 6.3.4).

    python -m finetune.embedder --config finetune/configs/embedder.yaml

Pairs of query and passage are made from the documents, and those of some pages are held out. The result is kept only if
it retrieves the held-out passages better than the model it started from: ``model`` (a sentence-transformers embedder),
or by default a static embedder with random vectors, which is trained on a CPU in a minute and needs no download.
``out`` is then an embedder for ``egosrag index --embedder``; its ``run.json`` contains both measurements.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from egosrag.errors import SettingsError, TrainingError
from finetune.cli import required, run_command, setting
from finetune.data.embedder_pairs import Pair, hard_negatives, make_pairs

STATIC = "static"


@dataclass(kw_only=True)
class EmbedderArgs:
    """Settings of ``finetune.embedder``."""

    data: list[str] = required("the documents: files and folders")
    out: str = required("output folder for the embedder")
    model: str = setting(STATIC, "what to start from: an embedder's hub id or folder, or static: random vectors")
    asker: str | None = setting(None, "a chat model that generates a question for each passage; see egosrag --model")
    dimension: int = setting(256, "static: size of a vector")
    vocabulary: int = setting(8000, "static: maximum number of word pieces")
    held_out: float = setting(0.15, "share of the pages whose pairs are held out for the measurement")
    lr: float | None = setting(None, "peak learning rate; by default 0.1 for static, 2e-5 for a transformer")
    epochs: float = setting(3.0, "passes over the pairs")
    batch_size: int = setting(64, "pairs per step; the other pairs' passages are negatives")
    seed: int = setting(42, "seed of the pairs, their order and new vectors")
    overwrite: bool = setting(False, "replace the contents of out")

    def __post_init__(self) -> None:
        if min(self.dimension, self.vocabulary, self.batch_size) < 2 or self.epochs <= 0:
            raise SettingsError(
                "dimension, vocabulary and batch_size must be at least 2 and epochs over 0: correct the settings"
            )
        if not 0 < self.held_out < 1:
            raise SettingsError(f"held_out is {self.held_out}: give a share between 0 and 1")


class Split(NamedTuple):
    """The passages' texts, the pairs to train on and the held-out ones, and a hard negative per training pair."""

    texts: list[str]
    train: list[Pair]
    test: list[Pair]
    negatives: list[int]


def embedder(args: EmbedderArgs) -> dict[str, Any]:
    """Train with the settings ``args``.

    Returns:
        The record of the run, as in ``run.json``: the settings, pairs by kind, both measurements, seconds.

    Raises:
        TrainingError: the result is not better than the start, or ``out`` is not empty.
        SourceError, ModelError: the documents or a model cannot be read.
    """
    from transformers import set_seed

    out = Path(args.out)
    if out.exists() and any(out.iterdir()) and not args.overwrite:
        raise TrainingError(f"{out} is not empty: give another --out, or --overwrite true")
    started = time.monotonic()
    set_seed(args.seed)
    split = _split_pairs(args)
    model = _new_static_embedder(args, split) if args.model == STATIC else _load_embedder(args.model)
    before = measure(model, split.texts, split.test)
    _train(model, args, split)
    after = measure(model, split.texts, split.test)
    print(f"held-out MRR {before['mrr']:.3f} before, {after['mrr']:.3f} after", file=sys.stderr)
    if after["mrr"] <= before["mrr"]:
        raise TrainingError(
            f"held-out MRR is {after['mrr']:.3f} after training and {before['mrr']:.3f} before it, so nothing was "
            "saved: give more documents, more epochs or another lr"
        )
    kinds = {kind: sum(p.kind == kind for p in split.train) for kind in sorted({p.kind for p in split.train})}
    record = {"args": asdict(args), "passages": len(split.texts), "pairs": kinds, "held_out": len(split.test)}
    record |= {"before": before, "after": after, "seconds": round(time.monotonic() - started, 1)}
    _publish(model, record, out)
    return record


def _split_pairs(args: EmbedderArgs) -> Split:
    import random

    from egosrag.rag.documents.load import load_pages
    from egosrag.rag.documents.splitting import split_pages
    from egosrag.rag.index.bm25 import Bm25
    from egosrag.rag.index.fields import searched_text

    passages = split_pages(load_pages(args.data))
    texts = [searched_text(p) for p in passages]
    bm25 = Bm25.build("words", texts)
    pairs = make_pairs(passages, bm25, _question_generator(args.asker) if args.asker else None, args.seed)
    pages = sorted({(p.source, p.page) for p in passages})
    random.Random(args.seed).shuffle(pages)
    held_out = set(pages[: round(len(pages) * args.held_out)])

    def is_held_out(pair: Pair) -> bool:
        return (passages[pair.passage].source, passages[pair.passage].page) in held_out

    test = [p for p in pairs if is_held_out(p) and p.kind != "sentence"]
    train = [p for p in pairs if not is_held_out(p)]
    if not test or len(train) < 2 * args.batch_size:
        raise TrainingError(
            f"the documents make {len(train)} pairs to train on and {len(test)} to measure: give more documents"
        )
    return Split(texts, train, test, hard_negatives(train, passages, bm25))


def _question_generator(name: str) -> Callable[[str], str]:
    from egosrag import load_chat_model
    from egosrag.prompts import load
    from egosrag.text.language import language_of, one_line

    model = load_chat_model(name, max_new_tokens=48)

    def ask(text: str) -> str:
        prompt = load("ask", language_of(text)).messages(source=one_line(text)[:600])
        return one_line(str(model.invoke(prompt).text))[:120]

    return ask


def _new_static_embedder(args: EmbedderArgs, split: Split) -> Any:
    """A mean of word-piece vectors: no attention, so encoding a passage takes microseconds."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation()])
    trainer = trainers.UnigramTrainer(
        vocab_size=args.vocabulary, special_tokens=["[UNK]"], unk_token="[UNK]", max_piece_length=6, show_progress=False
    )
    tokenizer.train_from_iterator([*split.texts, *(p.query for p in split.train)], trainer)
    return SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=args.dimension)], device="cpu")


def _load_embedder(name: str) -> Any:
    from sentence_transformers import SentenceTransformer

    from egosrag.models.runtime.checkpoint import checkpoint_folder
    from egosrag.models.weights import load_encoder

    return load_encoder(SentenceTransformer, checkpoint_folder(name), name)


def measure(model: Any, texts: Sequence[str], pairs: Sequence[Pair]) -> dict[str, float]:
    """How well the queries retrieve their passages among all passages: hit@1, hit@5 and MRR (to depth 10)."""
    import numpy as np

    passages = model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
    queries = model.encode([p.query for p in pairs], normalize_embeddings=True, show_progress_bar=False)
    scores = queries @ passages.T  # (pairs, passages)
    expected = scores[np.arange(len(pairs)), [p.passage for p in pairs]]
    ranks = (scores >= expected[:, None]).sum(axis=1)  # among equal scores the expected passage ranks last
    return {
        "hit@1": float((ranks <= 1).mean()),
        "hit@5": float((ranks <= 5).mean()),
        "mrr": float(np.where(ranks <= 10, 1 / ranks, 0).mean()),
    }


def _train(model: Any, args: EmbedderArgs, split: Split) -> None:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from sentence_transformers.sentence_transformer.training_args import BatchSamplers
    from transformers import PrinterCallback

    rows = Dataset.from_dict(
        {
            "anchor": [p.query for p in split.train],
            # A sentence is to retrieve the rest of its passage: if it were part of the positive, the model would learn
            # to match equal words only.
            "positive": [_without_query(split.texts[p.passage], p) for p in split.train],
            "negative": [split.texts[n] for n in split.negatives],
        }
    )
    with TemporaryDirectory() as folder:  # the trainer creates its folder even if it saves nothing
        options = SentenceTransformerTrainingArguments(
            output_dir=folder,
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
        trainer.remove_callback(PrinterCallback)  # standard output is for the result
        trainer.train()


def _without_query(text: str, pair: Pair) -> str:
    rest = text.replace(pair.query, " ") if pair.kind == "sentence" else text
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
    """Run the command; see the module docstring."""
    return run_command("finetune.embedder", EmbedderArgs, _run, argv, doc=__doc__)


if __name__ == "__main__":
    sys.exit(main())
