"""The data types shared by all packages, as frozen pydantic models.

Role-play (report section 7): ``Role`` (made of ``Statement`` with ``Evidence``, over a timeline of ``Point``),
``Persona``, ``Turn``, ``Scene``, ``Pin``, ``Reply`` with its ``Ledger``.
Manual QA (report section 6): ``Page``, ``Passage``, ``Citation``, ``Answer``.
Both: ``Usage`` and ``Timing``.

Their names and fields are contracts: role files, ``--json`` output and stored sessions consist of them.
"""

from __future__ import annotations

import uuid
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Language = Literal["en", "zh"]
StopReason = Literal["quote", "eos", "stop", "length", "speaker", "interrupted"]


def _is_absent(value: object) -> bool:
    return value in (None, "")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Usage(_Frozen):
    """Token usage of one or more model calls, by the model's own tokenizer if it has one."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = Field(default=0, description="prompt tokens read from the KV cache or prompt cache")

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
        )


class Timing(_Frozen):
    """Wall-clock seconds from the moment the line or question was received."""

    first_token_s: float | None = None
    total_s: float = 0.0


class Evidence(_Frozen):
    """The place of a quote: ``source[start:end] == quote``, in characters of the cleaned source text."""

    source: str
    start: int
    end: int
    quote: str


class Statement(_Frozen):
    """A statement about a role, with the sentences of the sources that support it. A plain string is accepted."""

    text: str
    evidence: tuple[Evidence, ...] = ()
    until: Evidence | None = Field(default=None, description="the later place that says that it is so no longer")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"text": value} if isinstance(value, str) else value


class DialogueLine(_Frozen):
    """One spoken line of a sample dialogue."""

    speaker: str
    text: str
    evidence: tuple[Evidence, ...] = ()


class Point(_Frozen):
    """A chapter, a dated entry or a file in the order of a role's sources; it ends where the next point starts."""

    label: str
    source: str
    start: int = Field(description="of its first character, in characters of the cleaned source text")


class Persona(_Frozen):
    """The user as the role knows them: the name of the user's turns, and a description for the prompt."""

    name: str = Field(min_length=1, max_length=80)
    description: str = ""


class _Lenient(BaseModel):
    """Base of what other programs write: unknown keys are kept, null counts as absent."""

    model_config = ConfigDict(frozen=True, extra="allow")

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: item for key, item in value.items() if item is not None or key not in cls.model_fields}


class LoreEntry(_Lenient):
    """One entry of a lorebook: ``content`` enters the prompt when one of ``keys`` is mentioned (card V2, V3)."""

    keys: tuple[str, ...] = ()
    content: str = ""
    enabled: bool = True
    insertion_order: float = Field(default=100, description="entries enter the prompt in this order")
    constant: bool = Field(default=False, description="always in the prompt")
    selective: bool = Field(default=False, description="one of secondary_keys must be mentioned too")
    secondary_keys: tuple[str, ...] = ()
    case_sensitive: bool = False
    use_regex: bool = Field(default=False, description="the keys are regular expressions")
    priority: float = Field(default=0, description="over budget, the lowest is dropped first")
    extensions: dict[str, Any] = Field(default_factory=dict)

    @property
    def label(self) -> str:
        """What the entry is called: its name, its comment or its first key."""
        extra = self.model_extra or {}
        texts = (extra.get("name"), extra.get("comment"), *self.keys, self.content[:40])
        return next((" ".join(text.split()) for text in texts if isinstance(text, str) and text.strip()), "-")

    @property
    def depth(self) -> int | None:
        """Before which message from the end it is placed (SillyTavern's position 4); None: near the last line."""
        depth = self.extensions.get("depth", 4)
        at_depth = self.extensions.get("position") == 4 and isinstance(depth, int) and depth >= 0
        return depth if at_depth else None


class Lorebook(_Lenient):
    """Facts about a role's world that enter the prompt when they are mentioned: the ``character_book`` of a card."""

    entries: tuple[LoreEntry, ...] = ()
    scan_depth: int = Field(default=4, ge=0, description="how many of the last lines are scanned for keys")
    token_budget: int | None = Field(default=None, ge=0, description="tokens of all entries together")
    recursive_scanning: bool = Field(default=False, description="the contents of activated entries are scanned too")


class Role(BaseModel):
    """A role card (report 7.2.2): written by Extract or by hand, rendered into the prompt of every reply.

    ``{"name": ...}`` alone is a valid card. Lists may hold plain strings. Unknown keys are kept and written back.
    ``{{char}}`` and ``{{user}}`` in its texts are replaced by the two names when it is rendered.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str = Field(min_length=1)
    language: Language | None = Field(
        default=None, description="the card's language; guessed from its text when absent"
    )
    background: tuple[Statement, ...] = ()
    personality: tuple[Statement, ...] = ()
    speaking_style: tuple[Statement, ...] = ()
    relations: tuple[Statement, ...] = ()
    sample_dialogue: tuple[DialogueLine, ...] = ()
    greeting: str | None = Field(default=None, description="what the role says before the first line of the user")
    alternate_greetings: tuple[str, ...] = ()
    nickname: str | None = Field(default=None, description="the text for {{char}}; the name when absent")
    lorebook: Lorebook | None = None
    timeline: tuple[Point, ...] = Field(default=(), description="the points of the sources, in order")
    as_of: str | None = Field(default=None, description="label of the last point that is known; everything when absent")

    @field_validator("background", "personality", "speaking_style", "relations", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) and value else (value or ())

    @field_validator("name")
    @classmethod
    def _named(cls, value: str) -> str:
        value = " ".join(value.replace("\0", "").split())
        if not value:
            raise ValueError("a role needs a name")
        return value


class Turn(_Frozen):
    """One line of a conversation, as it is stored: only the speech, without quotation marks."""

    speaker: str
    text: str
    id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    status: Literal["complete", "interrupted"] = "complete"
    at: str = Field(default="", description="when it was said, ISO 8601 in UTC; empty if unknown")


class Scene(_Frozen):
    """One line of a summary (report 7.2.4), with the ids of the turns that it replaces in the prompt."""

    text: str
    turn_ids: tuple[str, ...]
    epoch: int = Field(
        default=0, description="the run of Summarize that wrote it; a later one may replace the same turns again"
    )


class Pin(_Frozen):
    """A fact that stays in every prompt of a conversation, with the ids of the turns that it comes from."""

    id: str
    text: str
    turn_ids: tuple[str, ...] = ()
    value: dict[str, Any] | None = Field(
        default=None, exclude_if=_is_absent, description="what another program stored, of which ``text`` is the line"
    )
    at: str = Field(default="", exclude_if=_is_absent, description="when another program stored it, ISO 8601")


class Ledger(_Frozen):
    """Tokens of each part of the prompt of one reply, by the model's own tokenizer if it has one.

    The parts sum to ``prompt``: each is the number of tokens by which that part makes the prompt longer.
    """

    template: int = Field(default=0, description="the chat template, the fixed instructions and the reply's prefix")
    card: int = Field(default=0, description="the role card")
    lore: int = Field(default=0, description="retrieved for this line from the lorebook or the role's sources")
    scenes: int = Field(default=0, description="the scenes that replace old turns (static memory), and the pins")
    recalled: int = Field(default=0, description="the old turns that were recalled for this line (dynamic memory)")
    note: int = Field(default=0, description="notes of the card or the author, near the end of the conversation")
    history: int = Field(default=0, description="the turns before the line")
    line: int = Field(default=0, description="the line that the reply answers")
    reply: int = Field(default=0, description="tokens that the model generated")
    cached: int = Field(default=0, description="tokens of the prompt that were read from the cache")

    @property
    def prompt(self) -> int:
        """Tokens of the whole prompt: every part but the reply."""
        return (
            self.template + self.card + self.lore + self.scenes + self.recalled + self.note + self.history + self.line
        )


class Reply(_Frozen):
    """The output of Generate for one line."""

    speaker: str
    text: str
    stop_reason: StopReason
    usage: Usage = Usage()
    timing: Timing = Timing()
    evidence: tuple[Evidence, ...] = Field(
        default=(), description="places in the role's sources retrieved for the line"
    )
    ledger: Ledger = Ledger()
    lore: tuple[str, ...] = Field(default=(), description="names of the lorebook entries that the line activated")


class Heading(_Frozen):
    """A heading line of a page: ``page.text[start:start + len(title)] == title``; ``level`` 1 is the highest."""

    start: int
    level: int
    title: str


class Page(_Frozen):
    """One page of a document after cleaning. ``page`` is its number from 1; formats without pages have one page."""

    source: str
    page: int
    text: str
    section: str = Field(default="", description="the path of headings above the page's first line, joined by ' > '")
    headings: tuple[Heading, ...] = Field(default=(), description="the headings in the text, in order")


class Passage(_Frozen):
    """A window of sentences on one page: ``page.text[start:end] == text``. ``section`` is the path of headings."""

    id: str
    source: str
    page: int
    start: int
    end: int
    text: str
    section: str = ""
    metadata: dict[str, Any] | None = Field(
        default=None, exclude_if=_is_absent, description="of the document of another library that the passage was"
    )


class Citation(_Frozen):
    """A verbatim quote from a page of a source. ``score`` is how well it supports the sentence, 0 to 1."""

    source: str
    page: int
    quote: str
    score: float


class AttributedSentence(_Frozen):
    """One sentence of an answer. ``citation`` is an index, from 0, of the answer's citations; None: unsupported."""

    text: str
    citation: int | None


class AnswerProgress(_Frozen):
    """A step of answering a question, streamed before the answer's text: the pages appear before the first word."""

    step: Literal["searching", "found", "reading"] = Field(
        description="'searching' the documents; the passages are 'found'; the model is 'reading' those in its prompt,"
        " the best ones first and then all where it finds no answer in them"
    )
    passages: tuple[Passage, ...] = Field(
        default=(), description="those found or read, best first; none while searching"
    )

    @property
    def pages(self) -> tuple[tuple[str, int], ...]:
        """The (source, page) of the passages, each once, best first."""
        return tuple(dict.fromkeys((passage.source, passage.page) for passage in self.passages))


class Answer(_Frozen):
    """The answer of the manual's engine to one question."""

    answer: str
    refused: bool
    citations: tuple[Citation, ...] = ()
    mode: Literal["generated", "quoted", "refused"] = Field(
        default="generated", description="'generated' by the model, 'quoted' from the manual, or 'refused'"
    )
    sentences: tuple[AttributedSentence, ...] = Field(
        default=(), description="the answer's sentences, each with its citation"
    )
    queries: tuple[str, ...] = Field(
        default=(), description="the queries, in order: the standalone question, sub-questions, rewordings"
    )
    evidence: float = Field(
        default=0.0, description="the confidence of retrieval: share of the question that one passage covers, 0 to 1"
    )
    usage: Usage = Usage()
    timing: Timing = Timing()
