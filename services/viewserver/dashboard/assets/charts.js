// Lines and steps over time, by uPlot; each with words that say the same.

import { by, el } from "./dom.js";
import { clock, duration, plural } from "./format.js";
import { get } from "./feed.js";
import uPlot from "./vendor/uplot/uPlot.js";

const HEIGHT = 128;
const AGAIN_MS = 60_000;
const drawn = new Set();

const inks = new Map();

function colour(name) {
  if (inks.has(name)) return inks.get(name);
  const probe = el("i", { class: "probe-ink", "data-colour": name });
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  inks.set(name, color);
  return color;
}

/** A chart in `parent`, as wide as it. `lines`: [{label, colour, fill}]; `values`: how a number on the y axis is written. */
function chart(parent, { title, lines, values, time, data, top }) {
  const axis = { stroke: () => colour("soft"), grid: { stroke: () => colour("line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
  const plot = new uPlot({
    title: "", width: Math.max(200, parent.clientWidth), height: HEIGHT, legend: { show: false }, padding: [8, 8, 0, 0],
    cursor: { y: false, drag: { x: false, y: false }, ...(time ? { sync: { key: "lag" } } : {}) },
    scales: { x: { time }, y: { range: (_, __, most) => [0, Math.max(top, most * 1.1)] } },
    axes: [
      { ...axis, values: time ? (_, ticks) => ticks.map((s) => clock(s * 1000).slice(-8, -3)) : (_, ticks) => ticks.map((ms) => duration(ms)), space: 60, size: 28 },
      { ...axis, size: 56, values: (_, ticks) => ticks.map(values) },
    ],
    series: [{}, ...lines.map((line) => ({
      label: line.label, stroke: () => colour(line.colour), width: 1.5, points: { show: time, size: 4, stroke: () => colour(line.colour), fill: () => colour(line.colour) }, paths: line.steps ? uPlot.paths.stepped({ align: 1 }) : undefined,
      fill: line.fill ? () => colour(`${line.colour}-back`) : undefined, spanGaps: false, dash: line.dash,
    }))],
    hooks: { setCursor: [(u) => tell(u)] },
  }, data, parent);
  const said = el("p", { class: "hint at", "aria-hidden": "true" });
  parent.append(said);
  const x = (value) => (time ? clock(value * 1000).slice(-8, -3) : duration(value));
  function tell(u) {
    const at = u.cursor.idx;
    said.textContent = at == null ? ""
      : [x(u.data[0][at]), ...lines.map((line, i) => `${line.label} ${u.data[i + 1][at] == null ? "unknown" : values(u.data[i + 1][at])}`)].join(" · ");
  }
  plot.root.setAttribute("aria-hidden", "true");
  const one = { plot, parent };
  const watch = new ResizeObserver(() => plot.setSize({ width: Math.max(200, parent.clientWidth), height: HEIGHT }));
  watch.observe(parent);
  drawn.add(one);
  one.end = () => { watch.disconnect(); plot.destroy(); drawn.delete(one); };
  return one;
}

export function repaint() {
  inks.clear();
  for (const { plot } of drawn) plot.redraw(false, true);
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);

// --- the last hour ---

export class LastHour {
  constructor() {
    this.minutes = [];
    this.charts = null;
    this.askedAt = 0;
  }

  async load(token) {
    this.askedAt = Date.now();
    try {
      this.minutes = (await get(token, "v1/lag?minutes=60")).minutes;
      this.draw();
    } catch { /* the server went away: hello comes again */ }
  }

  /** Once a minute; and what is seen meanwhile is added. */
  keepUp(token, tally, lagS) {
    const last = this.minutes.at(-1);
    if (last?.nodes != null) {
      const { states } = tally;
      const more = {
        lag_s: lagS, behind: states.lagging, silent: states.silent, rejected: states.rejected, degraded: states.degraded,
      };
      const changed = Object.entries(more).filter(([name, value]) => value > last[name]);
      for (const [name, value] of changed) last[name] = value;
      if (changed.length) this.draw();
    }
    if (Date.now() - this.askedAt > AGAIN_MS) this.load(token);
  }

  clear() {
    for (const one of this.charts ?? []) one.end();
    this.charts = null;
    this.minutes = [];
    for (const id of ["lag-chart", "states-chart", "hour-words"]) by(id).replaceChildren();
    by("hour").hidden = true;
  }

  draw() {
    by("hour").hidden = !this.minutes.length;
    if (!this.minutes.length) return;
    const x = this.minutes.map(({ at }) => Date.parse(at) / 1000);
    const of = (name) => this.minutes.map((minute) => (minute.nodes == null ? null : minute[name]));
    const lag = [x, of("lag_s")];
    const states = [x, of("behind"), of("silent"), of("rejected"), of("degraded")];
    if (this.charts) {
      this.charts[0].plot.setData(lag);
      this.charts[1].plot.setData(states);
    } else {
      this.charts = [
        chart(by("lag-chart"), {
          time: true, data: lag, top: 0.1, values: (s) => duration(s * 1000).replace("0.0 ms", "0"),
          lines: [{ label: "lag", colour: "late", fill: true }],
        }),
        chart(by("states-chart"), {
          time: true, data: states, top: 2, values: (count) => (Number.isInteger(count) ? String(count) : ""),
          lines: [
            { label: "behind", colour: "late" }, { label: "silent", colour: "gone", dash: [4, 3] },
            { label: "rejected", colour: "bad" }, { label: "degraded", colour: "part", dash: [2, 2] },
          ],
        }),
      ];
    }
    by("hour-words").textContent = this.words();
  }

  words() {
    const known = this.minutes.filter(({ nodes }) => nodes != null);
    if (!known.length) return "Nothing is known of the last hour.";
    const worst = known.reduce((one, two) => (two.lag_s > one.lag_s ? two : one));
    const most = Math.max(...known.map(({ behind }) => behind));
    const unknown = this.minutes.length - known.length;
    return [
      worst.lag_s ? `The greatest lag of the last hour was ${duration(worst.lag_s * 1000)}, at ${clock(worst.at).slice(-8, -3)}` : "No node was behind in the last hour",
      most ? `at most ${plural(most, "node")} behind at once` : null,
      unknown ? `nothing is known of ${plural(unknown, "minute")}` : null,
    ].filter(Boolean).join("; ") + ".";
  }
}

// --- how one change spread ---

/** The share of nodes that were told, and that have applied it, over milliseconds since the commit. */
export function spreadChart(parent, nodes, affected) {
  const told = nodes.map((one) => one.told_ms).filter((ms) => ms != null).sort((one, two) => one - two);
  const applied = nodes.map((one) => one.ms).filter((ms) => ms != null).sort((one, two) => one - two);
  const x = [...new Set([0, ...told, ...applied])].sort((one, two) => one - two);
  const share = (times) => {
    let count = 0;
    return x.map((ms) => {
      while (count < times.length && times[count] <= ms) count++;
      return count / affected;
    });
  };
  return chart(parent, {
    time: false, data: [x, share(told), share(applied)], top: 1, values: (part) => (part > 1 ? "" : `${Math.round(part * 100)} %`),
    lines: [{ label: "told", colour: "told", steps: true }, { label: "in force", colour: "good", steps: true }],
  });
}
