"""What the drivers of the Python clients share: the recorded HTTP traffic, a proxy that cuts connections, the report."""

import importlib.metadata
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.abc

VERSION = importlib.metadata.version("mcp")
STEP_SECONDS = 15  # a step is a handful of requests on the loopback interface
SLOW_STEPS = 3
ANNOUNCED = "notifications/tools/list_changed"
UPDATED = "notifications/resources/updated"


class Wire:
    """Records all HTTP traffic, including requests that the SDK sends by itself."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, str | None]] = []  # method, status, Last-Event-ID
        self.refusals: list[str] = []  # the bodies of answers with status 400
        self.session_id: str | None = None

    async def on_response(self, response: Any) -> None:
        if response.status_code == 400:
            await response.aread()
            self.refusals.append(response.text)
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
    tools: str
    announced: anyio.Event = field(default_factory=anyio.Event)
    client: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def has_all_tools(self) -> bool:
        return self.tools == "all"


def text_of(result: Any) -> str:
    failed = getattr(result, "isError", None) or getattr(result, "is_error", None)  # 1.x or 2.x
    text = " ".join(part.text for part in result.content if part.type == "text")
    expect(not failed, f"the tool failed: {text}")
    return text
