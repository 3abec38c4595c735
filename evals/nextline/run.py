"""A run: cards and scenes that the model writes itself, then the likelihood of each line under each system.

Lines are scored role by role by :class:`evals.ppl.prefix_sharing.SharedPrefixScorer`: what the prompts of a role and a
system share (instructions and card) is computed once, and so is what the systems of a family share for a line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Any

from egosrag.console import Progress
from egosrag.errors import EgosRagError
from egosrag.schema import Role, Scene
from egosrag.traits import Traits, read_traits
from evals.common import experiment
from evals.common.records import Record, Records
from evals.nextline.rows import Line, Profile
from evals.nextline.systems import Prompted, System, Writer, scenes_of, user_of
from evals.ppl.prefix_sharing import SharedPrefixScorer
from evals.ppl.run import PASS_TOKENS_CPU, PASS_TOKENS_GPU, Weights, is_gguf, load_model, window_of
from evals.ppl.scoring import Encoded, common_prefix
from evals.ppl.tasks import Item

CARD, SCENES = "extracted card of", "scenes of"  # records of what the model wrote


@dataclass
class Model:
    """The model of a run, loaded when it is first needed: to score, and to write cards and scenes."""

    weights: Weights
    turns: int
    note: Callable[[str], None]

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        return load_model(self.weights)

    @cached_property
    def writer(self) -> Writer:
        """Writes the prompts."""
        net, tokenizer = self._loaded
        return Writer(tokenizer, window_of(net), self._traits.prompts, self.turns)

    @cached_property
    def scorer(self) -> SharedPrefixScorer:
        """Scores the lines."""
        net, _ = self._loaded
        scorer = SharedPrefixScorer(net, PASS_TOKENS_CPU if net.device.type == "cpu" else PASS_TOKENS_GPU)
        if scorer.why_plain:
            self.note(f"every line is scored on its own: {scorer.why_plain}")
        return scorer

    @cached_property
    def chat(self) -> Any:
        """The same model as the product runs it, greedy."""
        from egosrag import load_chat_model

        options: dict[str, Any] = {"adapter": self.weights.adapter} if self.weights.adapter else {}
        return load_chat_model(self.weights.name, temperature=0.0, **options)

    @property
    def _traits(self) -> Traits:
        from egosrag.models.catalogue import resolve
        from egosrag.models.runtime.checkpoint import checkpoint_folder

        name = resolve(self.weights.name)
        traits = Traits() if is_gguf(name) else read_traits(checkpoint_folder(name))
        return read_traits(self.weights.adapter, traits) if self.weights.adapter else traits


@dataclass
class Job:
    """A line under the systems of a family that have no record of it yet."""

    line: Line
    systems: list[System] = field(default_factory=list)
    prompted: list[Prompted] = field(default_factory=list)


def evaluate(
    lines: Sequence[Line],
    profiles: Mapping[str, Profile],
    systems: Sequence[System],
    weights: Weights,
    records: Records,
    *,
    turns: int = 8,
) -> dict[str, dict[str, Record]]:
    """Score all lines under all systems.

    Args:
        lines: The true lines.
        profiles: What is known of the roles.
        systems: The ways of writing the prompt.
        weights: The model.
        records: Of an earlier run to resume from; receives the new ones.
        turns: Maximum turns before a line.

    Returns:
        The records by system and line; a line that a system cannot be used for has none there.

    Raises:
        EgosRagError: The model cannot be loaded.
    """
    ordered = by_prompt(lines, turns)
    with Progress() as progress:
        model = Model(weights, turns, progress.note)
        made = experiment.digest(turns)
        keys = {
            (line.id, s.name): (s.name, line.id, experiment.digest(made, line, profiles.get(line.role)))
            for line in ordered
            for s in systems
        }
        total, done = len(keys), sum(key in records for key in keys.values())
        progress("lines x systems", done, total)
        for _, of_role in groupby(ordered, key=lambda line: line.role):
            group = list(of_role)
            for family in dict.fromkeys(s.family for s in systems):
                own = [s for s in systems if s.family == family]
                missing = [(line, [s for s in own if keys[line.id, s.name] not in records]) for line in group]
                for line, name, record in _scored(model, missing, profiles, records, made):
                    records.add(keys[line.id, name], {"who": name, "item": line.id, **record})
                    done += 1
                    progress("lines x systems", done, total)
    found = {s.name: {line.id: keys[line.id, s.name] for line in lines} for s in systems}
    return {
        name: {i: records[key] for i, key in of.items() if key in records and records[key]["nats"] is not None}
        for name, of in found.items()
    }


def by_prompt(lines: Iterable[Line], turns: int) -> list[Line]:
    """The lines whose prompts begin alike beside each other: by role, then by user, who is named before the card."""
    return sorted(lines, key=lambda line: (line.role, user_of(line.turns[-turns:], line.role)))


def _scored(
    model: Model,
    missing: Sequence[tuple[Line, list[System]]],
    profiles: Mapping[str, Profile],
    records: Records,
    made: str,
) -> Iterator[tuple[Line, str, Record]]:
    """(line, system, record) for one role and the systems of one family."""
    jobs = []
    for line, systems in missing:
        job = Job(line)
        for system in systems:
            profile, scenes = profiles.get(line.role), tuple[Scene, ...]()
            if system.card == "extracted":
                profile = _extracted(model, line.role, profile, records)
            if system.scenes and not (scenes := _scenes(model, line, profile, records, made)):
                yield line, system.name, _record(line, None)
                continue
            prompted = model.writer.write(system, line, profile, scenes)
            if prompted is None:
                yield line, system.name, _record(line, None)
                continue
            job.systems.append(system)
            job.prompted.append(prompted)
        if job.systems:
            jobs.append(job)
    encoded = [_encoded(number, job, model.turns) for number, job in enumerate(jobs)]
    for one, scores in model.scorer.score(encoded) if encoded else ():
        job = jobs[one.item.row]
        for system, nats, prompted in zip(job.systems, scores.continuation, job.prompted, strict=True):
            yield job.line, system.name, _record(job.line, nats, len(prompted.prompt), len(prompted.reply))


def _encoded(number: int, job: Job, turns: int) -> Encoded:
    """A job as an item of PPL mode, with a row for each system."""
    rows = tuple(tuple(p.prompt + p.reply) for p in job.prompted)
    starts = tuple(len(p.prompt) for p in job.prompted)
    same = ("",) * len(rows)
    # With another user a prompt differs before the card.
    group = f"{job.systems[0].family} {user_of(job.line.turns[-turns:], job.line.role)}"
    # suffix: only the line's own tokens count, so the loss of the prompt is not computed.
    item = Item(number, same, same, same, 0, group=group, suffix=True)
    return Encoded(item, rows, starts, min(common_prefix(rows), min(map(len, rows)) - 1), 1, False)


def _record(line: Line, nats: float | None, prompt: int = 0, reply: int = 0) -> Record:
    """The record of a line under a system; without ``nats`` the system cannot be used for it."""
    measures = {} if nats is None else {"nats_per_char": round(nats / len(line.spoken), 6)}
    return {
        "role": line.role,
        "nats": None if nats is None else round(nats, 5),
        "characters": len(line.spoken),
        "prompt_tokens": prompt,
        "reply_tokens": reply,
        "measures": measures,
    }


def _extracted(model: Model, role: str, profile: Profile | None, records: Records) -> Profile | None:
    """The card that Extract makes of the profile's text; None where there is no text, or no card comes of it."""
    if profile is None:
        return None
    key = (CARD, role, experiment.digest(profile.text))
    if key not in records:
        from egosrag import Extract

        card: dict[str, Any] | None = None
        try:
            made = Extract(model.chat).invoke(([(role, profile.text)], role))
            card = made.model_dump(mode="json", exclude_none=True)
        except EgosRagError as error:
            model.note(f"no card of {role}: {error}")
        records.add(key, {"who": CARD, "item": role, "card": card, "measures": {}})
    card = records[key]["card"]
    return Profile(Role.model_validate(card), profile.text) if card else None


def _scenes(model: Model, line: Line, profile: Profile | None, records: Records, made: str) -> tuple[Scene, ...]:
    """The scenes in place of the older turns of a line."""
    key = (SCENES, line.id, experiment.digest(made, line))
    if key not in records:
        card = profile.card if profile else Role(name=line.role)
        scenes = scenes_of(model.chat, model.writer, line, card, model.note)
        texts = [[scene.text, list(scene.turn_ids), scene.epoch] for scene in scenes]
        records.add(key, {"who": SCENES, "item": line.id, "scenes": texts, "measures": {}})
    return tuple(Scene(text=text, turn_ids=tuple(ids), epoch=epoch) for text, ids, epoch in records[key]["scenes"])
