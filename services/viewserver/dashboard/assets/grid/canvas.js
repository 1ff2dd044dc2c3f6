// Thousands of nodes: a canvas as large as what is seen of it, in a box that scrolls. To assistive technology it is a list
// of which only the current option is there, with its place among all.

import { el } from "../dom.js";
import { local, plural, STATES } from "../format.js";
import { colours, paint } from "./paint.js";
import { fitting, Layout, ZOOMS } from "./layout.js";

const TALL = 540;
const STATES_AND_MORE = [...Object.keys(STATES).map((state) => ["data-state", state]),
  ...["text", "soft", "focus", "panel"].map((name) => ["data-colour", name])];

export class CanvasGrid {
  /** `open(name)`: somebody chose a node. */
  constructor(open) {
    this.open = open;
    this.groups = [];
    this.zoom = null; // null: as near as fits
    this.current = 0;
    this.hovered = -1;
    this.layout = null;
    this.canvas = el("canvas", { "aria-hidden": "true" });
    this.spacer = el("div", { class: "spacer", "aria-hidden": "true" });
    this.probe = el("div", { class: "probe", "aria-hidden": "true" }, ...STATES_AND_MORE.map(([key, value]) => el("i", { [key]: value })));
    this.option = el("div", { class: "unseen", role: "option", id: "node-option-0", "aria-selected": "true" });
    this.tip = el("div", { class: "tip", "aria-hidden": "true", hidden: true });
    this.box = el("div", {
      class: "canvas-grid", role: "listbox", tabindex: 0, "aria-label": "Nodes, by zone and name. Arrow keys walk, Enter opens.",
      "aria-activedescendant": "node-option-0",
    }, this.canvas, this.spacer, this.option, this.probe);
    this.element = el("div", { class: "canvas-frame" }, this.box, this.tip);
    this.listen();
  }

  listen() {
    const { box } = this;
    box.addEventListener("scroll", () => { this.hover(-1); this.paint(); });
    box.addEventListener("pointermove", (event) => this.hover(this.under(event), event));
    box.addEventListener("pointerleave", () => this.hover(-1));
    box.addEventListener("click", (event) => {
      const index = this.under(event);
      if (index >= 0) this.choose(index);
    });
    box.addEventListener("keydown", (event) => this.walk(event));
    for (const name of ["focus", "blur"]) box.addEventListener(name, () => this.paint());
    new ResizeObserver(() => this.lay()).observe(box);
    this.repaint = () => { this.palette = null; this.paint(); };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", this.repaint);
  }

  draw(groups, now) {
    this.groups = groups;
    this.now = now;
    this.lay();
  }

  nearer(steps) {
    this.zoom = Math.min(ZOOMS.length - 1, Math.max(0, this.shownZoom + steps));
    this.lay();
    this.reveal();
  }

  lay() {
    const width = this.box.clientWidth;
    if (!width) return;
    this.shownZoom = this.zoom ?? fitting(this.groups, width, TALL);
    this.layout = new Layout(this.groups, width, this.shownZoom);
    const tall = Math.min(TALL, this.layout.height + 2);
    this.box.style.height = `${tall}px`;
    this.spacer.style.height = `${this.layout.height}px`;
    const sharp = devicePixelRatio;
    if (this.canvas.width !== Math.round(width * sharp) || this.canvas.height !== Math.round(tall * sharp)) {
      this.canvas.width = Math.round(width * sharp);
      this.canvas.height = Math.round(tall * sharp);
      this.canvas.style.width = `${width}px`;
      this.canvas.style.height = `${tall}px`;
    }
    this.current = Math.min(this.current, Math.max(0, this.layout.nodes.length - 1));
    this.say();
    this.paint();
  }

  paint() {
    if (!this.layout) return;
    this.palette ??= colours(this.probe);
    const context = this.canvas.getContext("2d");
    const top = this.box.scrollTop;
    const tall = this.box.clientHeight;
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    paint(context, this.layout, top, top + tall, this.palette, this.now, getComputedStyle(this.box).fontFamily);
    const focused = document.activeElement === this.box;
    if (this.hovered >= 0) this.ring(context, this.hovered, top);
    if (focused && this.layout.nodes.length) this.ring(context, this.current, top);
  }

  ring(context, index, top) {
    const { x, y } = this.layout.place(index);
    const { width, height } = this.layout.zoom;
    context.strokeStyle = this.palette.focus.ink;
    context.lineWidth = 2;
    context.strokeRect(x - 1, y - top - 1, width + 2, height + 2);
  }

  under(event) {
    const area = this.canvas.getBoundingClientRect();
    return this.layout ? this.layout.at(event.clientX - area.left, event.clientY - area.top + this.box.scrollTop) : -1;
  }

  hover(index) {
    if (index === this.hovered) return;
    this.hovered = index;
    this.box.classList.toggle("over", index >= 0);
    this.tip.hidden = index < 0;
    if (index >= 0) {
      this.tip.textContent = described(this.layout.nodes[index]);
      const { x, y } = this.layout.place(index);
      const wide = this.tip.offsetWidth;
      this.tip.style.left = `${Math.max(0, Math.min(x, this.box.clientWidth - wide))}px`;
      this.tip.style.top = `${y - this.box.scrollTop + this.layout.zoom.height + 6}px`;
    }
    this.paint();
  }

  choose(index) {
    this.current = index;
    this.say();
    this.open(this.layout.nodes[index].node);
  }

  /** Another element at each step, so that screen readers tell it. */
  say() {
    const node = this.layout.nodes[this.current];
    if (!node) return;
    const id = `node-option-${this.current}`;
    const text = described(node);
    if (this.option.id !== id) {
      const next = el("div", { class: "unseen", role: "option", id, "aria-selected": "true" });
      this.option.replaceWith(next);
      this.option = next;
      this.box.setAttribute("aria-activedescendant", id);
    }
    this.option.setAttribute("aria-posinset", this.current + 1);
    this.option.setAttribute("aria-setsize", this.layout.nodes.length);
    if (this.option.textContent !== text) this.option.textContent = text;
  }

  walk(event) {
    const count = this.layout?.nodes.length ?? 0;
    if (!count || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      return this.choose(this.current);
    }
    const row = this.layout.columns;
    const page = row * Math.max(1, Math.floor(this.box.clientHeight / this.layout.stepY) - 1);
    const step = {
      ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row, PageDown: page, PageUp: -page,
      Home: -this.current, End: count - 1 - this.current,
    }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    this.current = Math.min(count - 1, Math.max(0, this.current + step));
    this.say();
    this.reveal();
    this.paint();
  }

  reveal() {
    if (!this.layout?.nodes.length) return;
    const { y } = this.layout.place(this.current);
    const { height } = this.layout.zoom;
    if (y < this.box.scrollTop) this.box.scrollTop = Math.max(0, y - 4);
    else if (y + height > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = y + height - this.box.clientHeight + 4;
  }
}

export function described(node) {
  const detail = node.applied_version === node.version
    ? `version ${node.version}` : `version ${node.applied_version ?? "none"} of ${node.version}`;
  const late = node.lag_versions ? `, ${plural(node.lag_versions, "version")} behind` : "";
  return `${node.node}, ${STATES[node.state].word}, ${detail}${late}${node.reason && node.state !== "lagging" ? `: ${local(node.reason)}` : ""}`;
}
