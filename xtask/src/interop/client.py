"""Drives one MCP server with the `mcp` client installed next to it.

    python client.py sessions|modern|fallback|without-id|refused all|two|notes http://127.0.0.1:PORT/mcp

Prints one JSON line, `{"client", "ok", "steps": [{"name", "ok", "detail"}]}`, and exits with 0 or 1. The steps are
those of client.mjs. The first argument is the way that the client has to go:

* `sessions`: a legacy client in a session;
* `modern`: the client negotiates by itself, and must arrive at 2026-07-28;
* `fallback`: the same with a server that declines it, so that the client must end up in a session;
* `without-id`: a legacy client whose session id is lost on the way to the server, or that gets none;
* `refused`: the same with a server that insists on a session.

The second one says whether the server has the tools of the example `everything`, or only `echo` and `slow`, or is the example
`notes`.

The same script serves both lines of the SDK, which differ in three places:

* The handshake. 1.x: `ClientSession(read, write)` and then `initialize()`. 2.x: `mcp.Client` negotiates when it is
  entered. Its default `mode="auto"` sends `server/discover` first and `initialize` only to a server that declines;
  `mode="legacy"` sends `initialize` and nothing before it (`mcp/client/client.py`, `ConnectMode`).
* The session id. 1.x offers a callback, 2.x nothing. Both accept a custom HTTP client, so a response hook on it reads
  the id from the response; the same hook records the requests that the SDK made by itself (its GET, its DELETE).
* The HTTP library: `httpx` in 1.x, its successor `httpx2` in 2.x. We use the one that the SDK depends on.
"""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from common_steps import Calls, common_steps
from mcp.client.streamable_http import streamable_http_client
from modern_steps import MODERN, modern_steps
from notes_steps import notes_steps
from session_steps import dead_steps, live_steps
from support import ANNOUNCED, STEP_SECONDS, UPDATED, VERSION, Meeting, Proxy, Report, Wire, describe, expect

try:
    import httpx2 as httpx
    from mcp_types import ElicitResult
except ImportError:
    import httpx
    from mcp.types import ElicitResult

TOTAL_SECONDS = 60  # the caller kills the process somewhat later
SESSIONS = ("sessions", "fallback")
ANSWERS = {"What is your name?": {"name": "Ada"}, "Please confirm": {"ok": True}}  # by the server's question


async def on_elicitation(_: Any, params: Any) -> ElicitResult:
    content = ANSWERS.get(params.message, {"username": "Ada", "email": "ada@example.com"})
    if params.message.startswith("Remove"):
        content = {"sure": True}
    return ElicitResult(action="accept", content=content)


@asynccontextmanager
async def connect(url: str, http: Any, on_message: Any, way: str) -> AsyncIterator[tuple[Any, str]]:
    """A client after its handshake, and the negotiated protocol version."""
    callbacks = {"message_handler": on_message, "elicitation_callback": on_elicitation}
    if VERSION.startswith("1."):
        from mcp import ClientSession

        async with streamable_http_client(url, http_client=http) as (read, write, _):
            async with ClientSession(read, write, **callbacks) as session:
                yield session, (await session.initialize()).protocolVersion
    else:
        from mcp import Client

        transport = streamable_http_client(url, http_client=http)
        async with Client(transport, mode="auto" if way in ("modern", "fallback") else "legacy", **callbacks) as client:
            yield client, client.protocol_version


async def go(way: str, meeting: Meeting, version: str) -> None:
    """The steps of a connected client."""
    expect((version >= MODERN) == (way == "modern"), f"the negotiated version is {version}")
    if way in SESSIONS:
        expect(meeting.wire.session_id is not None, "the answer to initialize has no mcp-session-id header")
    meeting.report.add("discover" if way == "modern" else "initialize", True, version)
    meeting.headers = {
        "accept": "application/json, text/event-stream",
        "mcp-session-id": str(meeting.wire.session_id),
        "mcp-protocol-version": version,
    }
    if meeting.tools == "notes" and way != "refused":
        await notes_steps(meeting, way)
    elif way in SESSIONS:
        await live_steps(meeting)
    elif way == "modern":
        await modern_steps(meeting)
    elif way == "without-id":
        calls = Calls(meeting)
        await common_steps(calls)
        await meeting.report.step("echo again", calls.echo)
    else:
        await meeting.client.list_tools()
        raise AssertionError("the server has answered tools/list without a session id")


async def drive(way: str, tools: str, url: str, report: Report) -> None:
    wire = Wire()

    async def on_message(message: Any) -> None:
        if getattr(getattr(message, "root", message), "method", None) in (ANNOUNCED, UPDATED):  # 1.x wraps it
            meeting.announced.set()

    # trust_env=False: ignore proxies from the environment for requests to the loopback interface.
    options: dict[str, Any] = {"timeout": httpx.Timeout(STEP_SECONDS, read=TOTAL_SECONDS), "trust_env": False}
    async with (
        Proxy.before(url) as (proxy, url),
        httpx.AsyncClient(**options, event_hooks={"response": [wire.on_response]}) as http,
        httpx.AsyncClient(**options) as raw,
    ):
        meeting = Meeting(report, wire, proxy, url, raw, tools)
        error = None
        try:
            async with connect(url, http, on_message, way) as (meeting.client, version):
                await go(way, meeting, version)
        except Exception as raised:  # noqa: BLE001 - also what the SDK raises while it closes
            error = describe(raised)
        if way == "refused" and meeting.headers:
            report.add("refused with 400", *refusal(wire.refusals, error))
            return
        if error is not None:
            report.add("the rest" if meeting.headers else "connect", False, error)
        if way in SESSIONS and meeting.headers:
            # Leaving the SDK's context sent the DELETE; the specification requires a 2xx.
            await report.step("DELETE", lambda: wire.until("DELETE", {200, 202, 204}))
            await dead_steps(meeting)


def refusal(bodies: list[str], error: str | None) -> tuple[bool, str]:
    """The server refuses with 400 and says why, and the SDK passes on that something is wrong."""
    why = json.loads(bodies[0])["error"]["message"] if bodies else "nothing was answered with 400"
    return bool(bodies) and "session" in why and error is not None, f"400 {why!r}, so the client: {error}"


async def main(way: str, tools: str, url: str) -> int:
    report = Report()
    with anyio.move_on_after(TOTAL_SECONDS) as limit:
        await drive(way, tools, url, report)
    if limit.cancelled_caught:
        report.add("time limit", False, f"no end within {TOTAL_SECONDS} s")
    return 0 if report.print() else 1


if __name__ == "__main__":
    sys.exit(anyio.run(main, *sys.argv[1:]))
