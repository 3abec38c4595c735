"""The server: requests of the Model Context Protocol, over standard input and output or HTTP on this machine."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Any, TypeVar

from mcp import types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from starlette.applications import Starlette

from egosrag.limits import REQUEST_BYTES
from egosrag.mcp import pages
from egosrag.mcp.schema import InvalidArguments, Result, input_schema, output_schema
from egosrag.mcp.served import Served
from egosrag.mcp.tools import INSTRUCTIONS, Report, Tool, tools_for
from egosrag.mcp.work import CallFailed, run
from egosrag.text.encoding import without_surrogates

T = TypeVar("T")
Context = Any  # of the SDK, generic in what is not used here
_LINKS_SINCE = "2025-06-18"  # the version of the protocol: clients of older ones may refuse a result with links
_HOSTS = ("127.0.0.1", "localhost", "[::1]")


class Handlers:
    """Answers the requests of clients.

    Args:
        served: the manuals and roles.
    """

    def __init__(self, served: Served) -> None:
        self._served = served
        self._tools = tools_for(served)

    async def list_tools(self, context: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        """All tools."""
        return types.ListToolsResult(tools=[_described(tool) for tool in self._tools.values()])

    async def call_tool(self, context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        """The result of a tool; whatever fails is a result with an error for the model to read."""
        tool = self._tools.get(params.name)
        try:
            if tool is None:
                raise CallFailed(f"there is no tool {params.name!r}: the tools are {', '.join(self._tools)}")
            result = await run(context.session, tool.name, partial(tool.run, self._served, params.arguments))
        except CallFailed as error:
            return types.CallToolResult(content=[_text(str(error))], is_error=True)
        return _answered(result, links=context.protocol_version >= _LINKS_SINCE)

    async def list_resources(
        self, context: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        """The pages of the manuals, in parts."""
        cursor = params.cursor if params else None
        found, following = await _of_pages(context, "list", lambda report: pages.listed(self._served, cursor))
        resources = [types.Resource(uri=link.uri, name=link.name, mime_type=link.mime_type) for link in found]
        return types.ListResourcesResult(resources=resources, next_cursor=following)

    async def list_templates(
        self, context: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        """The form of the pages' URIs."""
        template = types.ResourceTemplate(
            uri_template=pages.TEMPLATE,
            name="page",
            title="Page of a manual",
            description="A page of a manual: a picture (image/png) with the quote highlighted for a PDF that is at "
            "hand, else its text. Take the URI from a citation of ask_manual or a passage of search_manual.",
        )
        return types.ListResourceTemplatesResult(resource_templates=[template] if self._served.manuals else [])

    async def read_resource(
        self, context: Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        """A page: a picture, or text."""
        kind, data = await _of_pages(context, "read", lambda report: pages.read(self._served, params.uri))
        content: types.TextResourceContents | types.BlobResourceContents
        if isinstance(data, bytes):
            blob = base64.b64encode(data).decode()
            content = types.BlobResourceContents(uri=params.uri, mime_type=kind, blob=blob)
        else:
            content = types.TextResourceContents(uri=params.uri, mime_type=kind, text=without_surrogates(data))
        return types.ReadResourceResult(contents=[content])


def create_server(served: Served) -> Server[None]:
    """The server of manuals and roles, which are loaded in the background while it runs."""

    @asynccontextmanager
    async def lifespan(_: Server[None]) -> AsyncIterator[None]:
        with served.loading():
            yield

    handlers = Handlers(served)
    return Server(
        "egosrag",
        title="EGOS-RAG",
        version=version("egosrag"),
        instructions=INSTRUCTIONS,
        lifespan=lifespan,
        on_list_tools=handlers.list_tools,
        on_call_tool=handlers.call_tool,
        on_list_resources=handlers.list_resources,
        on_list_resource_templates=handlers.list_templates,
        on_read_resource=handlers.read_resource,
    )


async def serve_stdio(served: Served) -> None:
    """Serves one client on standard input and output, until it closes them.

    Whatever else the process prints goes to standard error meanwhile.
    """
    server = create_server(served)
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


def http_app(served: Served) -> Starlette:
    """An application that serves any number of clients over streamable HTTP at ``/mcp``.

    Requests must name this machine as their host, and pages of web sites are refused.
    """
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=True, allowed_hosts=[f"{host}:*" for host in _HOSTS], allowed_origins=[]
    )
    return create_server(served).streamable_http_app(transport_security=security, max_request_body_size=REQUEST_BYTES)


async def _of_pages(context: Context, what: str, work: Callable[[Report], T]) -> T:
    """The result of work for a request about resources, whose errors are errors of the protocol."""
    try:
        return await run(context.session, f"resources/{what}", work)
    except CallFailed as error:
        code = types.INVALID_PARAMS if isinstance(error.__cause__, InvalidArguments) else types.INTERNAL_ERROR
        raise MCPError(code, str(error)) from None


def _described(tool: Tool) -> types.Tool:
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=input_schema(tool.arguments, tool.which, tool.names),
        output_schema=output_schema(tool.result),
        annotations=types.ToolAnnotations(
            read_only_hint=not tool.writes,
            destructive_hint=False,
            idempotent_hint=not tool.writes,
            open_world_hint=False,
        ),
    )


def _answered(result: Result, *, links: bool) -> types.CallToolResult:
    linked = [
        types.ResourceLink(type="resource_link", uri=link.uri, name=link.name, mime_type=link.mime_type)
        for link in (result.links() if links else ())
    ]
    fields = json.loads(without_surrogates(json.dumps(result.model_dump(), ensure_ascii=False)))
    return types.CallToolResult(content=[_text(result.text()), *linked], structured_content=fields)


def _text(text: str) -> types.TextContent:
    return types.TextContent(type="text", text=without_surrogates(text))
