// One change: who, what, and who has it since when.

import { el } from "../dom.js";
import { clock, collator, duration, plural, stages } from "../format.js";
import { spreadChart } from "../charts.js";
import { nodeBar } from "../waterfall.js";
import { facts, link, table } from "./parts.js";

const MOST_NODES = 50;
const MOST_OPERATIONS = 200;
const FOR_A_CHART = 5;

export class ChangeDetail {
  constructor(revision, ask, open) {
    this.path = `v1/updates/${revision}`;
    this.ask = ask;
    this.open = open;
    this.most = MOST_NODES;
    this.chart = null;
    this.element = el("div", { class: "parts" });
  }

  async load() {
    this.change = await this.ask(this.path);
    this.draw();
  }

  end() {
    this.chart?.end();
    this.chart = null;
  }

  draw() {
    const { change } = this;
    this.end();
    const nodes = Object.entries(change.nodes).sort(([a, one], [b, two]) =>
      (two?.ms ?? Infinity) - (one?.ms ?? Infinity) || collator.compare(a, b));
    const figure = el("div", { class: "chart" });
    const charted = nodes.length >= FOR_A_CHART;
    this.element.replaceChildren(...[
      facts(
        ["When", clock(change.at)],
        ["Who", change.actor],
        ["Completes", change.caused_by ? link(`revision ${change.caused_by}`, () => this.open("change", change.caused_by)) : null],
        ["In force on", change.affected.length ? `${change.applied} of ${plural(change.affected.length, "node")}` : "no node is affected"],
        ["Told after", percentiles(change.told_ms)],
        ["In force after", percentiles(change.ms)],
        ["Exceptions", change.exceptions?.length ? `object closed on ${change.exceptions.join(", ")}` : null],
      ),
      table("Who rejected it", [["Node", "name-of"], ["When"], ["Object"], ["Reason", "reason"]], nodes.flatMap(([name, one]) =>
        (one?.rejections ?? []).flatMap((rejection) => rejection.failures.map((failure) =>
          [this.node(name), `${clock(rejection.at)}${rejection.over_at ? `, over at ${clock(rejection.over_at)}` : ""}`,
            failure.object, `${failure.reason} (${failure.stage})`])))),
      charted ? el("section", {}, el("h3", {}, "How it spread: share of the affected nodes, over time since the commit"), figure) : null,
      this.waterfall(nodes),
      table("Operations", [["Kind"], ["Object"], ["Operation"]], change.operations.slice(0, MOST_OPERATIONS).map((one) =>
        one.kind === "withdrawal" ? ["fence", one.id, one.after == null ? "lifted" : "put up"]
          : [one.kind, one.id, one.after == null ? "delete" : "put"])),
      change.operations.length > MOST_OPERATIONS
        ? el("p", { class: "hint" }, `and ${change.operations.length - MOST_OPERATIONS} more`) : null,
    ].filter(Boolean));
    if (charted) this.chart = spreadChart(figure, nodes.map(([, one]) => one).filter(Boolean), nodes.length);
  }

  waterfall(nodes) {
    const slowest = Math.max(1, ...nodes.map(([, one]) => one?.ms ?? 0));
    const rest = nodes.length - this.most;
    const rows = table(`Nodes, the slowest first, from the commit to ${duration(slowest)}`,
      [["Node", "name-of"], ["Told", "number"], ["In force", "number"], ["Commit → told → applied", "bars"], ["By the node’s own clock"]],
      nodes.slice(0, this.most).map(([name, one]) => [
        this.node(name), one && duration(one.told_ms), one?.ms != null ? duration(one.ms) : "not yet",
        one?.ms != null ? nodeBar(one, slowest) : null, stages(one?.timings_ms) || null]));
    if (!rows) return null;
    if (rest > 0) {
      rows.append(el("button", { class: "quiet", type: "button", onclick: () => { this.most += 200; this.draw(); } },
        `Show ${Math.min(200, rest)} more of ${rest}`));
    }
    return rows;
  }

  node(name) {
    return link(name, () => this.open("node", name));
  }
}

const percentiles = (ms) => (ms?.max == null ? null
  : ["p50", "p90", "p99", "max"].map((name) => `${name} ${duration(ms[name])}`).join(", "));
