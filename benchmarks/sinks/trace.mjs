// Reads a trace with the engine that Chrome's DevTools reads traces with, and holds against it what the file says itself.
//
//     cp -r trace-engine FOLDER && npm ci --prefix FOLDER
//     node trace.mjs FOLDER TRACE.json STAGES
//
// The engine has to find a thread per stage, with its name, and every slice of it. Its account of flows is one of pages of a browser, so
// these are looked at here: each starts within a slice of one thread and ends at the start of a slice of another, not earlier.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, file, stages] = process.argv.slice(2);
// The engine expects to be in a browser.
globalThis.window = globalThis;
globalThis.DOMRect = class {};
const engine = path.resolve(folder, 'node_modules/@paulirish/trace_engine/models/trace/trace.js');
const { Processor, Handlers } = await import(pathToFileURL(engine));

const { traceEvents } = JSON.parse(fs.readFileSync(file));
const slices = traceEvents.filter((event) => event.ph === 'X');
const processor = Processor.TraceProcessor.createWithAllHandlers();
await processor.parse(traceEvents, {});
const threads = Handlers.Threads.threadsInTrace(processor.data);
assert.deepEqual(
  threads.map((thread) => thread.name).sort(),
  Array.from({ length: Number(stages) }, (_, stage) => `stage ${stage}`),
);
for (const thread of threads) {
  const own = slices.filter((slice) => slice.tid === thread.tid && slice.pid === thread.pid);
  assert.equal(thread.entries.length, own.length, thread.name);
  const byTime = own.sort((a, b) => a.ts - b.ts);
  for (const [at, slice] of byTime.slice(1).entries()) {
    const before = byTime[at];
    // Times are rounded to a nanosecond.
    assert(slice.ts >= before.ts + before.dur - 0.002, `${thread.name}: ${slice.name} begins within ${before.name}`);
  }
}

const contains = (slice, flow) =>
  slice.pid === flow.pid && slice.tid === flow.tid && slice.ts <= flow.ts + 0.002 && flow.ts <= slice.ts + slice.dur + 0.002;
const flows = new Map();
for (const event of traceEvents.filter((event) => event.ph === 's' || event.ph === 'f')) {
  const key = `${event.cat} ${event.id}`;
  const flow = flows.get(key) ?? {};
  assert(!(event.ph in flow), `two ends of one kind: ${key}`);
  flows.set(key, { ...flow, [event.ph]: event });
  assert(slices.some((slice) => contains(slice, event)), `${key}: an end outside all slices`);
}
let cut = 0;
for (const [key, { s: start, f: end }] of flows) {
  assert(start, `${key}: an end without a start`);
  if (!end) {
    // Received after the last batch of the trace.
    cut += 1;
    continue;
  }
  assert(start.tid !== end.tid, key);
  assert(end.ts >= start.ts, `${key}: received before it was sent`);
}
assert(Number(stages) < 2 || flows.size > cut, 'no flows');
console.log(`${file}: ${threads.length} threads, ${slices.length} slices, ${flows.size - cut} flows, ${cut} without an end`);
