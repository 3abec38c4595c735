"""Extract, static (report 7.2.2): what sources tell of a role, summarized into a card before the conversation.

Sources longer than the window are cut, and the card is refined piece by piece. A statement stays only with the
sentence that it stands on (``source[start:end] == quote``); where the model finds none that hold, sentences of the
source speak for themselves, so that the card of somebody who is told of is never empty. Beside what pocket finds they
always do: it reads worse than they tell.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig

from egosrag.egos.extract.chunks import Piece, chosen, cut, mention
from egosrag.egos.extract.dialogue import spoken
from egosrag.egos.extract.evidence import LABELS, Found, content, direct, labelled, merged, support
from egosrag.egos.step import Step
from egosrag.errors import RoleError, SourceError
from egosrag.models.continuation import continue_prefix
from egosrag.models.tokens import context_window, count_tokens
from egosrag.models.traits import traits_of
from egosrag.prompts import load, render
from egosrag.schema import Role, Statement
from egosrag.text.language import language_of, one_line

Sources = Sequence[tuple[str, str]]
Progress = Callable[[str, int, int], None]
_MOST = 24  # sentences that speak for themselves beside what a model found that reads worse than they tell


class Extract(Step[tuple[Sources, str], Role]):
    """Makes the card of a role: ``Extract(model).invoke((sources, name))``, sources being (name, text) pairs.

    Args:
        model: the chat model, or plain LLM, that reads.
        progress: is told (what, done, total) after each piece.
        max_pieces: how many pieces are read at most; of longer sources those that name the role most, spread evenly.
        card_share: the share of the model's prompt window that the card may take.
        dialogue_lines: how many of the role's own lines the card shows.
        progress_file: keeps what each piece gave while the work goes on, so that it can be resumed; removed at the
            end, and not used when model, sources or name are others.

    Raises:
        SourceError: (on a call) there is no text, or none that names the role.
        RoleError: (on a call) the progress file cannot be written.
    """

    def __init__(
        self,
        model: Any,
        *,
        progress: Progress | None = None,
        max_pieces: int = 24,
        card_share: float = 0.4,
        dialogue_lines: int = 4,
        progress_file: str | Path | None = None,
    ) -> None:
        self.name = "Extract"
        self.model = model
        self.progress = progress or _silent
        self.max_pieces = max_pieces
        self.card_share = card_share
        self.dialogue_lines = dialogue_lines
        self.progress_file = Path(progress_file) if progress_file else None

    def run(self, value: tuple[Sources, str], config: RunnableConfig | None = None) -> Role:
        """The card of the role that is named in ``value``."""
        sources, name = value[0], one_line(value[1])
        if not name:
            raise RoleError("the role has no name: give the name that the sources use")
        if not any(text.strip() for _, text in sources):
            raise SourceError("there is no text to extract a role from: give a file with text in it")
        if not any(mention(name).search(text) for _, text in sources):
            raise SourceError(f"no source names {name}: give the name as the sources write it")
        pieces = cut(sources, self._room(name), partial(count_tokens, self.model))
        reading = chosen(pieces, name, self.max_pieces)
        what = f"reading about {name}"
        if len(reading) < len(pieces):
            what += f" ({len(reading)} of {len(pieces)} pieces, those that name {name} most)"
        found = self._read(reading, sources, name, what, config)
        return self._card(sources, name, found)

    def _room(self, name: str) -> int:
        """Tokens of a piece: what the window leaves beside the instructions and what is known so far."""
        empty = load("extract", "en").messages(name=name, known="", source="")
        left = context_window(self.model) - count_tokens(self.model, [*empty, AIMessage("")])
        return min(6000, max(64, int(left * 0.65)))

    def _read(
        self, pieces: Sequence[Piece], sources: Sources, name: str, what: str, config: RunnableConfig | None
    ) -> list[Found]:
        done = _Done(self.progress_file, self._key(pieces, sources, name))
        found = done.resumed()
        self.progress(what, done.pieces, len(pieces))
        for number in range(done.pieces, len(pieces)):
            piece = pieces[number]
            source, text = sources[piece.source]
            new = []
            for label, said in labelled(self._asked(piece, name, merged(found, name), config)):
                stands = support(said, name, piece, source)
                if stands:
                    assert text[stands[0].start : stands[0].end] == stands[0].quote
                    new.append(Found(label, Statement(text=said, evidence=(stands[0],)), stands[1]))
            found += new
            done.add(new)
            self.progress(what, number + 1, len(pieces))
        done.remove()
        return merged(found, name)

    def _asked(self, piece: Piece, name: str, known: Sequence[Found], config: RunnableConfig | None) -> str:
        language = language_of(piece.text)
        prompt = partial(load("extract", language).messages, name=name, source=piece.text)
        lines: list[str] = []
        about = content(piece.text)
        window = context_window(self.model)
        # What the piece speaks of comes first: the window may not hold all that is known.
        for item in sorted(known, key=lambda f: -len(content(f.statement.text, name) & about)):
            line = LABELS[language][item.label] + render.COLON[language] + item.statement.text
            if count_tokens(self.model, [*prompt(known="\n".join([*lines, line])), AIMessage("")]) > window:
                break
            lines.append(line)
        messages = prompt(known="\n".join(lines))
        return "".join(str(chunk.text) for chunk in continue_prefix(self.model, messages, "", config=config))

    def _card(self, sources: Sources, name: str, found: list[Found]) -> Role:
        language = language_of("\n".join(text[:20_000] for _, text in sources))
        dialogue = spoken(sources, name, self.dialogue_lines)
        if traits_of(self.model).revises_drafts:
            labels = {_place(item)[:2]: item.label for item in found}
            told = direct(sources, name, _MOST, meant=True)
            places = [_place(item) for item in told]
            told = [  # what its words do not place, the model places
                replace(item, label=labels.get(_place(item)[:2], item.label)) if item.label == "background" else item
                for item in told
            ]
            found = [*told, *(item for item in found if not any(_overlap(_place(item), place) for place in places))]
        elif not any(item.label == "background" for item in found):
            found = [*found, *direct(sources, name)]
        while True:
            lists = {key: [f.statement for f in found if f.label == key] for key in LABELS[language]}
            role = Role.model_validate({"name": name, "language": language, **lists, "sample_dialogue": dialogue})
            size = count_tokens(self.model, render.card(role, language))
            if size <= context_window(self.model) * self.card_share or len(found) + len(dialogue) <= 1:
                return role
            if len(dialogue) > 1 and len(dialogue) * 3 > len(found):
                dialogue = dialogue[:-1]
            else:
                found.remove(min(found, key=lambda f: (len(f.statement.evidence), f.score)))

    def _key(self, pieces: Sequence[Piece], sources: Sources, name: str) -> str:
        model = [
            type(self.model).__name__,
            *(str(getattr(self.model, k, "")) for k in ("model", "model_name", "adapter")),
        ]
        plan = [(piece.source, piece.start, piece.end) for piece in pieces]
        return sha256(json.dumps([model, name, list(map(list, sources)), plan]).encode()).hexdigest()


def _place(item: Found) -> tuple[str, int, int]:
    """The source that a statement stands in first, and from where to where."""
    first = item.statement.evidence[0]
    return first.source, first.start, first.end


def _overlap(a: tuple[str, int, int], b: tuple[str, int, int]) -> bool:
    return a[0] == b[0] and a[1] < b[2] and b[1] < a[2]


class _Done:
    """The pieces that were read already: a JSON line for the plan's key, then one for what each piece gave."""

    def __init__(self, path: Path | None, key: str) -> None:
        self.path = path
        self.key = key
        self.pieces = 0

    def resumed(self) -> list[Found]:
        """What an earlier, interrupted run found; a file of another plan is begun anew."""
        if self.path is None:
            return []
        rows: list[Any] = []
        try:
            for line in self.path.read_text(encoding="utf-8").splitlines():
                rows.append(json.loads(line))
        except FileNotFoundError:
            rows = []
        except (OSError, ValueError):  # a line that was cut off by a kill: what stands before it is whole
            rows = rows or []
        if not rows or rows[0] != self.key:
            self._write(json.dumps(self.key) + "\n", "w")
            return []
        self._write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "w")
        self.pieces = len(rows) - 1
        return [Found(f[0], Statement.model_validate(f[1]), f[2]) for row in rows[1:] for f in row]

    def add(self, found: Sequence[Found]) -> None:
        """Keeps what one more piece gave."""
        row = [[f.label, f.statement.model_dump(), f.score] for f in found]
        self._write(json.dumps(row, ensure_ascii=False) + "\n", "a")

    def remove(self) -> None:
        """The work is done: nothing is left to resume."""
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


def _silent(what: str, done: int, total: int) -> None:
    """The progress of a caller who does not want it."""
