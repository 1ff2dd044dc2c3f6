// The last changes: who, what, on how many nodes in force, and how they got there.

import { clock, duration, plural, some } from "./format.js";
import { by, cell, el, keyed, since } from "./dom.js";
import { axis, changeBars, Scale } from "./waterfall.js";

/** A withdrawal is how the server notes a fence; the address that it is about is moved beside it. */
const told = (operations) => operations.filter((one) => one.kind !== "withdrawal");

/** From a row of GET /v1/updates; an event `revision` has this shape already. */
export const listed = (row) => ({
  revision: row.revision,
  at: row.at,
  actor: row.actor,
  objects: told(row.operations).map((one) => `${one.op === "delete" ? "−" : ""}${one.kind}s/${one.id}`),
  operations: told(row.operations).length,
  affected: row.affected.length,
  nodes: row.affected.slice(0, 12),
  caused_by: row.caused_by,
  summary: row.summary,
});

/** What is known of a change, from whichever source knows more. */
export function merge(known, news) {
  if (!known) return { summary: null, ...news };
  const [more, less] = [known.summary, news.summary].filter(Boolean).sort((one, two) => two.applied - one.applied);
  const summary = more ? { ...less, ...more, told_ms: news.summary?.told_ms ?? more.told_ms } : null;
  const objects = known.objects.some((name) => name.startsWith("−")) ? known.objects : news.objects;
  return { ...news, objects, summary };
}

export function drawChanges(changes, nodes, open) {
  by("no-changes").hidden = changes.length > 0;
  by("changes").hidden = !changes.length;
  const scale = new Scale(Math.max(0, ...changes.map(({ summary }) => summary?.ms?.max ?? 0)));
  keyed(by("scale"), [scale], ({ end }) => end, () => "", () => el("div", { class: "scale" },
    ...axis(scale).map(([part, words]) => {
      const tick = el("span", {}, words);
      tick.style.left = `${part * 100}%`;
      return tick;
    })));
  keyed(by("changes").tBodies[0], changes, (change) => change.revision, (change) =>
    [JSON.stringify(change.summary), change.objects[0], missing(change, nodes), scale.end].join("\n"),
  (change) => row(change, nodes, scale, open));
}

function row(change, nodes, scale, open) {
  const { summary } = change;
  const ms = summary?.ms ?? {};
  return el("tr", { role: "row" },
    el("th", { role: "rowheader", scope: "row" },
      el("button", { class: "link-like", type: "button", onclick: () => open(change.revision) }, String(change.revision))),
    cell("When", { class: "when" }, el("time", { datetime: change.at }, clock(change.at)), " ",
      el("span", { class: "hint" }, since(change.at, " ago"))),
    cell("Who", { class: "who" }, change.actor),
    cell("What", { class: "what" }, what(change)),
    cell("In force on", { class: "force" }, ...inForce(change, nodes)),
    cell("Told, in force", { class: "bars" }, summary?.affected ? changeBars(change, scale) : null),
    cell("p50", { class: "number" }, duration(ms.p50)),
    cell("p99", { class: "number" }, duration(ms.p99)),
    cell("max", { class: "number" }, duration(ms.max)));
}

export function what(change) {
  const names = some(change.objects.map((name) => name.replace(/^(−?)[^/]*\//, "$1")), 2, change.operations);
  return change.caused_by ? `lifts the fence of revision ${change.caused_by}${names && `, ${names}`}` : names;
}

/** Those of the affected nodes that have not applied it, as far as they are named. */
const missing = (change, nodes) =>
  change.nodes.filter((name) => nodes.has(name) && (nodes.get(name).applied_version ?? 0) < change.revision);

function inForce(change, nodes) {
  const { summary } = change;
  if (!change.affected) return ["no node is affected"];
  if (!summary) return [plural(change.affected, "node"), el("span", { class: "hint" }, " open it to see")];
  if (!summary.affected) return ["no node that was ever seen"];
  const done = summary.applied >= summary.affected;
  const except = summary.exceptions ?? [];
  const late = missing(change, nodes);
  const names = except.length ? "" : done ? (change.affected <= 3 ? change.nodes.join(", ") : "")
    : late.length ? `not ${some(late, 3, Math.max(late.length, summary.affected - summary.applied))}` : "";
  return [
    el("progress", { value: summary.applied, max: summary.affected, "aria-hidden": "true", class: except.length ? "part" : done ? "done" : null }),
    ` ${summary.applied} of ${plural(summary.affected, "node")}`,
    names ? el("span", { class: "hint" }, ` ${names}`) : null,
    except.length ? el("span", { class: "exception" }, ` ! object closed on ${some(except, 3)}`) : null,
  ];
}
