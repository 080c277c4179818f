// What the drivers of the TypeScript clients share: the report, and small helpers.

const STEP_MS = 15_000; // a step is a handful of requests on the loopback interface
const TOTAL_MS = 60_000; // the caller kills the process somewhat later

// One line per step: a step that throws is FAILED, and the next one still runs.
export class Report {
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

  print(client) {
    const ok = this.steps.every((step) => step.ok);
    console.log(JSON.stringify({ client, ok, steps: this.steps }));
    return ok;
  }
}

// Runs a driver, prints its report and ends the process.
export async function main(client, drive) {
  const report = new Report();
  await within(TOTAL_MS, drive(report)).catch((error) => report.add("the rest", false, error.message));
  process.exit(report.print(client) ? 0 : 1);
}

export function expect(condition, message) {
  if (!condition) throw new Error(message);
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Waits until `find` returns something; the step's time limit ends the wait.
export async function until(find) {
  for (;;) {
    const found = await find();
    if (found) return found;
    await sleep(10);
  }
}

function within(ms, promise) {
  const late = sleep(ms).then(() => Promise.reject(new Error(`no end within ${ms / 1000} s`)));
  return Promise.race([promise, late]);
}
