// Nodes: the grid of all of them, and those that need attention.

import { age, clock, collator, plural, SEVERITY, STATES } from "./format.js";
import { by, cell, el, keyed, since } from "./dom.js";

const PATIENCE_MS = 1000; // a node that is behind for less is on its way
const MOST_ROWS = 50;

export const needsAttention = (node, now) =>
  node.matters && node.state !== "converged" &&
  (node.state !== "lagging" || now - Date.parse(node.behind_since) >= PATIENCE_MS);

export function stateMark(state) {
  const { glyph, word } = STATES[state];
  return el("span", { class: "state", "data-state": state }, el("span", { "aria-hidden": "true" }, glyph), ` ${word}`);
}

const behind = (node) =>
  node.lag_versions ? [`${plural(node.lag_versions, "version")}, `, since(node.behind_since)] : ["–"];

/** Cells are large with a few nodes, small with many; each says its state in a sign or a word beside its colour. */
export function drawNodes(nodes, now, open) {
  const zones = new Map();
  for (const node of nodes) zones.set(node.zone, [...(zones.get(node.zone) ?? []), node]);
  const names = [...zones.keys()].sort(collator.compare);
  const size = nodes.length <= 12 ? "large" : nodes.length <= 60 ? "medium" : "small";
  keyed(by("nodes"), names, (zone) => zone, () => String(names.length > 1), (zone) =>
    el("div", { class: "zone" },
      el("h3", { class: names.length > 1 ? null : "unseen" }, zone),
      el("ul", { class: "grid", "aria-label": `Nodes of ${zone}`, onkeydown: walk })));
  names.forEach((zone, index) => {
    const grid = by("nodes").children[index].querySelector("ul");
    grid.dataset.size = size;
    keyed(grid, zones.get(zone), (node) => node.node, (node) => said(node, size), (node) =>
      el("li", {}, drawCell(node, size, open)));
    const buttons = [...grid.querySelectorAll("button")];
    const current = buttons.find((button) => button.tabIndex === 0) ?? buttons[0];
    for (const button of buttons) button.tabIndex = button === current ? 0 : -1;
  });
}

const said = (node, size) => [node.state, node.applied_version, node.version, node.lag_versions, size].join(" ");

function drawCell(node, size, open) {
  const { glyph, word } = STATES[node.state];
  const applied = node.applied_version ?? "none";
  const detail = node.applied_version === node.version
    ? `version ${node.version}` : `version ${applied} of ${node.version}`;
  return el("button", {
    type: "button", class: "cell", "data-state": node.state, tabindex: -1, title: `${node.node}: ${word}, ${detail}`,
    "aria-label": `${node.node}, ${word}, ${detail}`, onclick: () => open(node.node),
  },
  el("span", { class: "glyph", "aria-hidden": "true" }, glyph),
  el("span", { class: "name" }, node.node),
  size === "small" ? null : el("span", { class: "word" }, word),
  size === "large" ? el("span", { class: "detail" }, detail) : null);
}

/** One stop for Tab, arrows within. */
function walk(event) {
  const buttons = [...event.currentTarget.querySelectorAll("button")];
  const at = buttons.indexOf(document.activeElement);
  const top = buttons[0].offsetTop;
  const perRow = Math.max(1, buttons.filter((button) => button.offsetTop === top).length);
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: perRow, ArrowUp: -perRow, Home: -at, End: buttons.length - 1 - at };
  if (at < 0 || !(event.key in step)) return;
  const next = buttons[Math.min(buttons.length - 1, Math.max(0, at + step[event.key]))];
  event.preventDefault();
  buttons[at].tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

export function drawLegend(nodes) {
  const counts = SEVERITY.toReversed().map((state) => [state, nodes.filter((node) => node.state === state).length]);
  keyed(by("legend"), counts.filter(([, count]) => count), ([state]) => state, ([, count]) => String(count),
    ([state, count]) => el("li", {}, stateMark(state), ` ${count}`));
}

export function drawAttention(nodes, now, open) {
  const worst = nodes.filter((node) => needsAttention(node, now)).sort((one, two) =>
    SEVERITY.indexOf(one.state) - SEVERITY.indexOf(two.state) ||
    (Date.parse(one.behind_since ?? 8.64e15) || 8.64e15) - (Date.parse(two.behind_since ?? 8.64e15) || 8.64e15) ||
    collator.compare(one.node, two.node));
  const section = by("attention");
  section.hidden = !worst.length;
  keyed(section.querySelector("tbody"), worst.slice(0, MOST_ROWS), (node) => node.node,
    (node) => [said(node), node.reason, node.behind_since, node.last_seen].join("\n"), (node) =>
      el("tr", { role: "row" },
        el("th", { role: "rowheader", scope: "row" },
          el("button", { class: "link-like", type: "button", onclick: () => open(node.node) }, node.node)),
        cell("State", {}, stateMark(node.state)),
        cell("Reason", { class: "reason" }, reason(node)),
        cell("Applied", { class: "number" }, String(node.applied_version ?? "none")),
        cell("Wanted", { class: "number" }, String(node.version)),
        cell("Behind", { class: "number" }, ...behind(node)),
        cell("Last seen", { class: "number" }, lastSeen(node))));
  const more = section.querySelector(".more");
  more.hidden = worst.length <= MOST_ROWS;
  more.textContent = `and ${worst.length - MOST_ROWS} more, in the grid below`;
  return worst;
}

/** The server's words; a time in them is written as the reader's clock has it. */
const reason = (node) => (node.reason ?? "").replace(/\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)/, (at) => clock(at));

function lastSeen(node) {
  if (node.state === "never-seen") return "never";
  return node.last_seen ? since(node.last_seen, " ago") : "now";
}

export function lag(nodes, now) {
  const late = nodes.filter((node) => node.matters && node.behind_since);
  const versions = Math.max(0, ...late.map((node) => node.lag_versions));
  const oldest = Math.max(0, ...late.map((node) => now - Date.parse(node.behind_since)));
  return { versions, text: versions ? `${plural(versions, "version")}, ${age(oldest)}` : "none" };
}
