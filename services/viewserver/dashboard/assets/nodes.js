// All nodes: filtered by state, zone and name; drawn as cells, as a canvas where they are many, or as a table.

import { by, el, keyed } from "./dom.js";
import { plural, SEVERITY, STATES } from "./format.js";
import { worse } from "./cloud.js";
import { CanvasGrid } from "./grid/canvas.js";
import { CellGrid } from "./grid/cells.js";
import { NodeTable } from "./grid/table.js";

const CELLS = 300; // more are drawn on a canvas

export class Nodes {
  /** `open(name)`: somebody chose a node; `changed()`: draw again. */
  constructor(open, changed) {
    this.changed = changed;
    this.states = new Set(); // none: all
    this.zone = "";
    this.name = "";
    this.asTable = false;
    this.worstFirst = false;
    this.drawings = { cells: new CellGrid(open), canvas: new CanvasGrid(open), table: new NodeTable(open) };
    for (const { element } of Object.values(this.drawings)) element.hidden = true;
    by("nodes").replaceChildren(...Object.values(this.drawings).map((one) => one.element));
    by("by-name").addEventListener("input", () => this.set("name", by("by-name").value.trim().toLowerCase()));
    by("by-zone").addEventListener("change", () => this.set("zone", by("by-zone").value));
    by("by-order").addEventListener("change", () => this.set("worstFirst", by("by-order").value === "worst"));
    by("as-table").addEventListener("click", () => this.set("asTable", !this.asTable));
    by("nearer").addEventListener("click", () => this.zoom(1));
    by("farther").addEventListener("click", () => this.zoom(-1));
    by("nodes").addEventListener("keydown", (event) => {
      if (event.key === "+" || event.key === "-") this.zoom(event.key === "+" ? 1 : -1);
    });
  }

  set(name, value) {
    this[name] = value;
    this.changed();
  }

  /** Of one zone, and into sight. */
  show(zone) {
    this.set("zone", zone);
    by("nodes-title").scrollIntoView({ block: "start" });
  }

  zoom(steps) {
    if (!this.drawings.canvas.element.hidden) this.drawings.canvas.nearer(steps);
  }

  clear() {
    Object.assign(this, { states: new Set(), zone: "", name: "", asTable: false, worstFirst: false });
    for (const id of ["by-name", "by-zone"]) by(id).value = "";
    this.drawn = null;
    for (const drawing of Object.values(this.drawings)) drawing.draw([], 0);
    this.drawings.canvas.option.textContent = this.drawings.canvas.tip.textContent = "";
    by("legend").replaceChildren();
  }

  /** `news`: differs from the last time if any node does. */
  draw(nodes, news, tally, now) {
    this.drawLegend(tally.states);
    const zones = [...new Set(nodes.map((node) => node.zone))];
    this.drawZones(zones);
    const asked = [news, ...this.states, this.zone, this.name, this.asTable, this.worstFirst].join("\n");
    if (asked === this.drawn && !tally.states.lagging) return; // only time has passed, and it shows nowhere
    this.drawn = asked;
    const shown = nodes.filter((node) =>
      (!this.states.size || this.states.has(node.state)) && (!this.zone || node.zone === this.zone) &&
      (!this.name || node.node.toLowerCase().includes(this.name)));
    const groups = this.grouped(shown, zones.length > 1);
    const kind = this.asTable ? "table" : shown.length > CELLS ? "canvas" : "cells";
    for (const [name, { element }] of Object.entries(this.drawings)) element.hidden = name !== kind;
    this.drawings[kind].draw(groups, now);
    by("zoom").hidden = kind !== "canvas";
    by("shapes").hidden = kind !== "canvas";
    by("as-table").setAttribute("aria-pressed", String(this.asTable));
    by("no-nodes").hidden = shown.length > 0 || !nodes.length;
    const count = shown.length === nodes.length ? plural(nodes.length, "node") : `${shown.length} of ${plural(nodes.length, "node")}`;
    if (by("shown").textContent !== count) by("shown").textContent = count;
  }

  grouped(nodes, several) {
    if (this.worstFirst) return [{ title: null, zone: this.zone, nodes: nodes.sort(worse) }];
    const groups = new Map();
    for (const node of nodes) {
      const group = groups.get(node.zone);
      if (group) group.push(node);
      else groups.set(node.zone, [node]);
    }
    return [...groups].map(([zone, found]) => ({ title: several ? `${zone}  ·  ${plural(found.length, "node")}` : null, zone, nodes: found }));
  }

  /** The states that there are, each a switch. */
  drawLegend(counts) {
    const present = SEVERITY.toReversed().filter((state) => counts[state] || this.states.has(state));
    keyed(by("legend"), present, (state) => state, (state) => `${counts[state]} ${this.states.has(state)}`, (state) =>
      el("li", {}, el("button", {
        type: "button", class: "chip", "data-state": state, "aria-pressed": String(this.states.has(state)),
        onclick: () => { this.states.delete(state) || this.states.add(state); this.changed(); },
      }, el("span", { "aria-hidden": "true" }, STATES[state].glyph), ` ${STATES[state].word} ${counts[state]}`)));
  }

  drawZones(zones) {
    by("by-zone").parentElement.hidden = zones.length < 2;
    if (this.zone && !zones.includes(this.zone)) this.zone = "";
    keyed(by("by-zone"), ["", ...zones], (zone) => zone, () => "", (zone) => el("option", { value: zone }, zone || "all zones"));
    if (by("by-zone").value !== this.zone) by("by-zone").value = this.zone;
  }
}
