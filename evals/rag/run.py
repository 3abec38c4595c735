"""A run of manual QA: both systems are asked every question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from egosrag.console import Progress
from evals.common import experiment
from evals.common.models import ModelSpec
from evals.common.records import Record, Records
from evals.rag.questions import REFERENCES, Manual, limited
from evals.rag.scorer import score
from evals.rag.systems import WITH, WITHOUT, EngineOptions, WithDocument, WithoutDocument


def evaluate(
    manuals: Sequence[Manual],
    model: ModelSpec,
    *,
    options: EngineOptions | None = None,
    embedder: str | None = None,
    limit: int | None = None,
    seed: int | None = None,
    records: Path | None = None,
    upload: bool = False,
) -> dict[str, list[Record]]:
    """Ask both systems.

    Args:
        manuals: Documents with their questions.
        model: The chat model of both systems.
        options: Of the engine that answers with the document; None for its defaults.
        embedder: Adds dense vectors to BM25; none by default.
        limit: Maximum questions of each manual and kind.
        seed: Of a random sample of so many; by default the first.
        records: JSONL of the answers, to resume from.
        upload: Send dataset, experiments and traces to LangSmith.

    Returns:
        Each system's records by its name, in the order of the rows.

    Raises:
        EgosRagError: The model or a document is not usable; what was answered until then is recorded.
    """
    options = options or EngineOptions()
    made_from = {"evaluation": "rag", "model": model.name, "embedder": embedder, **asdict(options)}
    made_from |= {
        "max_new_tokens": model.sampling.max_new_tokens,
        **({"adapter": model.adapter} if model.adapter else {}),
    }
    store = Records(records, made_from)
    rows = [row for manual in manuals for row in manual.rows]
    dataset = experiment.Dataset("egosrag-manual", rows, REFERENCES)
    made_of = experiment.digest(model.name, *model.weights, *((one.name, one.digest) for one in manuals))
    targets = {WITH: WithDocument(manuals, model, embedder, options), WITHOUT: WithoutDocument(model)}
    only = limited(manuals, limit, seed)
    with Progress() as progress:
        return {
            name: experiment.run(
                dataset, name, target, score, store, progress, made_of=made_of, only=only, upload=upload
            )
            for name, target in targets.items()
        }
