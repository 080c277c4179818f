"""Drives a real server with the `mcp` client installed next to it: lists its tools and calls one.

    python real.py legacy|modern URL TOOL ARGUMENTS WANTED

Prints what was seen, and fails if the text of the result has no WANTED, or the client is in another era. See client.py of
interop for the two lines of the SDK.
"""

import importlib.metadata
import json
import sys

import anyio
from mcp.client.streamable_http import streamable_http_client

MODERN = "2026-07-28"
SECONDS = 60


async def use(client, version: str, era: str, tool: str, arguments: str, wanted: str) -> None:
    tools = [it.name for it in (await client.list_tools()).tools]
    result = await client.call_tool(tool, json.loads(arguments))
    text = " ".join(part.text for part in result.content if part.type == "text")
    failed = getattr(result, "isError", None) or getattr(result, "is_error", None)
    if tool not in tools or failed or wanted not in text or (version >= MODERN) != (era == "modern"):
        sys.exit(f"{version}, tools {tools}, {text!r}")
    print(f"{len(tools)} tools, {version}")


async def main(era: str, url: str, *call: str) -> None:
    with anyio.fail_after(SECONDS):
        if importlib.metadata.version("mcp").startswith("1."):
            from mcp import ClientSession

            async with streamable_http_client(url) as (read, write, _), ClientSession(read, write) as session:
                version = (await session.initialize()).protocolVersion
                await use(session, version, era, *call)
        else:
            from mcp import Client

            mode = "auto" if era == "modern" else "legacy"
            async with Client(streamable_http_client(url), mode=mode) as client:
                await use(client, client.protocol_version, era, *call)


anyio.run(main, *sys.argv[1:])
