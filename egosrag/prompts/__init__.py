"""Prompts as reviewed text files: one file a prompt and language, rendered by ``load(name, language)``.

A file is ``name.language.txt``. Its first line is a comment with the report's section. ``[system]``, ``[user]``
and ``[assistant]`` open the messages; a fragment that is put into other prompts has the single part ``[text]``.
Variables are ``$name``; a value is inserted as it is and never searched for variables.

A model that was trained on prompts in another wording states so (``egosrag.traits.Traits.prompts``). They are a set: a
subfolder with files of the same names, each in place of the standard one. ``load(name, language, prompts)`` takes it.

``render`` writes cards, turns and passages as text for these variables; ``encode`` turns messages into token ids,
in the form that the chat template accepts (``fit``). ``templates`` renders a chat template without transformers.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, NamedTuple

from egosrag.errors import PromptError

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage


class Prompt(NamedTuple):
    """A prompt file, parsed: ``parts`` are (role, template) pairs in the order of the file."""

    name: str
    parts: tuple[tuple[str, Template], ...]

    @property
    def variables(self) -> frozenset[str]:
        """The names that ``messages`` and ``text`` need."""
        return frozenset(v for _, template in self.parts for v in template.get_identifiers())

    def _rendered(self, values: dict[str, str]) -> list[tuple[str, str]]:
        missing = sorted(self.variables - values.keys())
        if missing:
            raise PromptError(f"prompt {self.name} needs {', '.join(missing)}: give every one of them a value")
        return [(role, _substitute(template.template, values)) for role, template in self.parts]

    def messages(self, **values: str) -> list[BaseMessage]:
        """The prompt as chat messages; a line of the file whose variables are all empty is left out.

        Raises:
            PromptError: values are missing; the message names all of them.
        """
        from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

        kinds = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
        return [kinds[role](text) for role, text in self._rendered(values)]

    def text(self, **values: str) -> str:
        """A fragment ([text]) as a string; a line of the file whose variables are all empty is left out.

        Raises:
            PromptError: values are missing; the message names all of them.
        """
        return self._rendered(values)[0][1]


def _substitute(text: str, values: dict[str, str]) -> str:
    lines = []
    for line in map(Template, text.split("\n")):
        names = line.get_identifiers()
        if not names or any(values[name] for name in names):
            lines.append(line.substitute(values))
    return "\n".join(lines)


@cache
def load(name: str, language: str, prompts: str = "") -> Prompt:
    """The prompt ``name`` in ``language`` ("en" or "zh").

    Args:
        name: the prompt.
        language: "en" or "zh".
        prompts: the set of prompts that the model was trained on; a prompt that it lacks is the standard one, and so
            are all prompts of a set that does not exist here.

    Raises:
        PromptError: there is no such file, or it is not a prompt file.
    """
    folder, file = files(__package__), f"{name}.{language}.txt"
    path = folder / file
    # A checkpoint may state any text as its set: only a name becomes a part of a path.
    if prompts.isidentifier() and (own := folder / prompts / file).is_file():
        path = own
    if not path.is_file():
        raise PromptError(f"there is no prompt {name} in {language}: see egosrag/prompts for the available ones")
    parts: list[tuple[str, str]] = []
    for line in path.read_text(encoding="utf-8").rstrip("\n").split("\n")[1:]:
        label = line[1:-1] if line.startswith("[") and line.endswith("]") else None
        if label in ("system", "user", "assistant", "text"):
            parts.append((label, ""))
        elif not parts:
            raise PromptError(f"prompt {name}.{language}: text before the first [system], [user] or [text]")
        else:
            role, text = parts[-1]
            parts[-1] = (role, f"{text}\n{line}" if text else line)
    return Prompt(f"{name}.{language}", tuple((role, Template(text)) for role, text in parts))
