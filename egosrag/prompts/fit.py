"""Fit messages to what a chat template accepts, which only the template itself can say.

Gemma's template has no system role, Llama 2's and Mistral's want user and assistant in turn, others leave out what they
do not expect without a word: Mistral v0.3 drops the system text when the last message is a prefix, DeepSeek's keeps
one system message of several. So messages are written in other forms, the least changed first, until the template
accepts one and every message appears in what it renders. Nothing is lost: what changes is the role, or the message,
that a text is part of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from egosrag.errors import ModelError
from egosrag.prompts import load
from egosrag.text.language import language_of

Turn = tuple[str, str]
"""A role ("system", "user" or "assistant") and a content."""
Template = Callable[[Sequence[Turn], bool], str]
"""Renders turns; True opens the assistant's next turn (``add_generation_prompt``)."""

# Contents of a trial: a private-use character each, which no template trims.
_MARKS = range(0xF0000, 0xFFFFE)


class Form(NamedTuple):
    """A way to write messages for one template.

    Attributes:
        arrange: the turns as the template accepts them.
        reopened: a trailing prefix is written after the template's generation prompt: the template refuses, or leaves
            out, an assistant's turn at the end.
    """

    arrange: Callable[[Sequence[Turn]], list[Turn]]
    reopened: bool = False

    def render(self, template: Template, turns: Sequence[Turn], end: str) -> str:
        """The prompt for ``turns``; a trailing assistant's turn is a prefix, which nothing follows.

        Args:
            template: the chat template.
            turns: the messages, at least one.
            end: a character that is in none of them; it is rendered in place of the prefix.

        Raises:
            jinja2.TemplateError: the template refuses the turns.
        """
        role, prefix = turns[-1]
        if role != "assistant":
            return template(self.arrange(turns), True)
        arranged = self.arrange([*turns[:-1], ("assistant", end)])
        if self.reopened:
            return template(arranged[:-1], True) + arranged[-1][1].removesuffix(end) + prefix
        before, found, _ = template(arranged, False).partition(end)
        return before + prefix if found else ""


def find_form(template: Template, roles: Sequence[str]) -> Form:
    """The first form in which ``template`` accepts messages of these roles and renders each of them.

    Args:
        template: the chat template.
        roles: those of the messages, at least one; "assistant" at the end is that of a prefix.

    Raises:
        ModelError: there is none.
    """
    from jinja2 import TemplateError

    turns = [(role, chr(mark)) for role, mark in zip(roles, _MARKS, strict=False)]
    refusal: Exception | None = None
    for reopened in (False, True) if roles[-1] == "assistant" else (False,):
        for arrange in (list, _alternating, _without_system, _alternating_without_system, _user_first):
            form = Form(arrange, reopened)
            try:
                text = form.render(template, turns, chr(_MARKS[-1]))
            except (TemplateError, TypeError, ValueError) as error:  # a template may fail on what it does not expect
                refusal = refusal or error
                continue
            if all(mark in text for _, mark in turns):
                return form
    reason = f"refuses these messages: {refusal}" if refusal else "leaves out a part of these messages"
    raise ModelError(f"the model's chat template {reason}; use --no-template (template=False) or another checkpoint")


def _alternating(turns: Sequence[Turn]) -> list[Turn]:
    """One system turn at the beginning, then user and assistant in turn, the user first where there is one.

    A later system text becomes the user's, at its place. An assistant's opening (a greeting) becomes a quotation in the
    user's first turn: an invented turn of the user before it would be answered.
    """
    start = next((n for n, (role, _) in enumerate(turns) if role != "system"), len(turns))
    rest = _merged([("user" if role == "system" else role, text) for role, text in turns[start:]])
    if len(rest) > 1 and rest[0][0] == "assistant":
        (_, opening), (_, text), *later = rest
        quoted = load("opening", language_of(opening + text)).text(opening=opening)
        rest = [("user", _joined(quoted, text)), *later]
    return [*_merged(turns[:start]), *rest]


def _without_system(turns: Sequence[Turn]) -> list[Turn]:
    """The opening system text at the beginning of the first user turn, and later ones as turns of the user."""
    start = next((n for n, (role, _) in enumerate(turns) if role != "system"), len(turns))
    system = _joined(*(text for _, text in turns[:start]))
    rest = [("user" if role == "system" else role, text) for role, text in turns[start:]]
    first = next((n for n, (role, _) in enumerate(rest) if role == "user"), None)
    if not start:
        return rest
    if first is None:
        return [("user", system), *rest]
    return [*rest[:first], ("user", _joined(system, rest[first][1])), *rest[first + 1 :]]


def _alternating_without_system(turns: Sequence[Turn]) -> list[Turn]:
    return _without_system(_alternating(turns))


def _user_first(turns: Sequence[Turn]) -> list[Turn]:
    """As ``_alternating_without_system``; a prefix alone comes after an empty turn of the user."""
    arranged = _alternating_without_system(turns)
    return arranged if arranged[0][0] == "user" else [("user", ""), *arranged]


def _merged(turns: Sequence[Turn]) -> list[Turn]:
    """The turns with successive ones of a role as one."""
    merged: list[Turn] = []
    for role, text in turns:
        if merged and merged[-1][0] == role:
            merged[-1] = (role, _joined(merged[-1][1], text))
        else:
            merged.append((role, text))
    return merged


def _joined(*texts: str) -> str:
    return "\n\n".join(filter(None, texts))
