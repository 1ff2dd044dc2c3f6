// What needs somebody, on top: laggards, rejections, silence, each with its reason; and fences that wait.

import { by, cell, el, keyed, since } from "./dom.js";
import { local, plural, STATES } from "./format.js";

const MOST_ROWS = 50;

export function stateMark(state) {
  const { glyph, word } = STATES[state];
  return el("span", { class: "state", "data-state": state }, el("span", { "aria-hidden": "true" }, glyph), ` ${word}`);
}

export const behind = (node) =>
  node.lag_versions ? [`${plural(node.lag_versions, "version")}, `, since(node.behind_since)] : ["–"];

/** What a row of the node says: it is drawn anew when this changes. */
export const said = (node) =>
  [node.state, node.applied_version, node.version, node.lag_versions, node.reason, node.behind_since, node.last_seen].join("\n");

export function drawAttention(worst, open) {
  const section = by("attention");
  section.hidden = !worst.length;
  keyed(section.querySelector("tbody"), worst.slice(0, MOST_ROWS), (node) => node.node, said, (node) =>
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
}

export const reason = (node) => local(node.reason ?? "");

function lastSeen(node) {
  if (node.state === "never-seen") return "never";
  return node.last_seen ? since(node.last_seen, " ago") : "now";
}

export function drawFences(fences) {
  by("fences").hidden = !fences.length;
  keyed(by("fences").querySelector("ul"), fences, (fence) => fence.address, (fence) => `${fence.from} ${fence.since}`, (fence) =>
    el("li", {}, el("strong", {}, fence.address), ` waits for ${fence.from}`,
      fence.since ? el("span", { class: "hint" }, ` since revision ${fence.since}`) : null));
}
