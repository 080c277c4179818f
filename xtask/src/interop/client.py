"""Drives one MCP server with the `mcp` client installed next to it.

    python client.py http://127.0.0.1:PORT/mcp

Prints one JSON line, `{"client", "ok", "steps": [{"name", "ok", "detail"}]}`, and exits with 0 or 1. The steps are
those of client.mjs.

The same script serves both lines of the SDK, which differ in three places:

* The handshake. 1.x: `ClientSession(read, write)` and then `initialize()`. 2.x: `mcp.Client` negotiates when it is
  entered, and its default `mode="auto"` sends `server/discover` first, which would end without a session on a server
  that also speaks 2026-07-28. `mode="legacy"` sends `initialize` and nothing before it (`mcp/client/client.py`,
  `ConnectMode`).
* The session id. 1.x offers a callback, 2.x nothing. Both accept a custom HTTP client, so a response hook on it reads
  the id from the response; the same hook records the requests that the SDK made by itself (its GET, its DELETE).
* The HTTP library: `httpx` in 1.x, its successor `httpx2` in 2.x. We use the one that the SDK depends on.
"""

import importlib.metadata
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.abc
from mcp.client.streamable_http import streamable_http_client

try:
    import httpx2 as httpx
except ImportError:
    import httpx

VERSION = importlib.metadata.version("mcp")
STEP_SECONDS = 15  # a step is a handful of requests on the loopback interface
TOTAL_SECONDS = 60  # the caller kills the process somewhat later
SLOW_STEPS = 3
ANNOUNCED = "notifications/tools/list_changed"


class Wire:
    """Records all HTTP traffic, including requests that the SDK sends by itself."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, str | None]] = []  # method, status, Last-Event-ID
        self.session_id: str | None = None

    async def on_response(self, response: Any) -> None:
        last_event_id = response.request.headers.get("last-event-id")
        self.seen.append((response.request.method, response.status_code, last_event_id))
        self.session_id = response.headers.get("mcp-session-id", self.session_id)

    def statuses(self, method: str) -> list[int]:
        return [status for seen, status, _ in self.seen if seen == method]

    async def until(self, method: str, wanted: set[int]) -> str:
        """Waits until an answer to `method` is recorded; the step's time limit ends the wait."""
        while not self.statuses(method):
            await anyio.sleep(0.01)
        status = self.statuses(method)[0]
        expect(status in wanted, f"{method} was answered with {status}, not one of {sorted(wanted)}")
        return f"{method} {status}"


class Proxy:
    """A TCP proxy on the loopback interface that can lose all its connections at once."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.connections: set[anyio.CancelScope] = set()

    @classmethod
    @asynccontextmanager
    async def before(cls, url: str) -> "AsyncIterator[tuple[Proxy, str]]":
        """A proxy in front of `url`, and the URL to reach it by."""
        target = urlsplit(url)
        proxy = cls(str(target.hostname), int(target.port or 80))
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, proxy.relay)
            try:
                yield proxy, f"http://127.0.0.1:{port}{target.path}"
            finally:
                tasks.cancel_scope.cancel()

    def cut(self) -> None:
        """Cuts all connections; data in transit is lost. New connections are served as before."""
        for scope in self.connections:
            scope.cancel()

    async def relay(self, client: anyio.abc.SocketStream) -> None:
        with anyio.CancelScope() as scope:
            self.connections.add(scope)
            try:
                server = await anyio.connect_tcp(self.host, self.port)
                async with client, server, anyio.create_task_group() as tasks:
                    tasks.start_soon(self.copy, client, server)
                    tasks.start_soon(self.copy, server, client)
            finally:
                self.connections.discard(scope)

    async def copy(self, source: anyio.abc.SocketStream, sink: anyio.abc.SocketStream) -> None:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async for data in source:
                await sink.send(data)
            await sink.send_eof()  # passes the end of the input on


class Report:
    """One line per step: a step that raises is FAILED, and the next one still runs."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []

    async def step(self, name: str, action: Callable[[], Awaitable[str]]) -> None:
        try:
            with anyio.fail_after(STEP_SECONDS):
                self.add(name, True, await action())
        except Exception as error:  # noqa: BLE001 - whatever went wrong is the step's result
            self.add(name, False, describe(error))

    def add(self, name: str, ok: bool, detail: str) -> None:
        self.steps.append({"name": name, "ok": ok, "detail": detail})

    def print(self) -> bool:
        ok = all(step["ok"] for step in self.steps)
        print(json.dumps({"client": f"mcp {VERSION}", "ok": ok, "steps": self.steps}), flush=True)
        return ok


def expect(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def describe(error: BaseException) -> str:
    """The innermost error of an exception group, on one line."""
    while isinstance(getattr(error, "exceptions", None), tuple):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return f"no end within {STEP_SECONDS} s"
    return f"{type(error).__name__}: {error}".replace("\n", " ")


@dataclass
class Meeting:
    """The context of the steps."""

    report: Report
    wire: Wire
    proxy: Proxy
    url: str
    raw: Any
    announced: anyio.Event
    client: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@asynccontextmanager
async def connect(url: str, http: Any, on_message: Any) -> AsyncIterator[tuple[Any, str]]:
    """A client after `initialize`, and the negotiated protocol version."""
    if VERSION.startswith("1."):
        from mcp import ClientSession

        async with streamable_http_client(url, http_client=http) as (read, write, _):
            async with ClientSession(read, write, message_handler=on_message) as session:
                yield session, (await session.initialize()).protocolVersion
    else:
        from mcp import Client

        transport = streamable_http_client(url, http_client=http)
        async with Client(transport, mode="legacy", message_handler=on_message) as client:
            yield client, client.protocol_version


async def live_steps(meeting: Meeting) -> None:
    """The steps on a live session."""
    report, client, wire = meeting.report, meeting.client, meeting.wire
    tools: set[str] = set()

    async def list_tools() -> str:
        tools.update(tool.name for tool in (await client.list_tools()).tools)
        expect({"echo", "slow"} <= tools, f"the tools are {sorted(tools)}")
        return ", ".join(sorted(tools))

    async def echo() -> str:
        text = text_of(await client.call_tool("echo", {"message": "hello"}))
        expect("hello" in text, f"echo answered {text!r}")
        return text

    async def slow(steps: int, interval_ms: int, on_step: Callable[[int], None] = lambda count: None) -> str:
        """`on_step` gets the number of progress events so far. None may be lost, doubled or out of order."""
        seen: list[float] = []

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            seen.append(progress)
            on_step(len(seen))

        arguments = {"steps": steps, "interval_ms": interval_ms}
        text_of(await client.call_tool("slow", arguments, progress_callback=on_progress))
        expect(seen == list(range(1, steps + 1)), f"progress {seen}, not 1 to {steps}")
        return f"progress {len(seen)} of {steps}, each once"

    async def cut(steps: int, interval_ms: int) -> str:
        """Cuts the connection in the middle of a call; the client reconnects after a second, by its own clock."""
        before = len(wire.seen)
        detail = await slow(steps, interval_ms, lambda count: meeting.proxy.cut() if count == 2 else None)
        resumed = [status for method, status, last in wire.seen[before:] if method == "GET" and last is not None]
        expect(resumed != [], "the client did not reconnect with Last-Event-ID")
        expect(set(resumed) == {200}, f"resuming was answered with {resumed}")
        return detail

    async def second_get() -> str:
        # The specification allows both one stream per session (409) and several (200).
        async with meeting.raw.stream("GET", meeting.url, headers=meeting.headers) as response:
            status = response.status_code
        expect(status in (200, 409), f"a second GET was answered with {status}")
        return f"GET {status}"

    async def announced() -> str:
        text_of(await client.call_tool("announce", {}))
        await meeting.announced.wait()
        return ANNOUNCED

    await report.step("list tools", list_tools)
    await report.step("echo", echo)
    await report.step("slow, progress", lambda: slow(SLOW_STEPS, 20))
    await report.step("GET stream", lambda: wire.until("GET", {200}))
    await report.step("second GET", second_get)
    if "announce" in tools:
        await report.step("GET stream: announced", announced)
    await report.step("cut, still running", lambda: cut(16, 100))
    await report.step("cut, ended meanwhile", lambda: cut(4, 50))
    await report.step("echo again", echo)


async def dead_steps(meeting: Meeting) -> None:
    """Every method answers a terminated session id with 404."""
    body = {"jsonrpc": "2.0", "id": 99, "method": "tools/list"}

    async def gone(method: str) -> str:
        content = {"json": body} if method == "POST" else {}
        async with meeting.raw.stream(method, meeting.url, headers=meeting.headers, **content) as response:
            status = response.status_code
        expect(status == 404, f"{method} with a terminated session id was answered with {status}, not 404")
        return f"{method} 404"

    for method in ("POST", "GET", "DELETE"):
        await meeting.report.step(f"dead id: {method}", lambda method=method: gone(method))


def text_of(result: Any) -> str:
    failed = getattr(result, "isError", None) or getattr(result, "is_error", None)  # 1.x or 2.x
    text = " ".join(part.text for part in result.content if part.type == "text")
    expect(not failed, f"the tool failed: {text}")
    return text


async def drive(url: str, report: Report) -> None:
    wire, announced = Wire(), anyio.Event()

    async def on_message(message: Any) -> None:
        if getattr(getattr(message, "root", message), "method", None) == ANNOUNCED:  # 1.x wraps it
            announced.set()

    # trust_env=False: ignore proxies from the environment for requests to the loopback interface.
    options: dict[str, Any] = {"timeout": httpx.Timeout(STEP_SECONDS, read=TOTAL_SECONDS), "trust_env": False}
    async with (
        Proxy.before(url) as (proxy, url),
        httpx.AsyncClient(**options, event_hooks={"response": [wire.on_response]}) as http,
        httpx.AsyncClient(**options) as raw,
    ):
        meeting = Meeting(report, wire, proxy, url, raw, announced)
        try:
            async with connect(url, http, on_message) as (meeting.client, version):
                expect(wire.session_id is not None, "the answer to initialize has no mcp-session-id header")
                report.add("initialize", True, version)
                meeting.headers = {
                    "accept": "application/json, text/event-stream",
                    "mcp-session-id": str(wire.session_id),
                    "mcp-protocol-version": version,
                }
                await live_steps(meeting)
        except Exception as error:  # noqa: BLE001 - also what the SDK raises while it closes
            report.add("session" if meeting.headers else "initialize", False, describe(error))
        if not meeting.headers:
            return
        # Leaving the SDK's context sent the DELETE; the specification requires a 2xx.
        await report.step("DELETE", lambda: wire.until("DELETE", {200, 202, 204}))
        await dead_steps(meeting)


async def main(url: str) -> int:
    report = Report()
    with anyio.move_on_after(TOTAL_SECONDS) as limit:
        await drive(url, report)
    if limit.cancelled_caught:
        report.add("time limit", False, f"no end within {TOTAL_SECONDS} s")
    return 0 if report.print() else 1


if __name__ == "__main__":
    sys.exit(anyio.run(main, sys.argv[1]))
