// The same nodes as a table: for screen readers, for copying, for sorting by eye.

import { cell, el, keyed } from "../dom.js";
import { behind, reason, said, stateMark } from "../attention.js";

const PAGE = 100;

export class NodeTable {
  constructor(open) {
    this.open = open;
    this.most = PAGE;
    this.body = el("tbody", { role: "rowgroup" });
    this.more = el("button", { class: "quiet", type: "button", hidden: true, onclick: () => {
      this.most += PAGE;
      this.draw(this.groups);
    } });
    const columns = [["Node"], ["Zone"], ["State"], ["Applied", "number"], ["Wanted", "number"], ["Behind", "number"], ["Reason"]];
    this.element = el("div", {},
      el("table", { class: "stack", role: "table", "aria-label": "Nodes" },
        el("thead", { role: "rowgroup" }, el("tr", { role: "row" },
          ...columns.map(([name, kind]) => el("th", { role: "columnheader", scope: "col", class: kind }, name)))),
        this.body),
      this.more);
  }

  draw(groups) {
    this.groups = groups;
    const nodes = groups.flatMap((group) => group.nodes);
    keyed(this.body, nodes.slice(0, this.most), (node) => node.node, said, (node) => el("tr", { role: "row" },
      el("th", { role: "rowheader", scope: "row" },
        el("button", { class: "link-like", type: "button", onclick: () => this.open(node.node) }, node.node)),
      cell("Zone", {}, node.zone),
      cell("State", {}, stateMark(node.state)),
      cell("Applied", { class: "number" }, String(node.applied_version ?? "none")),
      cell("Wanted", { class: "number" }, String(node.version)),
      cell("Behind", { class: "number" }, ...behind(node)),
      cell("Reason", { class: "reason" }, reason(node) || "–")));
    const rest = nodes.length - this.most;
    this.more.hidden = rest <= 0;
    this.more.textContent = `Show ${Math.min(PAGE, rest)} more of ${rest}`;
  }
}
