// `fs` as seen through globsync.mjs.
export * from "node:fs";
export { default } from "node:fs";

export function globSync() {
  throw new Error("globSync needs Node 22");
}
