"""The steps that every client does, with or without a session."""

from collections.abc import Callable

from support import SLOW_STEPS, Meeting, expect, text_of

TOOLS = {"echo", "slow"}  # of both examples
ALL_TOOLS = TOOLS | {"active", "announce", "test_elicitation"}


class Calls:
    """What the steps call."""

    def __init__(self, meeting: Meeting) -> None:
        self.meeting, self.client = meeting, meeting.client

    async def list_tools(self) -> str:
        tools = {tool.name for tool in (await self.client.list_tools()).tools}
        missing = (ALL_TOOLS if self.meeting.has_all_tools else TOOLS) - tools
        expect(not missing, f"{sorted(missing)} are not among the tools {sorted(tools)}")
        return f"{len(tools)} tools"

    async def echo(self) -> str:
        text = await self.call("echo", message="hello")
        expect("hello" in text, f"echo answered {text!r}")
        return text

    async def slow(
        self, steps: int, interval_ms: int, on_step: Callable[[int], None] = lambda count: None
    ) -> str:
        """`on_step` gets the number of progress events so far. None may be lost, doubled or out of order."""
        seen: list[float] = []

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            seen.append(progress)
            on_step(len(seen))

        arguments = {"steps": steps, "interval_ms": interval_ms}
        text_of(await self.client.call_tool("slow", arguments, progress_callback=on_progress))
        expect(seen == list(range(1, steps + 1)), f"progress {seen}, not 1 to {steps}")
        return f"progress {len(seen)} of {steps}, each once"

    async def call(self, name: str, **arguments: object) -> str:
        return text_of(await self.client.call_tool(name, arguments))


async def common_steps(calls: Calls) -> None:
    step = calls.meeting.report.step
    await step("list tools", calls.list_tools)
    await step("echo", calls.echo)
    await step("slow, progress", lambda: calls.slow(SLOW_STEPS, 20))
