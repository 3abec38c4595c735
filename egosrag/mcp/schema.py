"""The arguments and the results of the tools: their JSON schemas, and a result as text.

Schemas and descriptions are written for the model that chooses the tool. A null argument counts as absent, an unknown
one is ignored. What comes from a document or a role is a value in a field, on one line in the text form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from egosrag.errors import EgosRagError
from egosrag.limits import LINE_CHARACTERS, QUESTION_CHARACTERS
from egosrag.schema import Citation, StopReason
from egosrag.text.encoding import without_surrogates
from egosrag.text.language import one_line

MAX_PASSAGES = 20
A = TypeVar("A", bound=BaseModel)


class InvalidArguments(EgosRagError):
    """The arguments of a tool call are missing, of a wrong type, or name something that is not served."""


class _Arguments(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: Any) -> Any:
        return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value

    @field_validator("*", mode="after")
    @classmethod
    def _well_formed(cls, value: Any) -> Any:
        return without_surrogates(value) if isinstance(value, str) else value


class AskArguments(_Arguments):
    """Arguments of ``ask_manual``."""

    question: str = Field(
        min_length=1,
        max_length=QUESTION_CHARACTERS,
        description="One complete question in English or Chinese. It must be understandable by itself: replace 'it' or "
        "'that one' by what is meant.",
    )
    manual: str = Field("", description="The manual to ask.")


class SearchArguments(_Arguments):
    """Arguments of ``search_manual``."""

    query: str = Field(
        min_length=1, max_length=QUESTION_CHARACTERS, description="Words or a question, in the manual's language."
    )
    manual: str = Field("", description="The manual to search.")
    limit: int = Field(5, ge=1, le=MAX_PASSAGES, description="How many passages to return at most.")


class SayArguments(_Arguments):
    """Arguments of ``say_to_role``."""

    line: str = Field(
        min_length=1, max_length=LINE_CHARACTERS, description="What the user says to the character, word for word."
    )
    role: str = Field("", description="The character to talk to.")
    session: str = Field(
        "",
        max_length=200,
        description="Name of the stored conversation to continue, or of a new one. Leave it out to continue the "
        "character's usual conversation.",
    )


class RememberArguments(_Arguments):
    """Arguments of ``remember``."""

    note: str = Field(
        min_length=1,
        max_length=LINE_CHARACTERS,
        description="One fact in one short sentence that names whom it is about, such as 'Ann is allergic to nuts.'",
    )
    role: str = Field("", description="The character that shall remember it.")
    session: str = Field(
        "", max_length=200, description="Name of the conversation; the same as in say_to_role, or left out in both."
    )


class Link(NamedTuple):
    """A resource that belongs to a result."""

    uri: str
    name: str
    mime_type: str


class Result(Protocol):
    """The result of a tool: fields for programs, text for models, and links to pages."""

    def model_dump(self) -> dict[str, Any]:
        """Its fields."""

    def text(self) -> str:
        """The result as text."""

    def links(self) -> Sequence[Link]:
        """The resources that belong to it, each once."""


class PageReference(BaseModel):
    """Where the page of a quote can be read."""

    page_uri: str = Field(description="resource of the page, with the quote highlighted where it is a picture")
    page_type: str = Field(description="image/png for a page of a PDF that is at hand, else text/plain")


class CitedQuote(PageReference, Citation):
    """A citation with its page as a resource."""


class FoundPassage(PageReference):
    """A passage that a search found."""

    source: str = Field(description="the document")
    page: int = Field(description="number of the page, from 1")
    section: str = Field(description="headings above the passage, joined by ' > '; may be empty")
    text: str
    score: float = Field(description="relevance, 0 to 1")


class _PagedResult(BaseModel):
    def _pages(self) -> Sequence[CitedQuote | FoundPassage]:
        raise NotImplementedError

    def links(self) -> list[Link]:
        """The pages, each once."""
        links = (Link(at.page_uri, f"{at.source}, p. {at.page}", at.page_type) for at in self._pages())
        return list(dict.fromkeys(links))


class ManualAnswer(_PagedResult):
    """The answer of a manual, with citations whose quotes were found on their pages."""

    manual: str
    answer: str
    refused: bool = Field(description="true: the manual does not answer the question; do not answer it from elsewhere")
    mode: str = Field(description="'generated' by the model, 'quoted' from the manual, or 'refused'")
    citations: list[CitedQuote] = Field(description="verbatim quotes that support the answer, checked on their page")

    def text(self) -> str:
        """The answer, and a line for each citation."""
        cited = (f'[{n}] {c.source}, p. {c.page}: "{one_line(c.quote)}"' for n, c in enumerate(self.citations, 1))
        return "\n".join([self.answer, *cited])

    def _pages(self) -> Sequence[CitedQuote]:
        return self.citations


class FoundPassages(_PagedResult):
    """The passages of a search, best first."""

    manual: str
    passages: list[FoundPassage]

    def text(self) -> str:
        """A line for each passage."""
        lines = (
            f"[{n}] {p.source}, p. {p.page}{f' ({one_line(p.section)})' if p.section else ''}: {one_line(p.text)}"
            for n, p in enumerate(self.passages, 1)
        )
        return "\n".join(lines) or "Nothing was found."

    def _pages(self) -> Sequence[FoundPassage]:
        return self.passages


class RoleReply(BaseModel):
    """What a role said."""

    role: str
    session: str = Field(description="name of the stored conversation; pass it again to continue it")
    speaker: str = Field(description="the character's name")
    reply: str = Field(description="what the character says, without quotation marks")
    stop_reason: StopReason = Field(description="why it ended; 'length': it was cut off")

    def text(self) -> str:
        """The reply."""
        return self.reply

    def links(self) -> list[Link]:
        """None."""
        return []


class Remembered(BaseModel):
    """The notes that a role keeps in mind in one conversation."""

    role: str
    session: str
    notes: list[str] = Field(description="all notes of the conversation, the new one last")

    def text(self) -> str:
        """The notes, a line each."""
        return "\n".join([f"{self.role} keeps in mind in the conversation {self.session}:", *self.notes])

    def links(self) -> list[Link]:
        """None."""
        return []


def parse(arguments: type[A], values: Any) -> A:
    """The arguments of a call.

    Raises:
        InvalidArguments: one is missing or wrong; the message names the first.
    """
    try:
        return arguments.model_validate(values or {})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "arguments"
        raise InvalidArguments(f"{where}: {first['msg']}; call the tool as its input schema says") from None


def input_schema(arguments: type[BaseModel], name: str, names: Sequence[str]) -> dict[str, Any]:
    """The JSON schema of a tool's arguments.

    Args:
        arguments: their model.
        name: the argument that says which manual or role is meant.
        names: its values; where there is only one, the argument may be left out.
    """
    schema = _untitled(arguments.model_json_schema())
    field = schema["properties"][name]
    field["enum"] = list(names)
    field.pop("default", None)
    if len(names) == 1:
        field["default"] = names[0]
    else:
        schema["required"].append(name)
    return schema


def output_schema(result: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a tool's result."""
    return _untitled(result.model_json_schema(mode="serialization"))


def _untitled(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without what pydantic adds for people: titles, and the docstrings of our classes."""
    for part in (schema, *schema.get("$defs", {}).values()):
        part.pop("title", None)
        part.pop("description", None)
        for field in part.get("properties", {}).values():
            field.pop("title", None)
    return schema
