"""Static Extract (report 7.2.2): summarizes what sources say about a role into a role card, before the conversation.

Sources longer than the window are read in chunks, and the card is refined from chunk to chunk. A statement is kept only
with the sentence that supports it (``source[start:end] == quote``). If no statement about the background is supported,
sentences of the sources are quoted instead, so that the card of a role that the sources describe is never empty.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig

from egosrag.egos.extract.chunks import Chunk, select_chunks, split_sources
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
from egosrag.egos.reviser import Reviser
from egosrag.egos.step import Step
from egosrag.errors import RoleError, SourceError
from egosrag.models.continuation import continue_prefix
from egosrag.models.tokens import context_window, count_tokens
from egosrag.models.traits import traits_of
from egosrag.prompts import load, render
from egosrag.schema import Role, Statement
from egosrag.text.language import language_of, one_line
from egosrag.text.names import mention_pattern

Sources = Sequence[tuple[str, str]]
Progress = Callable[[str, int, int], None]


class Extract(Step[tuple[Sources, str], Role]):
    """Makes the card of a role: ``Extract(model).invoke((sources, name))``, sources being (name, text) pairs.

    Args:
        model: the chat model, or plain LLM, that reads.
        progress: called with (step, done, total) after each chunk.
        max_chunks: number of chunks that are read at most; of longer sources those that name the role most often.
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
        max_chunks: int = 24,
        card_share: float = 0.4,
        dialogue_lines: int = 4,
        progress_file: str | Path | None = None,
        reviser: Reviser | None = None,
    ) -> None:
        self.name = "Extract"
        self.model = model
        self.progress = progress or _silent
        self.max_chunks = max_chunks
        self.card_share = card_share
        self.dialogue_lines = dialogue_lines
        self.progress_file = Path(progress_file) if progress_file else None
        self.reviser = reviser
        self.prompts = traits_of(model).prompts

    def run(self, value: tuple[Sources, str], config: RunnableConfig | None = None) -> Role:
        """The card of the role named in ``value``."""
        sources, name = value[0], one_line(value[1])
        if not name:
            raise RoleError("the role has no name: give the name that the sources use")
        if not any(text.strip() for _, text in sources):
            raise SourceError("there is no text to extract a role from: give a file with text in it")
        if not any(mention_pattern(name).search(text) for _, text in sources):
            raise SourceError(f"no source names {name}: give the name as the sources write it")
        chunks = split_sources(sources, self._chunk_tokens(name), partial(count_tokens, self.model))
        reading = select_chunks(chunks, name, self.max_chunks)
        step = f"reading about {name}"
        if len(reading) < len(chunks):
            step += f" ({len(reading)} of {len(chunks)} chunks, those that name {name} most often)"
        found = self._read(reading, sources, name, step, config)
        return self._card(sources, name, found)

    def _chunk_tokens(self, name: str) -> int:
        """Tokens of a chunk: what the instructions leave of the window, less 35 % for the statements found so far."""
        empty = load("extract", "en", self.prompts).messages(name=name, known="", source="")
        remaining = context_window(self.model) - count_tokens(self.model, [*empty, AIMessage("")])
        return min(6000, max(64, int(remaining * 0.65)))

    def _read(
        self, chunks: Sequence[Chunk], sources: Sources, name: str, step: str, config: RunnableConfig | None
    ) -> list[FoundStatement]:
        done = _ProgressFile(self.progress_file, self._key(chunks, sources, name))
        found = done.resume()
        self.progress(step, done.chunks, len(chunks))
        for number in range(done.chunks, len(chunks)):
            chunk = chunks[number]
            source, text = sources[chunk.source]
            new = []
            for label, statement in parse_labelled_lines(self._ask(chunk, name, merge_statements(found, name), config)):
                support = find_support(statement, name, chunk, source)
                if support:
                    place, score = support
                    assert text[place.start : place.end] == place.quote
                    new.append(FoundStatement(label, Statement(text=statement, evidence=(place,)), score))
            found += new
            done.add(new)
            self.progress(step, number + 1, len(chunks))
        done.remove()
        return merge_statements(found, name)

    def _ask(self, chunk: Chunk, name: str, known: Sequence[FoundStatement], config: RunnableConfig | None) -> str:
        """The model's statements about ``name`` from one chunk; the prompt contains the statements found so far."""
        language = language_of(chunk.text)
        prompt = partial(load("extract", language, self.prompts).messages, name=name, source=chunk.text)
        lines: list[str] = []
        terms = content_terms(chunk.text)
        window = context_window(self.model)
        # Statements that share terms with the chunk come first: the window may not hold all of them.
        for item in sorted(known, key=lambda f: -len(content_terms(f.statement.text, name) & terms)):
            line = LABELS[language][item.label] + render.COLON[language] + item.statement.text
            if count_tokens(self.model, [*prompt(known="\n".join([*lines, line])), AIMessage("")]) > window:
                break
            lines.append(line)
        messages = prompt(known="\n".join(lines))
        return "".join(str(part.text) for part in continue_prefix(self.model, messages, "", config=config))

    def _card(self, sources: Sources, name: str, found: list[FoundStatement]) -> Role:
        language = language_of("\n".join(text[:20_000] for _, text in sources))
        dialogue = role_lines(sources, name, self.dialogue_lines)
        if self.reviser is not None:
            found = self.reviser.statements(found, sources, name)
        elif not any(item.label == "background" for item in found):
            found = [*found, *direct_statements(sources, name)]
        while True:
            lists = {key: [f.statement for f in found if f.label == key] for key in LABELS[language]}
            role = Role.model_validate({"name": name, "language": language, **lists, "sample_dialogue": dialogue})
            size = count_tokens(self.model, render.card(role, language, prompts=self.prompts))
            if size <= context_window(self.model) * self.card_share or len(found) + len(dialogue) <= 1:
                return role
            if len(dialogue) > 1 and len(dialogue) * 3 > len(found):
                dialogue = dialogue[:-1]
            else:
                found.remove(min(found, key=lambda f: (len(f.statement.evidence), f.score)))

    def _key(self, chunks: Sequence[Chunk], sources: Sources, name: str) -> str:
        model = [
            type(self.model).__name__,
            *(str(getattr(self.model, k, "")) for k in ("model", "model_name", "adapter")),
        ]
        plan = [(chunk.source, chunk.start, chunk.end) for chunk in chunks]
        return sha256(json.dumps([model, name, list(map(list, sources)), plan]).encode()).hexdigest()


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
