"""The SDK's own client, over standard input and output of a real process, used from tests that are not asynchronous."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client, StdioServerParameters
from mcp.types import CallToolResult

from tests.conftest import ROOT

PROGRAM = (
    "-c",
    "import sys; from egosrag.cli.main import main; sys.argv = ['egosrag', *sys.argv[1:]]; sys.exit(main())",
    "mcp",
)


class Connection:
    """A client of a server."""

    def __init__(self, portal: BlockingPortal, client: Client) -> None:
        self.portal, self.client = portal, client

    def do(self, method: str, *args: Any, **options: Any) -> Any:
        """The result of a method of the SDK's client."""
        return self.portal.call(partial(getattr(self.client, method), *args, **options))

    def call(self, tool: str, **arguments: Any) -> CallToolResult:
        result: CallToolResult = self.do("call_tool", tool, arguments)
        return result

    def fields(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The structured content of a call that succeeds; the client checks it against the tool's output schema."""
        result = self.call(tool, **arguments)
        assert not result.is_error, result.content
        assert isinstance(result.structured_content, dict)
        return result.structured_content

    def error(self, tool: str, **arguments: Any) -> str:
        """The message of a call that fails: one line, and nothing else."""
        result = self.call(tool, **arguments)
        assert result.is_error
        assert result.structured_content is None
        (content,) = result.content
        assert content.type == "text"
        assert "\n" not in content.text and "Traceback" not in content.text
        return content.text


def program(folder: Path, *words: str) -> StdioServerParameters:
    """The command of a server with folders of its own."""
    own = {"EGOSRAG_DATA_DIR": str(folder / "data"), "EGOSRAG_CACHE_DIR": str(folder / "cache")}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, **own, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    return StdioServerParameters(command=sys.executable, args=list(words), env=environment, cwd=str(folder))


@contextmanager
def connected(server: Any) -> Iterator[Connection]:
    """A client of a server: its command, its URL, or itself in this process."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(Client(server)) as client:
        yield Connection(portal, client)
