// The steps that every client does, with or without a session.

import { expect } from "./support.mjs";

const SLOW_STEPS = 3;
const TOOLS = ["echo", "slow"]; // of both examples
const ALL_TOOLS = [...TOOLS, "active", "announce", "test_elicitation"];

// What the steps call. `isV1`: `callTool` has a parameter for a result schema.
export class Calls {
  constructor({ client, isV1, hasAllTools }) {
    Object.assign(this, { client, isV1, hasAllTools });
  }

  async call(name, args = {}, options = {}) {
    const params = { name, arguments: args };
    const result = await this.client.callTool(params, ...(this.isV1 ? [undefined, options] : [options]));
    const text = result.content.filter((part) => part.type === "text").map((part) => part.text).join(" ");
    expect(!result.isError, `the tool failed: ${text}`);
    return text;
  }

  async listTools() {
    const tools = (await this.client.listTools()).tools.map((tool) => tool.name).sort();
    const missing = (this.hasAllTools ? ALL_TOOLS : TOOLS).filter((name) => !tools.includes(name));
    expect(missing.length === 0, `${missing} are not among the tools ${tools}`);
    return `${tools.length} tools`;
  }

  async echo() {
    const text = await this.call("echo", { message: "hello" });
    expect(text.includes("hello"), `echo answered ${text}`);
    return text;
  }

  // `onProgress` gets the number of progress events so far. None may be lost, doubled or out of order.
  async slow(steps, interval, onProgress = () => {}, options = {}) {
    const seen = [];
    const onprogress = ({ progress }) => {
      seen.push(progress);
      onProgress(seen.length);
    };
    await this.call("slow", { steps, interval_ms: interval }, { ...options, onprogress });
    const wanted = Array.from({ length: steps }, (_, index) => index + 1);
    expect(`${seen}` === `${wanted}`, `progress ${seen}, not ${wanted}`);
    return `progress ${seen.length} of ${steps}, each once`;
  }
}

export async function commonSteps(report, calls) {
  await report.step("list tools", () => calls.listTools());
  await report.step("echo", () => calls.echo());
  await report.step("slow, progress", () => calls.slow(SLOW_STEPS, 20));
}
