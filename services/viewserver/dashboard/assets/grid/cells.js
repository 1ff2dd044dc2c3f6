// Up to some hundreds of nodes: a button each, with name and state. Large with a few nodes, small with many.

import { el, keyed } from "../dom.js";
import { STATES } from "../format.js";

const size = (count) => (count <= 12 ? "large" : count <= 60 ? "medium" : "small");

export class CellGrid {
  constructor(open) {
    this.open = open;
    this.element = el("div", {});
  }

  /** `groups`: [{title, zone, nodes}] */
  draw(groups) {
    const large = size(groups.reduce((count, { nodes }) => count + nodes.length, 0));
    keyed(this.element, groups, ({ zone }) => zone, ({ title }) => String(title), ({ title, zone }) =>
      el("div", { class: "zone" }, title ? el("h3", {}, title) : null,
        el("ul", { class: "grid", "aria-label": zone ? `Nodes of ${zone}` : "Nodes", onkeydown: walk })));
    groups.forEach(({ nodes }, index) => {
      const grid = this.element.children[index].querySelector("ul");
      grid.dataset.size = large;
      keyed(grid, nodes, (node) => node.node, (node) => said(node, large), (node) => el("li", {}, this.cell(node, large)));
      const buttons = [...grid.querySelectorAll("button")];
      const current = buttons.find((button) => button.tabIndex === 0) ?? buttons[0];
      for (const button of buttons) button.tabIndex = button === current ? 0 : -1;
    });
  }

  cell(node, large) {
    const { glyph, word } = STATES[node.state];
    const detail = node.applied_version === node.version
      ? `version ${node.version}` : `version ${node.applied_version ?? "none"} of ${node.version}`;
    return el("button", {
      type: "button", class: "cell", "data-state": node.state, tabindex: -1, title: `${node.node}: ${word}, ${detail}`,
      "aria-label": `${node.node}, ${word}, ${detail}`, onclick: () => this.open(node.node),
    },
    el("span", { class: "glyph", "aria-hidden": "true" }, glyph),
    el("span", { class: "name" }, node.node),
    large === "small" ? null : el("span", { class: "word" }, word),
    large === "large" ? el("span", { class: "detail" }, detail) : null);
  }
}

const said = (node, large) => [node.state, node.applied_version, node.version, node.lag_versions, large].join(" ");

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
