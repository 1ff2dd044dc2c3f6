// How a change came to its nodes, drawn against time from its commit: told, then applied.
//
//     in the list     two bars for all nodes, on one logarithmic scale for all rows:   told     ▬▬▬▬▬▬──╴
//                     thick to the median, thin to p99, a hair to the slowest           applied  ▬▬▬▬▬▬▬▬▬──╴
//     of one change   a bar for each node, on a linear scale: until told, then until applied, the agent's stages within

import { svg } from "./dom.js";
import { duration } from "./format.js";

const WIDTH = 300;
const DECADES = [100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/** Where a number of milliseconds is drawn: logarithmic from 1 ms to the decade that holds all rows. */
export class Scale {
  constructor(slowest) {
    this.end = DECADES.find((one) => one >= slowest) ?? DECADES.at(-1);
  }

  x(ms) {
    return Math.min(1, Math.log10(Math.max(1, ms)) / Math.log10(this.end)) * WIDTH;
  }

  ticks() {
    return [1, ...DECADES].filter((one) => one >= 1 && one <= this.end).flatMap((one) => (one === 100 ? [10, 100] : [one]));
  }
}

const frame = (height, label, ...children) => svg("svg", {
  class: "waterfall", viewBox: `0 0 ${WIDTH} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": label,
}, ...children);

const grid = (scale, height) => scale.ticks().map((ms) =>
  svg("line", { class: "tick", x1: scale.x(ms), x2: scale.x(ms), y1: 0, y2: height, "vector-effect": "non-scaling-stroke" }));

function spread(scale, ms, y, height, kind) {
  if (ms?.p50 == null) return [];
  const bar = (until, thick) => svg("rect", {
    class: kind, x: 0, y: y + (height - thick) / 2, width: Math.max(1.5, scale.x(until)), height: thick,
  });
  return [bar(ms.max, 1), bar(ms.p99, height * 0.45), bar(ms.p50, height)];
}

/** `change` with a summary; `now` places the end of one that is still under way. */
export function changeBars(change, scale) {
  const { told_ms: told, ms, applied, affected } = change.summary;
  const words = [
    told?.p50 != null ? `told: half within ${duration(told.p50)}, all within ${duration(told.max)}` : null,
    ms?.p50 != null ? `in force: half within ${duration(ms.p50)}, all within ${duration(ms.max)}` : null,
    applied < affected ? `${affected - applied} not yet` : null,
  ].filter(Boolean).join("; ");
  return frame(20, words || "nothing is known yet", ...grid(scale, 20),
    ...spread(scale, told, 2, 6, "told"), ...spread(scale, ms, 10, 8, applied < affected ? "applied open" : "applied"));
}

/** The scale in the table's head. */
export function axis(scale) {
  const ticks = scale.ticks();
  const every = ticks.length > 5 ? 2 : 1; // the last has its words, whatever else has
  return ticks.filter((_, index) => (ticks.length - 1 - index) % every === 0).map((ms) => [scale.x(ms) / WIDTH, duration(ms).replace(".0 s", " s")]);
}

const STAGES = ["fetch", "plan", "apply", "verify"];

/** Of one node of one change. `slowest`: milliseconds that the whole width stands for. */
export function nodeBar(one, slowest) {
  const x = (ms) => (Math.min(ms, slowest) / slowest) * WIDTH;
  const told = Math.min(one.told_ms ?? 0, one.ms);
  const parts = [svg("rect", { class: "told", x: 0, y: 2, width: Math.max(1, x(told)), height: 10 })];
  const stages = STAGES.filter((stage) => one.timings_ms?.[stage] != null);
  const whole = stages.reduce((sum, stage) => sum + one.timings_ms[stage], 0);
  parts.push(svg("rect", { class: "applied", x: x(told), y: 2, width: Math.max(1, x(one.ms - told)), height: 10 }));
  // The agent's stages, by its own clock, end about when its report arrives; what is left over was on the way.
  let at = Math.max(told, one.ms - whole);
  for (const stage of stages) {
    const ms = Math.min(one.timings_ms[stage], one.ms - at);
    parts.push(svg("rect", { class: `stage ${stage}`, x: x(at), y: 5, width: x(ms), height: 4 }));
    at += ms;
  }
  return frame(14, `told after ${duration(one.told_ms)}, in force after ${duration(one.ms)}`, ...parts);
}
