// What befell nodes and addresses: drift, fences, rejections, preflight, silence. The newest first.

import { by, cell, el, keyed, since } from "./dom.js";
import { clock, duration, local } from "./format.js";

export const KINDS = {
  rejected: { glyph: "✕", word: "rejected", tone: "bad" },
  degraded: { glyph: "!", word: "degraded", tone: "part" },
  accepted: { glyph: "✓", word: "accepted", tone: "good" },
  "drift-repaired": { glyph: "↺", word: "drift repaired", tone: "part" },
  "sessions-cut": { glyph: "⊘", word: "sessions cut", tone: "plain" },
  "preflight-failed": { glyph: "✕", word: "preflight failed", tone: "bad" },
  "preflight-mended": { glyph: "✓", word: "preflight mended", tone: "good" },
  "fence-raised": { glyph: "▮", word: "fence raised", tone: "late" },
  "fence-lifted": { glyph: "▯", word: "fence lifted", tone: "good" },
  "fence-broken": { glyph: "!", word: "fence broken", tone: "bad" },
  silent: { glyph: "○", word: "silent", tone: "gone" },
  back: { glyph: "●", word: "back", tone: "good" },
};
const GROUPS = {
  rejections: ["rejected", "degraded", "accepted"],
  drift: ["drift-repaired"],
  fences: ["fence-raised", "fence-lifted", "fence-broken"],
  preflight: ["preflight-failed", "preflight-mended"],
  silence: ["silent", "back"],
  sessions: ["sessions-cut"],
};
const MOST_ROWS = 12;

export function kindMark(kind) {
  const { glyph, word, tone } = KINDS[kind] ?? { glyph: "·", word: kind, tone: "plain" };
  return el("span", { class: "kind", "data-tone": tone }, el("span", { "aria-hidden": "true" }, glyph), ` ${word}`);
}

/** What was done to whom, and by whom; how long it took, where that is known. */
export function told(happening) {
  const { more } = happening;
  const notes = [
    happening.culprit ? `by ${happening.culprit}` : null,
    more?.repaired_ms != null ? `repaired in ${duration(more.repaired_ms)}` : null,
    more?.silent_s != null ? `after ${duration(more.silent_s * 1000)}` : null,
    more?.remedy ? `remedy: ${more.remedy}` : null,
  ].filter(Boolean);
  return [local(happening.what ?? ""), notes.length ? el("span", { class: "hint" }, ` ${notes.join(", ")}`) : null];
}

export class Happenings {
  constructor(open, changed) {
    this.open = open;
    by("by-kind").addEventListener("change", changed);
  }

  draw(happenings) {
    by("happenings").hidden = !happenings.length;
    const wanted = GROUPS[by("by-kind").value];
    const shown = happenings.filter(({ kind }) => !wanted || wanted.includes(kind)).slice(0, MOST_ROWS);
    by("no-happenings").hidden = shown.length > 0;
    by("happenings").querySelector("table").hidden = !shown.length;
    keyed(by("happenings").querySelector("tbody"), shown, (one) => one.id, () => "", (one) => el("tr", { role: "row" },
      cell("When", { class: "when" }, el("time", { datetime: one.at }, clock(one.at)), " ", el("span", { class: "hint" }, since(one.at, " ago"))),
      cell("What", {}, kindMark(one.kind)),
      cell("Node", {}, one.node
        ? el("button", { class: "link-like", type: "button", onclick: () => this.open("node", one.node) }, one.node) : "–"),
      cell("Detail", { class: "reason" }, ...told(one)),
      cell("Revision", { class: "number" }, one.revision
        ? el("button", { class: "link-like", type: "button", onclick: () => this.open("change", one.revision) }, String(one.revision)) : "–")));
  }
}
