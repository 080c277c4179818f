"""The steps in a session: the GET stream, resuming, requests of the server, DELETE."""

import anyio
from common_steps import Calls, common_steps
from support import ANNOUNCED, Meeting, expect


async def live_steps(meeting: Meeting) -> None:
    """The steps in a live session."""
    report, wire, calls = meeting.report, meeting.wire, Calls(meeting)

    async def cut(steps: int, interval_ms: int) -> str:
        """Cuts the connection in the middle of a call; the client reconnects after a second, by its own clock."""
        before = len(wire.seen)
        detail = await calls.slow(steps, interval_ms, lambda count: meeting.proxy.cut() if count == 2 else None)
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
        meeting.announced = anyio.Event()  # other clients may have changed something before
        await calls.call("announce")
        await meeting.announced.wait()
        return ANNOUNCED

    async def elicitation() -> str:
        """The server asks the client while the call runs."""
        text = await calls.call("test_elicitation", message="Who are you?")
        expect("Ada" in text, f"it answered {text!r}")
        return text

    await common_steps(calls)
    await report.step("GET stream", lambda: wire.until("GET", {200}))
    await report.step("second GET", second_get)
    if meeting.has_all_tools:
        await report.step("GET stream: announced", announced)
        await report.step("elicitation", elicitation)
    await report.step("cut, still running", lambda: cut(16, 100))
    await report.step("cut, ended meanwhile", lambda: cut(4, 50))
    await report.step("echo again", calls.echo)


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
