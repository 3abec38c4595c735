"""Static Extract (report 7.2.2): summarizes what sources say about a role into a role card, before the conversation.

The sources are read in passages of a few paragraphs: from more at once a small model picks what comes first. Of a
story, which shows a person more than it describes one, each chapter is also asked one question at a time. A model
whose prompts say what is known already (``$known``) reads chunks that fill its window, one after the other, and the
card is refined from chunk to chunk. A statement is kept only with the sentence that supports it
(``source[start:end] == quote``), and the card with the chapters, dates or files of the sources
(:mod:`egosrag.roles.timeline`). Sentences that describe the role and that the model skipped are quoted, so that the
card of a role that the sources describe is never empty.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ContextThreadPoolExecutor

from egosrag.egos.extract.chunks import Chunk, select_chunks, split_sources
from egosrag.egos.extract.descriptions import descriptions, is_story
from egosrag.egos.extract.dialogue import role_lines
from egosrag.egos.extract.evidence import (
    LABELS,
    FoundStatement,
    content_terms,
    direct_statements,
    find_support,
    merge_statements,
    parse_labelled_lines,
)
from egosrag.egos.extract.headings import fitting_heading
from egosrag.egos.extract.mentions import Mentions
from egosrag.egos.extract.profile import profile_fields, profile_statements
from egosrag.egos.extract.questions import CHAPTER_PASSAGES, answers, form_of_address
from egosrag.egos.extract.superseded import mark_superseded
from egosrag.egos.reviser import Reviser
from egosrag.egos.step import Step
from egosrag.errors import RoleError, SourceError
from egosrag.models.continuation import written_lines
from egosrag.models.tokens import context_window, count_tokens
from egosrag.models.traits import model_key, traits_of
from egosrag.prompts import load, render
from egosrag.roles.points import timeline_of
from egosrag.schema import Evidence, Point, Role, Statement
from egosrag.text.language import language_of, one_line
from egosrag.text.names import mention_pattern

Sources = Sequence[tuple[str, str]]
Progress = Callable[[str, int, int], None]

PASSAGE_TOKENS = 240  # of the sources that the model reads at a time
PASSAGES = 96
CHUNK_TOKENS = 6000  # at most, of a chunk that fills the window
WINDOW_CHUNKS = 24


class Extract(Step[tuple[Sources, str], Role]):
    """Makes the card of a role: ``Extract(model).invoke((sources, name))``, sources being (name, text) pairs.

    Args:
        model: the chat model, or plain LLM, that reads.
        progress: called with (step, done, total) after each chunk.
        max_chunks: number of chunks that are read at most; of longer sources those that name the role most often. By
            default 96 passages, or 24 chunks that fill the window. Of chapters of stories, a quarter of this number.
        workers: number of passages that are read at a time: a local model computes them together.
        card_share: the share of the model's prompt window that the card may take.
        dialogue_lines: number of the role's own lines that the card shows.
        progress_file: stores what each chunk gave, so that an interrupted call resumes; removed at the end, and
            ignored when model, sources or name differ.
        reviser: revises what the model found.

    Raises:
        SourceError: (on a call) there is no text, or none that names the role.
        RoleError: (on a call) the progress file cannot be written.
    """

    def __init__(
        self,
        model: Any,
        *,
        progress: Progress | None = None,
        max_chunks: int | None = None,
        workers: int = 1,
        card_share: float = 0.4,
        dialogue_lines: int = 4,
        progress_file: str | Path | None = None,
        reviser: Reviser | None = None,
    ) -> None:
        self.name = "Extract"
        self.model = model
        self.progress = progress or _silent
        self.prompts = traits_of(model).prompts
        self.refines = "known" in load("extract", "en", self.prompts).variables
        self.max_chunks = max_chunks or (WINDOW_CHUNKS if self.refines else PASSAGES)
        self.workers = 1 if self.refines else workers
        self.card_share = card_share
        self.dialogue_lines = dialogue_lines
        self.progress_file = Path(progress_file) if progress_file else None
        self.reviser = reviser

    def run(self, value: tuple[Sources, str], config: RunnableConfig | None = None) -> Role:
        """The card of the role named in ``value``."""
        sources, name = value[0], one_line(value[1])
        if not name:
            raise RoleError("the role has no name: give the name that the sources use")
        if not any(text.strip() for _, text in sources):
            raise SourceError("there is no text to extract a role from: give a file with text in it")
        if not any(mention_pattern(name).search(text) for _, text in sources):
            raise SourceError(f"no source names {name}: give the name as the sources write it")
        count = partial(count_tokens, self.model)
        timeline = timeline_of(sources)
        chunks = split_sources(sources, self._chunk_tokens(name), count, paragraphs=not self.refines, timeline=timeline)
        # A profile is quoted line by line.
        profiles = {number for number, (_, text) in enumerate(sources) if profile_fields(text, name)}
        chunks = [chunk for chunk in chunks if chunk.source not in profiles]
        reading = select_chunks(chunks, name, self.max_chunks)
        chapters = [] if self.refines else self._chapters(sources, chunks, name, count, timeline)
        step = f"reading about {name}"
        if len(reading) < len(chunks):
            step += f" ({len(reading)} of {len(chunks)} chunks, those that name {name} most often)"
        found = self._read(reading, chapters, sources, name, step, config)
        return self._card(sources, name, found, timeline)

    def _chunk_tokens(self, name: str) -> int:
        """Tokens of a passage, or of a chunk: of the window 65 % of what the instructions leave it."""
        empty = load("extract", "en", self.prompts).messages(name=name, known="", source="")
        remaining = context_window(self.model) - count_tokens(self.model, [*empty, AIMessage("")])
        return min(CHUNK_TOKENS if self.refines else PASSAGE_TOKENS, max(64, int(remaining * 0.65)))

    def _chapters(
        self,
        sources: Sources,
        passages: Sequence[Chunk],
        name: str,
        count: Callable[[str], int],
        timeline: Sequence[Point],
    ) -> list[Chunk]:
        """The chapters of the stories among the sources; a story of one passage is read whole without questions."""
        long = {chunk.source for chunk in passages if chunk.start > 0}
        stories = {number for number in long if is_story(sources[number][1], name)}
        empty = load("questions", "en", self.prompts).messages(source="", question="")
        remaining = context_window(self.model) - count_tokens(self.model, [*empty, AIMessage("")])
        budget = min(CHAPTER_PASSAGES * PASSAGE_TOKENS, int(remaining * 0.65))
        if not stories or budget < PASSAGE_TOKENS:
            return []
        chunks = split_sources(sources, budget, count, paragraphs=True, timeline=timeline)
        chapters = [chunk for chunk in chunks if chunk.source in stories]
        return select_chunks(chapters, name, max(1, self.max_chunks // CHAPTER_PASSAGES))

    def _read(
        self,
        chunks: Sequence[Chunk],
        chapters: Sequence[Chunk],
        sources: Sources,
        name: str,
        step: str,
        config: RunnableConfig | None,
    ) -> list[FoundStatement]:
        everything = [*chunks, *chapters]
        done = _ProgressFile(self.progress_file, self._key(everything, sources, name))
        found = done.resume()
        if everything:
            self.progress(step, done.chunks, len(everything))
        about = [None if self.refines else Mentions(text, name).about for _, text in sources]

        def read(number: int) -> list[FoundStatement]:
            chunk = everything[number]
            source, concerns = sources[chunk.source], about[chunk.source]
            if number >= len(chunks):
                stated = [("background", said) for said in answers(self.model, chunk.text, name, self.prompts, config)]
            else:
                known = merge_statements(found, name) if self.refines else []
                stated = parse_labelled_lines(self._ask(chunk, name, known, config))
            return _supported(stated, name, chunk, source, concerns)

        with ContextThreadPoolExecutor(self.workers) as pool:
            results = (map if self.workers == 1 else pool.map)(read, range(done.chunks, len(everything)))
            for number, new in enumerate(results, done.chunks + 1):
                found += new
                done.add(new)
                self.progress(step, number, len(everything))
        done.remove()
        return merge_statements(found, name)

    def _ask(self, chunk: Chunk, name: str, known: Sequence[FoundStatement], config: RunnableConfig | None) -> str:
        """The model's statements about ``name`` from one chunk; a prompt with ``$known`` has those found so far."""
        language = language_of(chunk.text)
        template = load("extract", language, self.prompts)
        values = {"name": name, "source": chunk.text}
        if self.refines:
            values["known"] = self._known_lines(partial(template.messages, **values), chunk, name, known)
        repeats = None if self.refines else 3
        return "\n".join(written_lines(self.model, template.messages(**values), config=config, repeats=repeats))

    def _known_lines(
        self, prompt: Callable[..., list[BaseMessage]], chunk: Chunk, name: str, known: Sequence[FoundStatement]
    ) -> str:
        """As many of the statements found so far as fit the window beside the chunk."""
        lines: list[str] = []
        language = language_of(chunk.text)
        terms, window = content_terms(chunk.text), context_window(self.model)
        # Statements that share terms with the chunk come first: the window may not hold all of them.
        for item in sorted(known, key=lambda f: -len(content_terms(f.statement.text, name) & terms)):
            line = LABELS[language][item.label] + render.COLON[language] + item.statement.text
            if count_tokens(self.model, [*prompt(known="\n".join([*lines, line])), AIMessage("")]) > window:
                break
            lines.append(line)
        return "\n".join(lines)

    def _card(self, sources: Sources, name: str, found: list[FoundStatement], timeline: tuple[Point, ...]) -> Role:
        language = language_of("\n".join(text[:20_000] for _, text in sources))
        dialogue = role_lines(sources, name, self.dialogue_lines)
        if self.reviser is not None:
            found = self.reviser.statements(found, sources, name)
        else:
            found = [item for item in found if not _is_part_of_another(item, found)]
            covered = [place for item in found for place in item.statement.evidence]
            others = [source for source in sources if not profile_fields(source[1], name)]
            found = [*found, *(item for item in descriptions(others, name) if not _overlaps(item, covered))]
        found = [*found, *(item for source in sources for item in profile_statements(*source, name))]
        if self.reviser is None and not any(item.label == "background" for item in found):
            found += direct_statements(sources, name)
        found = mark_superseded(found, timeline, name)
        order = timeline if len(timeline) > 1 else ()
        while True:
            lists = {key: [f.statement for f in found if f.label == key] for key in LABELS[language]}
            role = Role.model_validate(
                {"name": name, "language": language, **lists, "sample_dialogue": dialogue, "timeline": order}
            )
            size = count_tokens(self.model, render.card(role, language, prompts=self.prompts))
            if size <= context_window(self.model) * self.card_share or len(found) + len(dialogue) <= 1:
                return role
            if len(dialogue) > 1 and len(dialogue) * 3 > len(found):
                dialogue = dialogue[:-1]
            else:
                found.remove(min(found, key=lambda f: (len(f.statement.evidence), f.score)))

    def _key(self, chunks: Sequence[Chunk], sources: Sources, name: str) -> str:
        plan = [(chunk.source, chunk.start, chunk.end) for chunk in chunks]
        return sha256(json.dumps([model_key(self.model), name, list(map(list, sources)), plan]).encode()).hexdigest()


def _supported(
    stated: Iterable[tuple[str, str]],
    name: str,
    chunk: Chunk,
    source: tuple[str, str],
    about: Callable[[int, int], bool] | None,
) -> list[FoundStatement]:
    """Those (label, statement) pairs of a model that ``chunk`` supports, each with the place that does."""
    found = []
    for label, statement in stated:
        support = find_support(statement, name, chunk, source[0], about)
        if support is None and about is not None and (span := form_of_address(statement, name, chunk.text)):
            start, end = chunk.start + span[0], chunk.start + span[1]
            support = Evidence(source=source[0], start=start, end=end, quote=source[1][start:end]), 1.0
        if support:
            place, score = support
            if about is not None:
                label = fitting_heading(label, statement, name)
            assert source[1][place.start : place.end] == place.quote
            found.append(FoundStatement(label, Statement(text=statement, evidence=(place,)), score))
    return found


def _overlaps(item: FoundStatement, places: Sequence[Evidence]) -> bool:
    """Whether the evidence of ``item`` is part of one of ``places``."""
    (own,) = item.statement.evidence
    return any(own.source == p.source and own.start < p.end and p.start < own.end for p in places)


def _is_part_of_another(item: FoundStatement, found: Sequence[FoundStatement]) -> bool:
    """Whether another statement says the same and more, word for word."""
    own = item.statement.text.rstrip(" .。")
    return any(own in other.statement.text and len(other.statement.text) > len(own) + 1 for other in found)


class _ProgressFile:
    """The results of finished chunks, as JSON lines: first a key of the inputs, then the statements of each chunk."""

    def __init__(self, path: Path | None, key: str) -> None:
        self.path = path
        self.key = key
        self.chunks = 0

    def resume(self) -> list[FoundStatement]:
        """The results of an interrupted call; the file of another call is overwritten."""
        if self.path is None:
            return []
        rows: list[Any] = []
        try:
            for line in self.path.read_text(encoding="utf-8").splitlines():
                rows.append(json.loads(line))
        except FileNotFoundError:
            rows = []
        except (OSError, ValueError):  # the last line was cut off by a kill; those before it are complete
            rows = rows or []
        if not rows or rows[0] != self.key:
            self._write(json.dumps(self.key) + "\n", "w")
            return []
        self._write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "w")
        self.chunks = len(rows) - 1
        return [FoundStatement(f[0], Statement.model_validate(f[1]), f[2]) for row in rows[1:] for f in row]

    def add(self, found: Sequence[FoundStatement]) -> None:
        """Stores the result of one more chunk."""
        row = [[f.label, f.statement.model_dump(), f.score] for f in found]
        self._write(json.dumps(row, ensure_ascii=False) + "\n", "a")

    def remove(self) -> None:
        """Removes the file: the work is done."""
        if self.path:
            self.path.unlink(missing_ok=True)

    def _write(self, text: str, mode: str) -> None:
        if self.path is None:
            return
        try:
            with self.path.open(mode, encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise RoleError(f"the progress file {self.path} cannot be written ({error.strerror})") from error


def _silent(step: str, done: int, total: int) -> None:
    """Ignores progress reports."""
