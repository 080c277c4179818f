// The steps of revision 2026-07-28: each request stands alone, and its stream is all that connects it to the server.

import { commonSteps } from "./common-steps.mjs";
import { expect, until } from "./support.mjs";

export const MODERN = "2026-07-28";
const ENDLESS = 1_000_000; // more steps of `slow` than any time limit allows: such a call ends only if it is cancelled

export async function modernSteps(report, { client, calls, wire, proxy, events }) {
  const listen = async () => {
    const subscription = await client.listen({ toolsListChanged: true });
    const honoured = subscription.honoredFilter;
    expect(honoured.toolsListChanged === true, `honoured is only ${JSON.stringify(honoured)}`);
    const arrived = events.next();
    await calls.call("test_trigger_tool_change");
    const { method } = await arrived;
    await subscription.close();
    const end = await subscription.closed;
    expect(end === "local", `the stream's end was ${end}`);
    return `acknowledged, then ${method}`;
  };

  // The call ends with what the server has to know, and the SDK repeats it with that.
  const ask = async (tool, wanted) => {
    const text = await calls.call(`test_input_required_result_${tool}`);
    expect(text === wanted, `it answered ${text}`);
    return text;
  };

  // Other clients have calls that end by themselves. `call` may fail at first.
  const nothingRuns = (call = () => calls.call("active")) =>
    until(async () => (await call()) === "0" && "nothing is running");

  // Calls a tool that never ends, and does `stop` once it is running.
  const endless = (stop) => {
    const abort = new AbortController();
    const ended = calls.slow(ENDLESS, 20, (count) => count === 2 && stop(abort), { signal: abort.signal });
    return { abort, ended };
  };

  // Aborts a call once it is running.
  const cancel = async () => {
    const { ended } = endless((abort) => abort.abort());
    const error = await ended.then(() => undefined, (error) => error);
    expect(error, "the call has ended");
    return await nothingRuns();
  };

  // Cuts the connection of a running call: it is not resumed, and cancelled at the server. The SDK does not notice: it
  // would wait for its own time limit.
  const cut = async () => {
    const before = wire.seen.length;
    let isCut;
    const lost = new Promise((resolve) => (isCut = resolve));
    const { abort, ended } = endless(() => isCut(proxy.cut()));
    ended.catch(() => {});
    await lost;
    // A kept connection may be found lost only when it is used.
    const detail = await nothingRuns(() => calls.call("active").catch(() => undefined));
    abort.abort();
    expect(!wire.seen.slice(before).some((it) => it.method === "GET"), "the client tried to resume");
    return detail;
  };

  await commonSteps(report, calls);
  if (calls.hasAllTools) {
    await report.step("listen: list_changed", listen);
    await report.step("input required: elicitation", () => ask("elicitation", "Hello, Ada!"));
    await report.step("input required: request state", () => ask("request_state", "state-ok"));
    await report.step("cancel by closing", cancel);
    await report.step("cut, cancelled", cut);
  }
  await report.step("echo again", () => calls.echo());
}
