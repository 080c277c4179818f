// Drives a real server with a client of the TypeScript SDK, or of the AI SDK: lists its tools and calls one.
//
//     node real.mjs PACKAGE legacy|modern URL TOOL ARGUMENTS WANTED
//
// Prints what was seen, and fails if the text of the result has no WANTED, or the client is in another era. See client.mjs of
// interop for the lines of the SDK.

const [PACKAGE, ERA, URL_OF_SERVER, TOOL, ARGUMENTS, WANTED] = process.argv.slice(2);
const MODERN = "2026-07-28";
const MILLISECONDS = 60_000;

const late = setTimeout(() => fail(`no end within ${MILLISECONDS} ms`), MILLISECONDS);

function fail(message) {
  console.error(message);
  process.exit(1);
}

async function sdk() {
  const isV1 = PACKAGE === "@modelcontextprotocol/sdk";
  const [{ Client }, { StreamableHTTPClientTransport }] = isV1
    ? await Promise.all([import(`${PACKAGE}/client/index.js`), import(`${PACKAGE}/client/streamableHttp.js`)])
    : [await import(PACKAGE), await import(PACKAGE)];
  const mode = ERA === "modern" ? "auto" : "legacy";
  const client = new Client({ name: "xtask", version: "0" }, isV1 ? {} : { versionNegotiation: { mode } });
  const transport = new StreamableHTTPClientTransport(new URL(URL_OF_SERVER));
  await client.connect(transport);
  const { tools } = await client.listTools();
  const result = await client.callTool({ name: TOOL, arguments: JSON.parse(ARGUMENTS) });
  const version = transport.protocolVersion;
  await transport.terminateSession?.();
  await client.close();
  return { tools: tools.map(({ name }) => name), result, version };
}

async function ai() {
  const { createMCPClient } = await import(PACKAGE);
  const client = await createMCPClient({ transport: { type: "http", url: URL_OF_SERVER } });
  const tools = await client.tools();
  const options = { toolCallId: "1", messages: [] };
  const result = await tools[TOOL].execute(JSON.parse(ARGUMENTS), options);
  await client.close();
  return { tools: Object.keys(tools), result, version: "legacy" };
}

const { tools, result, version } = await (PACKAGE === "@ai-sdk/mcp" ? ai() : sdk());
clearTimeout(late);
const text = result.content.map((part) => part.text ?? "").join(" ");
const isRight = tools.includes(TOOL) && !result.isError && text.includes(WANTED);
if (!isRight || (version === MODERN) !== (ERA === "modern")) fail(`${version}, tools ${tools}, ${text}`);
console.log(`${tools.length} tools, ${version}`);
process.exit(0);
