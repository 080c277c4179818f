// Drives one MCP server with a client of the TypeScript SDK.
//
//     node client.mjs @modelcontextprotocol/client http://127.0.0.1:PORT/mcp
//
// Prints one JSON line, `{"client", "ok", "steps": [{"name", "ok", "detail"}]}`, and exits with 0 or 1. The steps are
// those of client.py.
//
// Since 2.x the client has its own package, `callTool` has no parameter for a result schema, and the client may try
// 2026-07-28 first: `versionNegotiation: { mode: "legacy" }` makes it send `initialize` and nothing before it. Both lines
// accept a custom `fetch`, which records the requests that the client sends by itself.

import { Proxy } from "./proxy.mjs";

const [PACKAGE, URL_OF_SERVER] = process.argv.slice(2);
const IS_V1 = PACKAGE === "@modelcontextprotocol/sdk";
const STEP_MS = 15_000; // a step is a handful of requests on the loopback interface
const TOTAL_MS = 60_000; // the caller kills the process somewhat later
const SLOW_STEPS = 3;

const [{ Client }, { StreamableHTTPClientTransport }] = IS_V1
  ? await Promise.all([import(`${PACKAGE}/client/index.js`), import(`${PACKAGE}/client/streamableHttp.js`)])
  : [await import(PACKAGE), await import(PACKAGE)];

// Records all HTTP traffic, including requests that the SDK sends by itself.
class Wire {
  seen = [];

  fetch = async (input, init) => {
    const response = await fetch(input, init);
    const lastEventId = new Headers(init?.headers).get("last-event-id");
    this.seen.push({ method: init?.method ?? "GET", status: response.status, lastEventId });
    return response;
  };

  // Waits until an answer to `method` is recorded; the step's time limit ends the wait.
  async until(method, wanted) {
    const { status } = await this.find((answer) => answer.method === method);
    expect(wanted.includes(status), `${method} was answered with ${status}, not one of ${wanted}`);
    return `${method} ${status}`;
  }

  async find(matches) {
    for (;;) {
      const answer = this.seen.find(matches);
      if (answer) return answer;
      await sleep(10);
    }
  }
}

// One line per step: a step that throws is FAILED, and the next one still runs.
class Report {
  steps = [];

  async step(name, action) {
    try {
      this.add(name, true, await within(STEP_MS, action()));
    } catch (error) {
      this.add(name, false, `${error.name}: ${error.message}`.replaceAll("\n", " "));
    }
    return this.steps.at(-1).ok;
  }

  add(name, ok, detail) {
    this.steps.push({ name, ok, detail });
  }

  print() {
    const ok = this.steps.every((step) => step.ok);
    console.log(JSON.stringify({ client: PACKAGE, ok, steps: this.steps }));
    return ok;
  }
}

function expect(condition, message) {
  if (!condition) throw new Error(message);
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function within(ms, promise) {
  const late = sleep(ms).then(() => Promise.reject(new Error(`no end within ${ms / 1000} s`)));
  return Promise.race([promise, late]);
}

function textOf(result) {
  const text = result.content.filter((part) => part.type === "text").map((part) => part.text).join(" ");
  expect(!result.isError, `the tool failed: ${text}`);
  return text;
}

// The steps on a live session.
async function liveSteps(report, { client, wire, proxy, headers, events }) {
  const call = (name, args, options) => {
    const params = { name, arguments: args };
    return IS_V1 ? client.callTool(params, undefined, options) : client.callTool(params, options);
  };
  let tools = [];

  const listTools = async () => {
    tools = (await client.listTools()).tools.map((tool) => tool.name).sort();
    expect(tools.includes("echo") && tools.includes("slow"), `the tools are ${tools}`);
    return tools.join(", ");
  };

  const echo = async () => {
    const text = textOf(await call("echo", { message: "hello" }));
    expect(text.includes("hello"), `echo answered ${text}`);
    return text;
  };

  // Calls `slow`; `onProgress` gets the number of progress events so far. None may be lost, doubled or out of order.
  const slow = async (steps, interval, onProgress = () => {}) => {
    const seen = [];
    const onprogress = ({ progress }) => {
      seen.push(progress);
      onProgress(seen.length);
    };
    textOf(await call("slow", { steps, interval_ms: interval }, { onprogress }));
    const wanted = Array.from({ length: steps }, (_, index) => index + 1);
    expect(`${seen}` === `${wanted}`, `progress ${seen}, not ${wanted}`);
    return `progress ${seen.length} of ${steps}, each once`;
  };

  // Cuts the connection in the middle of a call; the client reconnects after a second, by its own clock.
  const cut = async (steps, interval) => {
    const before = wire.seen.length;
    const detail = await slow(steps, interval, (count) => count === 2 && proxy.cut());
    const resumed = wire.seen.slice(before).filter((it) => it.method === "GET" && it.lastEventId !== null);
    expect(resumed.length > 0, "the client did not reconnect with Last-Event-ID");
    expect(resumed.every((it) => it.status === 200), `resuming was answered with ${resumed.map((it) => it.status)}`);
    return detail;
  };

  const announced = async () => {
    textOf(await call("announce", {}));
    await events.arrived;
    return "notifications/tools/list_changed";
  };

  const secondGet = async () => {
    // The specification allows both one stream per session (409) and several (200).
    const { status, body } = await fetch(proxy.url, { headers });
    await body?.cancel();
    expect([200, 409].includes(status), `a second GET was answered with ${status}`);
    return `GET ${status}`;
  };

  await report.step("list tools", listTools);
  await report.step("echo", echo);
  await report.step("slow, progress", () => slow(SLOW_STEPS, 20));
  await report.step("GET stream", () => wire.until("GET", [200]));
  await report.step("second GET", secondGet);
  if (tools.includes("announce")) await report.step("GET stream: announced", announced);
  await report.step("cut, still running", () => cut(16, 100));
  await report.step("cut, ended meanwhile", () => cut(4, 50));
  await report.step("echo again", echo);
}

// Every method answers a terminated session id with 404.
async function deadSteps(report, url, headers) {
  for (const method of ["POST", "GET", "DELETE"]) {
    await report.step(`dead id: ${method}`, async () => {
      const body = JSON.stringify({ jsonrpc: "2.0", id: 99, method: "tools/list" });
      const post = { body, headers: { ...headers, "content-type": "application/json" } };
      const response = await fetch(url, { method, headers, ...(method === "POST" ? post : {}) });
      await response.body?.cancel();
      expect(response.status === 404, `${method} with a terminated session id was answered with ${response.status}`);
      return `${method} 404`;
    });
  }
}

async function drive(report) {
  const wire = new Wire();
  const proxy = await Proxy.before(URL_OF_SERVER);
  const transport = new StreamableHTTPClientTransport(new URL(proxy.url), { fetch: wire.fetch });
  const options = { capabilities: {}, ...(IS_V1 ? {} : { versionNegotiation: { mode: "legacy" } }) };
  const client = new Client({ name: "interop", version: "0" }, options);
  const events = {};
  events.arrived = new Promise((resolve) => (events.arrive = resolve));
  client.fallbackNotificationHandler = async ({ method }) => {
    if (method === "notifications/tools/list_changed") events.arrive();
  };

  const connected = await report.step("initialize", async () => {
    await client.connect(transport);
    expect(transport.sessionId, "the answer to initialize has no mcp-session-id header");
    return transport.protocolVersion;
  });
  if (!connected) return;
  const headers = {
    accept: "application/json, text/event-stream",
    "mcp-session-id": transport.sessionId,
    "mcp-protocol-version": transport.protocolVersion,
  };
  await liveSteps(report, { client, wire, proxy, headers, events });
  await report.step("DELETE", async () => {
    await transport.terminateSession();
    // The specification requires a 2xx.
    return wire.until("DELETE", [200, 202, 204]);
  });
  await client.close();
  await deadSteps(report, proxy.url, headers);
  proxy.close();
}

const report = new Report();
await within(TOTAL_MS, drive(report)).catch((error) => report.add("session", false, error.message));
process.exit(report.print() ? 0 : 1);
