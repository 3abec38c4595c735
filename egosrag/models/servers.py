"""Model servers on this machine: the programs that people run, their usual ports, and what each of them serves.

A model of such a server is called ``openai:NAME@ADDRESS``, for example ``openai:gemma3@http://127.0.0.1:11434/v1``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple
from urllib.parse import urlsplit

PROGRAMS: Mapping[str, int] = {
    "Ollama": 11434,
    "llama-server": 8080,
    "LM Studio": 1234,
    "vLLM": 8000,
    "SGLang": 30000,
    "KoboldCpp": 5001,
    "text-generation-webui": 5000,
    "Jan": 1337,
    "GPT4All": 4891,
}
_TIMEOUT_S = 0.3
_NAME = re.compile(r"openai:(?P<model>.+)@(?P<address>https?://[^@\s]+)", re.IGNORECASE)
_OURS = ("role", "manual")  # what ``egosrag serve`` serves: no chat models


class ModelServer(NamedTuple):
    """A server that runs on this machine.

    Attributes:
        program: what it is called.
        address: base URL of its API.
        models: the names of its models; none: it has loaded none.
    """

    program: str
    address: str
    models: tuple[str, ...]

    def name_of(self, model: str) -> str:
        """What ``--model`` calls one of its models."""
        return f"openai:{model}@{self.address}"


def find_servers(programs: Mapping[str, int] = PROGRAMS) -> list[ModelServer]:
    """The servers that answer at the ports of ``programs``, in their order; other programs at a port are left out."""
    with ThreadPoolExecutor(max(1, len(programs))) as pool:
        found = pool.map(lambda item: server_at(item[0], f"http://127.0.0.1:{item[1]}/v1"), programs.items())
        return [server for server in found if server]


def server_at(program: str, address: str) -> ModelServer | None:
    """The server at an address; None where none answers, or where it is no server of models.

    Args:
        program: what to call it.
        address: base URL of its API.
    """
    import httpx

    try:
        answer = httpx.get(f"{address.rstrip('/')}/models", timeout=_TIMEOUT_S, trust_env=False)
        rows = answer.raise_for_status().json()["data"]
        names = [row["id"] for row in rows if row.get("owned_by") not in _OURS and isinstance(row["id"], str)]
    except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return ModelServer(program, address, tuple(name for name in names if name.isprintable()))


def split_name(name: str) -> tuple[str, str]:
    """The model and the address of a name; the name itself and "" where it has no address."""
    match = _NAME.fullmatch(name)
    return (match["model"], match["address"]) if match else (name, "")


def is_on_this_machine(address: str) -> bool:
    """Whether an address is of this machine."""
    return urlsplit(address).hostname in ("127.0.0.1", "localhost", "::1")
