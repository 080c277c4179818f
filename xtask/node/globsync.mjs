// node --import ./globsync.mjs …
//
// The conformance suite imports `globSync` from `fs`, which exists since Node 22; only a command that we do not use
// calls it. On an older Node this replaces `fs` by a module whose `globSync` throws an error.
import fs from "node:fs";
import { register } from "node:module";
import { isMainThread } from "node:worker_threads";

const standIn = new URL("./globsync-fs.mjs", import.meta.url).href;

// This file is loaded twice: here, and once more by `register`, in the thread that resolves imports.
if (isMainThread && !("globSync" in fs)) {
  register(import.meta.url);
}

export function resolve(specifier, context, next) {
  const isFs = specifier === "fs" || specifier === "node:fs";
  return isFs && context.parentURL !== standIn ? { url: standIn, shortCircuit: true } : next(specifier, context);
}
