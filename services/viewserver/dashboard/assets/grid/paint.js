// A node's cell on a canvas. A state shows by its shape as well as by its colour, from six pixels on:
//
//     converged   filled, quietly          rejected    filled, crossed out
//     lagging     filled from below,       silent      an outline
//                 the further behind       never seen  a dot
//                 the higher               degraded    filled, one corner cut

import { HEADING } from "./layout.js";

/** How far a node is behind, in steps that can be told apart. */
export const STEPS_MS = [1000, 10_000];

export function lagStep(node, now) {
  const ms = now - node.late;
  return ms < STEPS_MS[0] ? 0 : ms < STEPS_MS[1] ? 1 : 2;
}

/** The page's own colours, as they are at present: by state its ink and its background; and text, soft, focus, panel. */
export function colours(probe) {
  const found = {};
  for (const one of probe.children) {
    const { color, backgroundColor } = getComputedStyle(one);
    found[one.dataset.state ?? one.dataset.colour] = { ink: color, back: backgroundColor };
  }
  return found;
}

/** Draws what is between `top` and `bottom` of the layout, moved up by `top`. */
export function paint(context, layout, top, bottom, palette, now, font) {
  const { width, height, named } = layout.zoom;
  const byState = new Map();
  for (const { block, from, until } of layout.seen(top, bottom)) {
    if (block.title) heading(context, block, top, palette, font);
    for (let index = from; index < until; index++) {
      const node = layout.nodes[index];
      const within = index - block.first;
      const cell = {
        node,
        x: (within % layout.columns) * layout.stepX,
        y: block.cells + Math.floor(within / layout.columns) * layout.stepY - top,
      };
      const cells = byState.get(node.state);
      if (cells) cells.push(cell);
      else byState.set(node.state, [cell]);
    }
  }
  for (const [state, cells] of byState) {
    SHAPES[state](context, cells, named ? height : width, height, palette[state], palette.panel.ink, now);
  }
  if (named) names(context, byState, width, height, palette, font);
}

function heading(context, block, top, palette, font) {
  context.font = `600 13px ${font}`;
  context.textBaseline = "alphabetic";
  context.fillStyle = palette.soft.ink;
  context.fillText(block.title, 0, block.top - top + HEADING - 8);
}

function names(context, byState, width, height, palette, font) {
  context.font = `12px ${font}`;
  context.textBaseline = "middle";
  context.fillStyle = palette.text.ink;
  for (const cells of byState.values()) {
    for (const { node, x, y } of cells) context.fillText(cut(node.node), x + height + 5, y + height / 2 + 1, width - height - 5);
  }
}

const cut = (name) => (name.length > 14 ? `${name.slice(0, 6)}…${name.slice(-7)}` : name);

function filled(context, cells, width, height, colour) {
  context.fillStyle = colour;
  for (const { x, y } of cells) context.fillRect(x, y, width, height);
}

function lines(context, cells, colour, thick, trace) {
  context.strokeStyle = colour;
  context.lineWidth = thick;
  context.beginPath();
  for (const { x, y } of cells) trace(x, y);
  context.stroke();
}

const QUIET = 0.4;
const SHAPES = {
  converged(context, cells, width, height, { ink }) {
    context.globalAlpha = QUIET;
    filled(context, cells, width, height, ink);
    context.globalAlpha = 1;
  },
  lagging(context, cells, width, height, { ink, back }, panel, now) {
    filled(context, cells, width, height, back);
    context.fillStyle = ink;
    for (const { node, x, y } of cells) {
      const part = Math.round((height * (lagStep(node, now) + 1)) / 3);
      context.fillRect(x, y + height - part, width, part);
    }
  },
  degraded(context, cells, width, height, { ink }, panel) {
    filled(context, cells, width, height, ink);
    context.fillStyle = panel;
    context.beginPath();
    for (const { x, y } of cells) {
      context.moveTo(x + width * 0.4, y);
      context.lineTo(x + width, y);
      context.lineTo(x + width, y + height * 0.6);
      context.closePath();
    }
    context.fill();
  },
  rejected(context, cells, width, height, { ink }, panel) {
    filled(context, cells, width, height, ink);
    lines(context, cells, panel, Math.max(1, width / 9), (x, y) => {
      context.moveTo(x + 1, y + 1);
      context.lineTo(x + width - 1, y + height - 1);
      context.moveTo(x + width - 1, y + 1);
      context.lineTo(x + 1, y + height - 1);
    });
  },
  silent(context, cells, width, height, { ink }) {
    const thick = Math.max(1.5, width / 8);
    lines(context, cells, ink, thick, (x, y) => context.rect(x + thick / 2, y + thick / 2, width - thick, height - thick));
  },
  "never-seen"(context, cells, width, height, { ink }) {
    const part = Math.max(2, Math.round(width / 3));
    context.fillStyle = ink;
    for (const { x, y } of cells) context.fillRect(x + (width - part) / 2, y + (height - part) / 2, part, part);
  },
};
