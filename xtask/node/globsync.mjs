// node --import ./globsync.mjs …
//
// The conformance suite imports `globSync` from `fs`, which Node has since version 22; one of its commands that we do
// not use calls it. On an older Node this stands in for `fs`, with a `globSync` that only says so.
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
