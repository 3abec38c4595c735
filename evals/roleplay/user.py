"""Who talks to the role: a script, or a model that plays the user by a brief (openevals' simulator)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from egosrag.errors import SettingsError

Say = Callable[[str], str]

_BRIEF = {
    "en": "You play the human user in a conversation with {name}. {brief} Say one or two short sentences at a time, as "
    "speech alone. Never speak for {name}.",
    "zh": "你在和{name}的对话中扮演真人用户。{brief}每次只说一两句简短的话，只写说出口的话。不要替{name}说话。",
}


def scripted(say: Say, lines: Sequence[str]) -> list[str]:
    """Says the lines one after the other; gives back what was said."""
    for line in lines:
        say(line)
    return list(lines)


def simulated(say: Say, model: Any, brief: str, name: str, language: str, exchanges: int) -> list[str]:
    """Lets a model speak for the user, for so many exchanges; gives back what it said.

    Args:
        say: says a line to the role and gives its reply.
        model: the chat model that plays the user.
        brief: what the user is about.
        name: who is talked to.
        language: "en" or "zh".
        exchanges: lines of the user.

    Raises:
        SettingsError: openevals is not installed.
    """
    try:
        from openevals.simulators import create_llm_simulated_user, run_multiturn_simulation
    except ImportError as error:
        raise SettingsError("--user needs openevals: pip install openevals, or leave it out for the script") from error

    said: list[str] = []

    def app(message: Any, *, thread_id: str, **_: Any) -> dict[str, str]:
        # An empty line cannot be said to a role; a user who says nothing is one who hesitates.
        line = " ".join(str(message["content"]).split()) or "..."
        said.append(line)
        return {"role": "assistant", "content": say(line)}

    user = create_llm_simulated_user(system=_BRIEF[language].format(name=name, brief=brief), client=model)
    run_multiturn_simulation(app=app, user=user, max_turns=exchanges)
    return said
