"""A run of the chatbot evaluation: every model is asked every question, each in a conversation of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from egosrag.console import Progress
from egosrag.errors import SessionError, WindowError
from evals.chatbot.questions import REFERENCES, Model, limited, load_rows
from evals.chatbot.scorer import score
from evals.common import experiment
from evals.common.models import ModelSpec, Sampling
from evals.common.records import Record, Records


class ChatTarget:
    """The target: a model that is asked each question in a conversation of its own."""

    def __init__(self, model: ModelSpec) -> None:
        self._model = model

    def __call__(self, inputs: Record) -> Record:
        """The answer and how it ended; None with the reason when the question is empty or exceeds the window."""
        from egosrag import Chatbot

        # A base model does not know system messages: to it one is a line of the text that it continues.
        bot = Chatbot(self._model.loaded, system=None if self._model.template else "")
        try:
            reply = bot.say(inputs["question"])
        except (SessionError, WindowError) as error:
            return {"answer": None, "reason": str(error)}
        return {
            "answer": reply.text,
            "stop_reason": reply.stop_reason,
            "tokens": reply.usage.completion_tokens,
            "seconds": round(reply.timing.total_s, 3),
        }


def evaluate(
    models: Sequence[Model],
    rows: Sequence[Record],
    *,
    sampling: Sampling | None = None,
    limit: int | None = None,
    records: Path | None = None,
    upload: bool = False,
) -> dict[str, list[Record]]:
    """Ask every model.

    Args:
        models: The models.
        rows: The questions.
        sampling: How the models generate; by default greedily, 256 tokens at most.
        limit: Maximum questions of each task, language and kind.
        records: JSONL of the answers, to resume from.
        upload: Send dataset, experiments and traces to LangSmith.

    Returns:
        Each model's records by its label, in the order of the rows.

    Raises:
        EgosRagError: A model or a file is not usable; what was answered until then is recorded.
    """
    sampling = sampling or Sampling()
    store = Records(records, {"evaluation": "chatbot", **asdict(sampling)})
    name = experiment.dataset_name("egosrag-chatbot", rows, load_rows())
    dataset = experiment.Dataset(name, rows, REFERENCES)
    only = [row["id"] for row in limited(rows, limit)]
    results = {}
    with Progress() as progress:
        for model in models:
            spec = ModelSpec(model.name, model.adapter, not model.base, sampling)
            made_of = experiment.digest(model.name, model.adapter, model.base, *spec.weights)
            results[model.label] = experiment.run(
                dataset,
                model.label,
                ChatTarget(spec),
                score,
                store,
                progress,
                made_of=made_of,
                only=only,
                upload=upload,
            )
            for record in results[model.label]:
                if record["answer"] is None:
                    progress.note(f"{model.label}: {record['item']} is not answered: {record['reason']}")
    return results
