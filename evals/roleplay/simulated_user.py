"""The user of a conversation: a script, or a model that plays the user by a brief (openevals' simulator)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel

from egosrag.errors import SettingsError

Say = Callable[[str], str]

_BRIEF = {
    "en": "You play the human user in a conversation with {name}. {brief} Say one or two short sentences at a time, as "
    "speech alone. Never speak for {name}.",
    "zh": "你在和{name}的对话中扮演真人用户。{brief}每次只说一两句简短的话，只写说出口的话。不要替{name}说话。",
}


def scripted(say: Say, lines: Sequence[str]) -> list[str]:
    """Say the lines one after the other; returns them."""
    for line in lines:
        say(line)
    return list(lines)


def simulated(say: Say, model: BaseChatModel, brief: str, name: str, language: str, exchanges: int) -> list[str]:
    """Let a model speak for the user; returns its lines.

    Args:
        say: Says a line to the role and returns its reply.
        model: The chat model that plays the user.
        brief: What the user wants.
        name: The role's name.
        language: "en" or "zh".
        exchanges: Number of lines of the user.

    Raises:
        SettingsError: openevals is not installed.
    """
    try:
        from openevals.simulators import create_llm_simulated_user, run_multiturn_simulation
    except ImportError as error:
        raise SettingsError("--user needs openevals: pip install openevals, or leave it out for the script") from error

    lines: list[str] = []

    def app(message: Any, *, thread_id: str, **_: Any) -> dict[str, str]:
        # A role cannot be sent an empty line: a simulated user who says nothing hesitates.
        line = " ".join(str(message["content"]).split()) or "..."
        lines.append(line)
        return {"role": "assistant", "content": say(line)}

    user = create_llm_simulated_user(system=_BRIEF[language].format(name=name, brief=brief), client=model)
    run_multiturn_simulation(app=app, user=user, max_turns=exchanges)
    return lines
