// One node, or one change, in a dialog. Asked for when it is opened, and again when an event tells of it.

import { by, cell, el } from "./dom.js";
import { clock, collator, duration, plural, stages } from "./format.js";
import { get } from "./feed.js";
import { stateMark } from "./nodes.js";

const AGAIN_MS = 700;
let shown = null; // {kind, key, token}
let again = null;

export function openDetail(kind, key, token) {
  shown = { kind, key: String(key), token };
  by("detail-title").textContent = kind === "node" ? key : `Revision ${key}`;
  by("detail-body").replaceChildren(el("p", { class: "hint" }, "Loading…"));
  by("detail").showModal();
  load();
}

export function closeDetail() {
  if (by("detail").open) by("detail").close();
}

by("detail").addEventListener("close", () => { shown = null; });
by("detail-close").addEventListener("click", closeDetail);
by("detail").addEventListener("click", (event) => { if (event.target === by("detail")) closeDetail(); });

/** Something happened to this node or change: look again, if it is the one that is open. */
export function touched(kind, key) {
  if (shown?.kind !== kind || shown.key !== String(key) || again) return;
  again = setTimeout(() => { again = null; if (shown) load(); }, AGAIN_MS);
}

async function load() {
  const { kind, key, token } = shown;
  let body;
  try {
    const path = `v1/${kind === "node" ? "nodes" : "updates"}/${encodeURIComponent(key)}`;
    body = (kind === "node" ? ofNode : ofChange)(await get(token, path));
  } catch (error) {
    body = [el("p", { class: "fault" }, `This could not be read: ${error.message}`)];
  }
  if (shown?.kind === kind && shown.key === key) by("detail-body").replaceChildren(...body);
}

const facts = (...pairs) => el("dl", { class: "facts" },
  ...pairs.filter(([, value]) => value != null && value !== "").flatMap(([name, value]) =>
    [el("dt", {}, name), el("dd", {}, value)]));

function table(title, columns, rows) {
  if (!rows.length) return null;
  return el("section", {}, el("h3", {}, title),
    el("table", { class: "stack", role: "table", "aria-label": title },
      el("thead", { role: "rowgroup" }, el("tr", { role: "row" },
        ...columns.map(([name, kind]) => el("th", { role: "columnheader", scope: "col", class: kind }, name)))),
      el("tbody", { role: "rowgroup" }, ...rows.map((row) => el("tr", { role: "row" },
        ...row.map((value, index) => cell(columns[index][0], { class: columns[index][1] }, value ?? "–")))))));
}

function ofNode(node) {
  const report = node.report ?? {};
  return [
    facts(
      ["State", stateMark(node.state)],
      ["Reason", node.reason],
      ["Zone", node.zone],
      ["Address", node.address],
      ["Version applied", String(node.applied_version ?? "none")],
      ["Version wanted", String(node.version)],
      ["Version attempted", node.attempted_version && node.attempted_version !== node.applied_version
        ? String(node.attempted_version) : null],
      ["Behind", node.lag_versions
        ? `${plural(node.lag_versions, "version")}, ${duration(node.lag_seconds * 1000)}` : "nothing"],
      ["Last seen", node.last_seen ? clock(node.last_seen) : "never"],
      ["Agent", report.agent?.version],
      ["Last pass", stages(report.timings_ms)],
    ),
    table("What could not be made true", [["Object"], ["Stage"], ["Reason", "reason"]],
      node.failures.map((one) => [one.object, one.stage, one.reason])),
    table("Instances", [["Instance"], ["Its port"]],
      Object.entries(node.instances).sort(([one], [two]) => collator.compare(one, two))),
  ].filter(Boolean);
}

function ofChange(change) {
  const nodes = Object.entries(change.nodes).sort(([a, one], [b, two]) =>
    (two?.ms ?? Infinity) - (one?.ms ?? Infinity) || collator.compare(a, b));
  return [
    facts(
      ["When", `${clock(change.at)}`],
      ["Who", change.actor],
      ["Completes", change.caused_by ? `revision ${change.caused_by}` : null],
      ["In force on", change.affected.length ? `${change.applied} of ${plural(change.affected.length, "node")}` : "no node is affected"],
      ["Milliseconds", change.ms.max == null ? null
        : ["p50", "p90", "p99", "max"].map((name) => `${name} ${duration(change.ms[name])}`).join(", ")],
    ),
    table("Nodes, the slowest first", [["Node"], ["Told", "number"], ["In force", "number"], ["By the node’s own clock"]],
      nodes.map(([name, one]) => [name, one && duration(one.told_ms), one ? duration(one.ms) : "not yet", stages(one?.timings_ms) || null])),
    table("Operations", [["Kind"], ["Object"], ["Operation"]], change.operations.slice(0, 200).map((one) =>
      one.kind === "withdrawal" ? ["fence", one.id, one.after == null ? "lifted" : "put up"]
        : [one.kind, one.id, one.after == null ? "delete" : "put"])),
    change.operations.length > 200 ? el("p", { class: "hint" }, `and ${change.operations.length - 200} more`) : null,
  ].filter(Boolean);
}
