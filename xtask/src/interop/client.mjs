// Drives one MCP server with a client of the TypeScript SDK.
//
//     node client.mjs @modelcontextprotocol/client sessions|modern|fallback|without-id|refused all|two|notes URL
//
// Prints one JSON line, `{"client", "ok", "steps": [{"name", "ok", "detail"}]}`, and exits with 0 or 1. The arguments and
// the steps are those of client.py.
//
// Since 2.x the client has its own package, `callTool` has no parameter for a result schema, handlers are registered by
// the method's name, and the client may try 2026-07-28 first: `versionNegotiation: { mode: "auto" }` makes it send
// `server/discover`, and `initialize` only to a server that declines; `legacy` sends `initialize` and nothing before it.
// Both lines accept a custom `fetch`, which records the requests that the client sends by itself.

import { Calls, commonSteps } from "./common-steps.mjs";
import { MODERN, modernSteps } from "./modern-steps.mjs";
import { notesSteps } from "./notes-steps.mjs";
import { Proxy } from "./proxy.mjs";
import { deadSteps, liveSteps } from "./session-steps.mjs";
import { expect, main, until } from "./support.mjs";

const [PACKAGE, WAY, TOOLS, URL_OF_SERVER] = process.argv.slice(2);
const IS_V1 = PACKAGE === "@modelcontextprotocol/sdk";
const IN_SESSION = ["sessions", "fallback"].includes(WAY);
const ANNOUNCED = ["notifications/tools/list_changed", "notifications/resources/updated"];
// By the server's question.
const ANSWERS = { "What is your name?": { name: "Ada" }, "Please confirm": { ok: true } };

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

  // Waits until an answer to `method` is recorded.
  async until(method, wanted) {
    const { status } = await until(() => this.seen.find((answer) => answer.method === method));
    expect(wanted.includes(status), `${method} was answered with ${status}, not one of ${wanted}`);
    return `${method} ${status}`;
  }
}

// The announcements that arrive, on whatever stream.
class Events {
  #waiting = [];

  // Resolves with the next one.
  next() {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  arrive(event) {
    this.#waiting.splice(0).forEach((resolve) => resolve(event));
  }
}

async function newClient(events) {
  const mode = ["modern", "fallback"].includes(WAY) ? "auto" : "legacy";
  const options = { capabilities: { elicitation: {} }, ...(IS_V1 ? {} : { versionNegotiation: { mode } }) };
  const client = new Client({ name: "interop", version: "0" }, options);
  const answer = async ({ params }) => {
    const other = params.message.startsWith("Remove") ? { sure: true } : { username: "Ada", email: "ada@example.com" };
    const content = ANSWERS[params.message] ?? other;
    return { action: "accept", content };
  };
  const elicit = "elicitation/create";
  client.setRequestHandler(IS_V1 ? (await import(`${PACKAGE}/types.js`)).ElicitRequestSchema : elicit, answer);
  client.fallbackNotificationHandler = async ({ method, params }) => {
    if (ANNOUNCED.includes(method)) events.arrive({ method, params });
  };
  return client;
}

// The server refuses the first message after `initialize` with 400 and says why, and the SDK passes that on.
async function refused(client, transport) {
  const error = await client.connect(transport).then(() => undefined, (error) => error);
  expect(error, "the server has accepted a message without a session id");
  expect(error.code === 400 && error.message.includes("session"), `${error.code} ${error.message}`);
  return error.message;
}

async function drive(report) {
  const [wire, events, proxy] = [new Wire(), new Events(), await Proxy.before(URL_OF_SERVER)];
  const transport = new StreamableHTTPClientTransport(new URL(proxy.url), { fetch: wire.fetch });
  const client = await newClient(events);
  if (WAY === "refused") {
    await report.step("refused with 400", () => refused(client, transport));
    return;
  }
  const connected = await report.step(WAY === "modern" ? "discover" : "initialize", async () => {
    await client.connect(transport);
    const version = transport.protocolVersion;
    expect(version >= MODERN === (WAY === "modern"), `the negotiated version is ${version}`);
    expect(!IN_SESSION || transport.sessionId, "the answer to initialize has no mcp-session-id header");
    return version;
  });
  if (!connected) return;
  const calls = new Calls({ client, isV1: IS_V1, hasAllTools: TOOLS === "all" });
  const headers = {
    accept: "application/json, text/event-stream",
    "mcp-session-id": transport.sessionId,
    "mcp-protocol-version": transport.protocolVersion,
  };
  const inSession = async (steps) => {
    await steps();
    await report.step("DELETE", async () => {
      await transport.terminateSession();
      // The specification requires a 2xx.
      return wire.until("DELETE", [200, 202, 204]);
    });
  };
  if (TOOLS === "notes") {
    const steps = () => notesSteps(report, { client, calls, wire, events, way: WAY, name: PACKAGE });
    await (IN_SESSION ? inSession(steps) : steps());
  } else if (WAY === "modern") {
    await modernSteps(report, { client, calls, wire, proxy, events });
  } else if (WAY === "without-id") {
    await commonSteps(report, calls);
    await report.step("echo again", () => calls.echo());
  } else {
    await inSession(() => liveSteps(report, { calls, wire, proxy, headers, events }));
  }
  await client.close();
  if (IN_SESSION) await deadSteps(report, proxy.url, headers);
  proxy.close();
}

await main(PACKAGE, drive);
