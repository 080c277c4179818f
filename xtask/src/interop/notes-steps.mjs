// The steps with the example `notes`: typed tools on two pages, resources with subscriptions, a prompt, a form for the user.

import { expect } from "./support.mjs";

const TOOLS = ["write", "remove", "search", "export"]; // in the order in which they were added, three on a page
const UPDATED = "notifications/resources/updated";

export async function notesSteps(report, { client, calls, wire, events, way, name }) {
  const title = `${name}-${way}`.replace(/[^a-z0-9-]/g, "-"); // other clients have notes of their own
  const [uri, text] = [`notes://${title}`, `bread for ${title}`];
  const write = () => calls.call("write", { title, text });

  await report.step("list tools", async () => {
    const names = [];
    let [cursor, pages] = [undefined, 0];
    do {
      const page = await client.listTools(cursor ? { cursor } : {});
      names.push(...page.tools.map((tool) => tool.name));
      [cursor, pages] = [page.nextCursor, pages + 1];
    } while (cursor);
    expect(`${names}` === `${TOOLS}`, `the tools are ${names}`);
    return `${names.length} tools in ${pages} calls`;
  });
  await report.step("write", write);
  await report.step("search, structured", async () => {
    const params = { name: "search", arguments: { text } };
    const { structuredContent } = await client.callTool(params);
    expect(`${structuredContent.titles}` === title, `it found ${JSON.stringify(structuredContent)}`);
    return JSON.stringify(structuredContent);
  });
  await report.step("read", async () => {
    const { contents } = await client.readResource({ uri });
    expect(contents.length === 1 && contents[0].text === text, `it has ${JSON.stringify(contents)}`);
    return text;
  });
  await report.step("export, progress", async () => {
    const seen = [];
    const exported = await calls.call("export", {}, { onprogress: ({ progress }) => seen.push(progress) });
    expect(exported.includes(`# ${title}\n${text}\n`), `it exported ${exported}`);
    expect(seen.length > 0 && seen.every((progress, index) => progress === index + 1), `progress ${seen}`);
    return `progress ${seen.length} of ${seen.length}, each once`;
  });
  await report.step("prompt", async () => {
    const { messages } = await client.getPrompt({ name: "summarize", arguments: { title } });
    expect(messages[0].content.text.includes(text), `it is ${JSON.stringify(messages)}`);
    return messages[0].content.text;
  });
  // The next change is this one: nobody else writes this note.
  const updated = async () => {
    const arrived = events.next();
    await write();
    const { method, params } = await arrived;
    expect(method === UPDATED && params.uri === uri, `${method} ${JSON.stringify(params)} arrived`);
    return `${method} ${uri}`;
  };
  if (way === "modern") {
    await report.step("listen: updated", async () => {
      const subscription = await client.listen({ resourceSubscriptions: [uri] });
      const event = await updated();
      await subscription.close();
      return `acknowledged, then ${event}`;
    });
  } else if (way !== "without-id") {
    await report.step("GET stream", () => wire.until("GET", [200]));
    await report.step("subscribe: updated", async () => {
      await client.subscribeResource({ uri });
      return await updated();
    });
  }
  if (way === "without-id") return;
  await report.step("remove, asked", async () => {
    const said = await calls.call("remove", { title }); // the user is sure
    expect(said === "removed", `it answered ${said}`);
    const error = await client.readResource({ uri }).then(() => undefined, (error) => error);
    expect(error, "it can still be read");
    return `${said}, then ${error.message}`;
  });
}
