"""The steps of revision 2026-07-28: each request stands alone, and its stream is all that connects it to the server."""

import anyio
from common_steps import Calls, common_steps
from support import Meeting, expect

MODERN = "2026-07-28"
ENDLESS = 1_000_000  # more steps of `slow` than any time limit allows: such a call ends only if it is cancelled


async def modern_steps(meeting: Meeting) -> None:
    report, wire, calls = meeting.report, meeting.wire, Calls(meeting)

    async def listen() -> str:
        async with meeting.client.listen(tools_list_changed=True) as subscription:
            expect(bool(subscription.honored.tools_list_changed), f"honoured is only {subscription.honored}")
            await calls.call("test_trigger_tool_change")
            event = await anext(aiter(subscription))
        expect(type(event).__name__ == "ToolsListChanged", f"the stream has {event}")
        return f"acknowledged, then {event}"

    async def ask(tool: str, wanted: str) -> str:
        """The call ends with what the server has to know, and the SDK repeats it with that."""
        text = await calls.call(f"test_input_required_result_{tool}")
        expect(text == wanted, f"it answered {text!r}")
        return text

    async def nothing_runs() -> str:
        while await calls.call("active") != "0":  # other clients have calls that end by themselves
            await anyio.sleep(0.02)
        return "nothing is running"

    async def cancel() -> str:
        """Drops a call once it is running."""
        with anyio.CancelScope() as scope:
            await calls.slow(ENDLESS, 20, lambda count: scope.cancel())
        expect(scope.cancelled_caught, "the call was not cancelled")
        return await nothing_runs()

    async def cut() -> str:
        """Cuts the connection of a running call: it fails, is not resumed, and is cancelled at the server."""
        before = len(wire.seen)
        try:
            await calls.slow(ENDLESS, 20, lambda count: meeting.proxy.cut() if count == 2 else None)
        except Exception as error:  # noqa: BLE001 - what the SDK raises is not the point
            detail = f"{error}; "
        else:
            raise AssertionError("the call has ended")
        detail += await nothing_runs()
        expect("GET" not in [method for method, _, _ in wire.seen[before:]], "the client tried to resume")
        return detail

    await common_steps(calls)
    if meeting.has_all_tools:
        await report.step("listen: list_changed", listen)
        await report.step("input required: elicitation", lambda: ask("elicitation", "Hello, Ada!"))
        await report.step("input required: request state", lambda: ask("request_state", "state-ok"))
        await report.step("cancel by closing", cancel)
        await report.step("cut, cancelled", cut)
    await report.step("echo again", calls.echo)
