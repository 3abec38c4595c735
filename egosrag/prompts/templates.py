"""Chat templates without transformers: rendered as it renders them, in Jinja's sandbox."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import Template, TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment


def render_chat(template: str, chat: Sequence[Mapping[str, str]], **variables: Any) -> str:
    """The text of a conversation by a chat template, as ``transformers.apply_chat_template`` gives it.

    Args:
        template: Jinja source; untrusted, it can reach nothing but its variables.
        chat: messages with "role" and "content".
        **variables: others that templates read: add_generation_prompt, bos_token, eos_token.

    Raises:
        jinja2.TemplateError: the template is wrong, or refuses these messages.
    """
    return _compiled(template).render(messages=chat, **variables)


class _Generation(Extension):
    """``{% generation %}``, which marks the assistant's text for training, is transparent here."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@lru_cache(maxsize=16)
def _compiled(template: str) -> Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment.from_string(template)


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    # Jinja's own filter escapes HTML.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def _raise_exception(message: str) -> None:
    raise TemplateError(message)
