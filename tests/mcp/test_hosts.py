"""The configuration files of hosts in the guide: JSON with a command that exists and starts a server."""

from __future__ import annotations

import json
import re

import pytest

from tests.conftest import ROOT

GUIDE = (ROOT / "docs/how-to/mcp.md").read_text(encoding="utf-8")
BLOCKS = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", GUIDE, re.S)]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: next(iter(block)))
def test_a_configuration_names_the_command_and_options_that_exist(block: dict[str, dict[str, object]]) -> None:
    ((key, servers),) = block.items()
    assert key in ("mcpServers", "servers")
    server = servers["egosrag"]
    assert isinstance(server, dict) and server["command"].startswith("/") and server["command"].endswith("/egosrag")
    command, *words = server["args"]
    help_text = (ROOT / f"tests/golden/help/{command}.txt").read_text(encoding="utf-8")
    options = words[::2]
    assert options and all(option.startswith("--") and option in help_text for option in options)


def test_both_forms_are_shown() -> None:
    assert [next(iter(block)) for block in BLOCKS] == ["mcpServers", "servers"]
