"""The steps with the example `notes`: typed tools on two pages, resources with subscriptions, a prompt, a form for the user."""

import anyio
from support import UPDATED, VERSION, Meeting, expect, text_of

TOOLS = ["write", "remove", "search", "export"]  # in the order in which they were added, three on a page


async def notes_steps(meeting: Meeting, way: str) -> None:
    report, client, wire = meeting.report, meeting.client, meeting.wire
    title = f"mcp-{VERSION}-{way}"  # other clients have notes of their own
    uri, text = f"notes://{title}", f"bread for {title}"

    async def call(name: str, **arguments: object) -> str:
        return text_of(await client.call_tool(name, arguments))

    async def list_tools() -> str:
        first = await client.list_tools()
        cursor = getattr(first, "nextCursor", None) or getattr(first, "next_cursor", None)  # 1.x or 2.x
        expect(cursor is not None, "there is one page only")
        names = [tool.name for page in (first, await client.list_tools(cursor=cursor)) for tool in page.tools]
        expect(names == TOOLS, f"the tools are {names}")
        return f"{len(names)} tools on two pages"

    async def write() -> str:
        return await call("write", title=title, text=text)

    async def search() -> str:
        result = await client.call_tool("search", {"text": text})
        found = getattr(result, "structuredContent", None) or getattr(result, "structured_content", None)
        expect(found == {"titles": [title]}, f"it found {found}")
        return str(found)

    async def read() -> str:
        contents = (await client.read_resource(uri)).contents
        expect([part.text for part in contents] == [text], f"it has {contents}")
        return text

    async def export() -> str:
        seen: list[float] = []

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            seen.append(progress)

        exported = text_of(await client.call_tool("export", {}, progress_callback=on_progress))
        expect(f"# {title}\n{text}\n" in exported, f"it exported {exported!r}")
        expect(seen != [] and seen == list(range(1, len(seen) + 1)), f"progress {seen}")
        return f"progress {len(seen)} of {len(seen)}, each once"

    async def prompt() -> str:
        message = (await client.get_prompt("summarize", {"title": title})).messages[0].content.text
        expect(text in message, f"it is {message!r}")
        return message

    async def subscribe() -> str:
        await client.subscribe_resource(uri)
        meeting.announced = anyio.Event()
        await write()
        await meeting.announced.wait()
        return f"{UPDATED} {uri}"

    async def listen() -> str:
        async with client.listen(resource_subscriptions=[uri]) as subscription:
            await write()
            event = await anext(aiter(subscription))
        expect(getattr(event, "uri", None) == uri, f"the stream has {event}")
        return f"acknowledged, then {event}"

    async def remove() -> str:
        said = await call("remove", title=title)  # the user is sure
        expect(said == "removed", f"it answered {said!r}")
        try:
            await client.read_resource(uri)
        except Exception as error:  # noqa: BLE001 - the refusal is what is wanted
            return f"{said}, then {error}"
        raise AssertionError("it can still be read")

    await report.step("list tools", list_tools)
    await report.step("write", write)
    await report.step("search, structured", search)
    await report.step("read", read)
    await report.step("export, progress", export)
    await report.step("prompt", prompt)
    if way == "modern":
        await report.step("listen: updated", listen)
    elif way in ("sessions", "fallback"):
        await report.step("GET stream", lambda: wire.until("GET", {200}))
        await report.step("subscribe: updated", subscribe)
    if way != "without-id":
        await report.step("remove, asked", remove)
