"""Measure the memory of a conversation: the turns it recalls, and the answers of a model that has it.

    python -m evals.memory --conversations locomo/ --json              a folder of LoCoMo's JSON files
    python -m evals.memory --conversations dialogues.jsonl --json      a dialogue and a question a row
    python -m evals.memory --conversations dialogues.jsonl --answer qwen2.5-1.5b --memory static,dynamic,both,none
    python -m evals.memory --labels replies.jsonl                      how often the measure of answers is right

Without ``--answer``: any@k, at least one evidence turn is among the k best; all@k, every one is; tokens@k, estimated
tokens of those k in a prompt. With it: whether the reply says what the evidence says (``content.py``), and whether the
prompt did (``in_prompt``: the most that the model could know), with a token budget that is too small for the dialogue.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from egosrag.console import Progress, print_json
from egosrag.errors import EgosRagError, SettingsError
from egosrag.rag.index.vectors import MINILM, load_embedder
from evals.common.models import ModelSpec, Sampling
from evals.common.records import Records
from evals.memory import answers, content, retrieval
from evals.memory.conversations import Conversation, read_conversations


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        if options.limit is not None and options.limit < 1:
            raise SettingsError("--limit must be 1 or more")
        if options.labels:
            print_json(content.quality(options.labels))
        elif options.conversations is None:
            raise SettingsError("nothing to measure: give --conversations, or --labels")
        elif options.answer:
            _answer(options)
        else:
            _recall(options)
    except EgosRagError as error:
        print(f"evals.memory: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m evals.memory", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--conversations",
        type=Path,
        metavar="DIR|FILE.jsonl",
        help="folder of LoCoMo JSON files, or JSONL of dialogues with a question each",
    )
    parser.add_argument("--embedder", default=MINILM, help="hub id or folder of an embedder; none: lexical search only")
    parser.add_argument("--predictions", type=Path, help="JSONL for the recalled turns or the replies, to resume from")
    parser.add_argument("--upload", action="store_true", help="send questions and recalled turns to LangSmith")
    parser.add_argument("--answer", metavar="MODEL", help="let this model answer the questions of the dialogues")
    parser.add_argument("--adapter", help="folder of a PEFT adapter of that model")
    parser.add_argument("--memory", default=",".join(answers.KINDS), help="with --answer: kinds, separated by commas")
    parser.add_argument("--budget", type=int, default=300, help="with --answer: tokens of a prompt beside the card")
    parser.add_argument("--max-new-tokens", type=int, default=96, help="with --answer: maximum tokens of a reply")
    parser.add_argument("--limit", type=int, help="the first N conversations that have a question")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="precision and recall of the measure of answers")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    return parser


def _conversations(options: argparse.Namespace) -> list[Conversation]:
    return [c for c in read_conversations(options.conversations) if c.questions][: options.limit]


def _recall(options: argparse.Namespace) -> None:
    conversations = _conversations(options)
    records = Records(options.predictions, {"evaluation": "memory", "embedder": options.embedder})
    embedder = load_embedder(None if options.embedder == "none" else options.embedder)
    with Progress() as progress:
        results = retrieval.evaluate(conversations, embedder, records, progress)
    if options.upload:
        retrieval.publish(results, f"memory {options.embedder}")
    if options.predictions:
        print(f"wrote {options.predictions}", file=sys.stderr)
    if options.json:
        print_json(retrieval.summary(results))
    else:
        retrieval.show(results)


def _answer(options: argparse.Namespace) -> None:
    kinds = answers.parse_kinds(options.memory)
    if options.budget < 50:
        raise SettingsError("--budget must be 50 tokens or more")
    conversations = _conversations(options)
    spec = ModelSpec(options.answer, options.adapter, sampling=Sampling(max_new_tokens=options.max_new_tokens))
    made_from = {
        "evaluation": "memory answers",
        "model": options.answer,
        "adapter": options.adapter,
        "weights": spec.weights,
        "embedder": options.embedder,
        "max_new_tokens": options.max_new_tokens,
    }
    records = Records(options.predictions, made_from)
    embedder = load_embedder(None if options.embedder == "none" else options.embedder)
    results = answers.evaluate(conversations, spec, kinds, embedder, records, budget=options.budget)
    if options.predictions:
        print(f"wrote {options.predictions}", file=sys.stderr)
    if options.json:
        print_json(answers.summary(results))
    else:
        answers.show(results)
