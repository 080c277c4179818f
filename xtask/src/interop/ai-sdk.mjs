// Drives one MCP server with the MCP client of Vercel's AI SDK.
//
//     node ai-sdk.mjs @ai-sdk/mcp sessions all|two http://127.0.0.1:PORT/mcp
//
// Prints one JSON line, `{"client", "ok", "steps": [{"name", "ok", "detail"}]}`, and exits with 0 or 1.
//
// This client accepts an event only if it has `event: message`, and waits forever for an answer in any other event
// (vercel/ai#16002). The last step removes these lines in transit, to show that this is still the case: once it fails, the
// client has been fixed.

import { createMCPClient } from "@ai-sdk/mcp";

import { expect, main, sleep, until } from "./support.mjs";

const [PACKAGE, , , URL_OF_SERVER] = process.argv.slice(2);
const STREAM = "text/event-stream";

// Records the HTTP traffic. If `unnamed` is set, events lose their names, and it is resolved when the stream has ended.
class Wire {
  seen = [];
  unnamed = null;

  fetch = async (input, init) => {
    const response = await fetch(input, init);
    const type = response.headers.get("content-type") ?? "";
    this.seen.push({ method: init?.method ?? "GET", status: response.status, type });
    if (!this.unnamed || !type.includes(STREAM)) return response;
    const ended = this.unnamed;
    const text = response.body.pipeThrough(new TextDecoderStream());
    let rest = "";
    const strip = new TransformStream({
      transform: (chunk, controller) => {
        const lines = (rest + chunk).split("\n");
        rest = lines.pop();
        controller.enqueue(lines.filter((line) => line !== "event: message").map((line) => `${line}\n`).join(""));
      },
      flush: (controller) => {
        controller.enqueue(rest);
        ended();
      },
    });
    const body = text.pipeThrough(strip).pipeThrough(new TextEncoderStream());
    return new Response(body, { status: response.status, headers: response.headers });
  };

  // Waits for a matching answer.
  find(matches) {
    return until(() => this.seen.find(matches));
  }
}

async function drive(report) {
  const wire = new Wire();
  let client;
  const connected = await report.step("initialize", async () => {
    const transport = { type: "http", url: URL_OF_SERVER, fetch: wire.fetch };
    client = await createMCPClient({ transport, onUncaughtError: () => {} });
    return client.serverInfo?.name ?? "connected";
  });
  if (!connected) return;
  let tools = {};
  const call = async (name, args) => {
    const result = await tools[name].execute(args, { messages: [], toolCallId: name });
    expect(!result.isError, `the tool failed: ${JSON.stringify(result)}`);
    return result.content.map((part) => part.text ?? "").join(" ");
  };
  // The answer to a call arrives on a stream.
  const streamed = (from) => wire.seen.slice(from).some((it) => it.method === "POST" && it.type.includes(STREAM));

  await report.step("list tools", async () => {
    tools = await client.tools();
    const names = Object.keys(tools).sort();
    expect(names.includes("echo") && names.includes("slow"), `the tools are ${names}`);
    return names.join(", ");
  });
  await report.step("echo", async () => {
    const text = await call("echo", { message: "hello" });
    expect(text.includes("hello"), `echo answered ${text}`);
    return text;
  });
  await report.step("slow, on a stream", async () => {
    const from = wire.seen.length;
    const text = await call("slow", { steps: 3, interval_ms: 50 });
    expect(streamed(from), "slow was not answered with a stream");
    return text;
  });
  await report.step("GET stream", async () => {
    const { status } = await wire.find((it) => it.method === "GET" && it.type.includes(STREAM));
    return `GET ${status}`;
  });
  await report.step("echo again", () => call("echo", { message: "again" }));
  await report.step("an event without a name is dropped", async () => {
    let answered = false;
    const ended = new Promise((resolve) => (wire.unnamed = resolve));
    call("slow", { steps: 1, interval_ms: 50 }).then(() => (answered = true), () => {});
    await ended;
    for (let turn = 0; turn < 100; turn += 1) await sleep(1); // the client has read to the end by then
    wire.unnamed = null;
    expect(!answered, "the event was accepted: the client has been fixed");
    return "and its answer with it";
  });
  await report.step("DELETE", async () => {
    await client.close();
    const { status } = await wire.find((it) => it.method === "DELETE");
    expect([200, 202, 204].includes(status), `DELETE was answered with ${status}`);
    return `DELETE ${status}`;
  });
}

await main(PACKAGE, drive);
