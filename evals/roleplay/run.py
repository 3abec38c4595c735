"""A run of the role-play evaluation: every system plays every row, each in a conversation of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egosrag.console import Progress
from egosrag.errors import SourceError
from evals.common import experiment
from evals.common.models import ModelSpec, Sampling, weight_files
from evals.common.records import Record, Records
from evals.roleplay.cases import REFERENCES, load_rows, subject
from evals.roleplay.scorer import score
from evals.roleplay.simulated_user import scripted, simulated
from evals.roleplay.systems import System

if TYPE_CHECKING:
    from egosrag import Conversation

USER_TEMPERATURE = 0.7  # of a model that speaks for the user


class RoleplayTarget:
    """The target: a system that plays each row in a conversation of its own.

    Args:
        system: The system.
        user: The model that speaks for the user where a row has a brief; None: the script.
        raw: The raw text behind the cards, for EGOS-wo-Extract.
    """

    def __init__(self, system: System, user: ModelSpec | None, raw: Path | None) -> None:
        self._system, self._user, self._raw = system, user, raw

    def __call__(self, inputs: Record) -> Record:
        """The user's lines (``said``) and the role's ``replies``."""
        role = subject(inputs["role"], self._raw)
        with self._system.open(role) as conversation:
            lines, replies = self._play(conversation, inputs, role.card.name)
            scenes = len(conversation.scenes())
        return {"said": lines, "replies": replies, "scenes": scenes, "simulated": self._simulates(inputs)}

    def _simulates(self, inputs: Record) -> bool:
        return self._user is not None and "brief" in inputs

    def _play(self, conversation: Conversation, inputs: Record, name: str) -> tuple[list[str], list[Record]]:
        replies: list[Record] = []

        def say(line: str) -> str:
            reply = conversation.say(line)
            replies.append(
                {
                    "text": reply.text,
                    "stop_reason": reply.stop_reason,
                    "seconds": round(reply.timing.total_s, 3),
                    "prompt_tokens": reply.usage.prompt_tokens,
                    "completion_tokens": reply.usage.completion_tokens,
                }
            )
            return reply.text

        if self._user and self._simulates(inputs):
            exchanges, language = len(inputs["lines"]), inputs["language"]
            lines = simulated(say, self._user.loaded, inputs["brief"], name, language, exchanges)
        else:
            lines = scripted(say, inputs["lines"])
        return lines, replies


def evaluate(
    systems: Sequence[System],
    rows: Sequence[Record],
    *,
    records: Path | None = None,
    user: str | None = None,
    raw: Path | None = None,
    upload: bool = False,
) -> dict[str, list[Record]]:
    """Let every system play every row.

    Args:
        systems: The systems.
        rows: The conversations.
        records: JSONL of the conversations, to resume from.
        user: A model that speaks for the user where a row has a brief.
        raw: The raw text behind the cards, for EGOS-wo-Extract.
        upload: Send dataset, experiments and traces to LangSmith.

    Returns:
        Each system's records by its name, in the order of the rows.

    Raises:
        EgosRagError: A model, a card or a file is not usable; what was played until then is recorded.
    """
    speaker = ModelSpec(user, sampling=Sampling(temperature=USER_TEMPERATURE)) if user else None
    store = Records(records, {"evaluation": "roleplay", "user": user or "script"})
    name = experiment.dataset_name("egosrag-roleplay", rows, load_rows())
    dataset = experiment.Dataset(name, rows, REFERENCES)
    roles = [_role_digest(row["role"], raw) for row in rows]

    def score_row(row: Record, outputs: Record) -> dict[str, Any]:
        return score(row, outputs, subject(row["role"], raw).card.name)

    results = {}
    with Progress() as progress:
        for system in systems:
            target, made_of = RoleplayTarget(system, speaker, raw), _digest(system, roles)
            results[system.name] = experiment.run(
                dataset, system.name, target, score_row, store, progress, made_of=made_of, upload=upload
            )
    return results


def _digest(system: System, roles: Sequence[str]) -> str:
    settings = system.settings
    weights = [weight_files(name) for name in (settings.model, settings.adapter or "")]
    return experiment.digest(settings.model_dump_json(exclude={"data_dir", "cache_dir"}), *weights, roles)


def _role_digest(name: str, raw: Path | None) -> str:
    role = subject(name, raw)
    try:
        return experiment.digest(role.file.read_bytes(), role.raw.read_bytes() if role.raw else b"")
    except OSError as error:
        raise SourceError(f"{role.raw} cannot be read ({error.strerror}): give --raw a text file") from error
