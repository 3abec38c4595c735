"""The manual and a role as tools of another program, by the Model Context Protocol; it needs `egosrag[mcp]`."""

import os
import sys
from pathlib import Path

import anyio
from mcp import Client, StdioServerParameters

# What a host's configuration file names, too: the command, and what it serves.
SERVER = StdioServerParameters(
    command=str(Path(sys.executable).with_name("egosrag")),
    args=["mcp", "--doc", "sample:manual.en", "--role", "edda"],
    env=dict(os.environ),
)


async def main() -> None:
    """What the host does."""
    async with Client(SERVER) as host:
        print(*(tool.name for tool in (await host.list_tools()).tools))
        answer = await host.call_tool("ask_manual", {"question": "Which battery does the key need?"})
        print(answer.structured_content["answer"])
        citation = answer.structured_content["citations"][0]
        (page,) = (await host.read_resource(citation["page_uri"])).contents
        print(citation["source"], citation["page"], page.mime_type)
        reply = await host.call_tool("say_to_role", {"line": "What are you afraid of?"})
        print(reply.content[0].text)


anyio.run(main)
