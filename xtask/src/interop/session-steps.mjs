// The steps in a session: the GET stream, resuming, requests of the server, DELETE.

import { commonSteps } from "./common-steps.mjs";
import { expect } from "./support.mjs";

// The steps in a live session.
export async function liveSteps(report, { calls, wire, proxy, headers, events }) {
  // Cuts the connection in the middle of a call; the client reconnects after a second, by its own clock.
  const cut = async (steps, interval) => {
    const before = wire.seen.length;
    const detail = await calls.slow(steps, interval, (count) => count === 2 && proxy.cut());
    const resumed = wire.seen.slice(before).filter((it) => it.method === "GET" && it.lastEventId !== null);
    expect(resumed.length > 0, "the client did not reconnect with Last-Event-ID");
    expect(resumed.every((it) => it.status === 200), `resuming was answered with ${resumed.map((it) => it.status)}`);
    return detail;
  };

  const announced = async () => {
    const arrived = events.next(); // other clients may have changed something before
    await calls.call("announce");
    return (await arrived).method;
  };

  // The server asks the client while the call runs.
  const elicitation = async () => {
    const text = await calls.call("test_elicitation", { message: "Who are you?" });
    expect(text.includes("Ada"), `it answered ${text}`);
    return text;
  };

  const secondGet = async () => {
    // The specification allows both one stream per session (409) and several (200).
    const { status, body } = await fetch(proxy.url, { headers });
    await body?.cancel();
    expect([200, 409].includes(status), `a second GET was answered with ${status}`);
    return `GET ${status}`;
  };

  await commonSteps(report, calls);
  await report.step("GET stream", () => wire.until("GET", [200]));
  await report.step("second GET", secondGet);
  if (calls.hasAllTools) {
    await report.step("GET stream: announced", announced);
    await report.step("elicitation", elicitation);
  }
  await report.step("cut, still running", () => cut(16, 100));
  await report.step("cut, ended meanwhile", () => cut(4, 50));
  await report.step("echo again", () => calls.echo());
}

// Every method answers a terminated session id with 404.
export async function deadSteps(report, url, headers) {
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
