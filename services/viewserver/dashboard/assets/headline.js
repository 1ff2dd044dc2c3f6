// The whole cloud in a line, and its figures.

import { by, el, keyed } from "./dom.js";
import { age, duration, percent, plural, some, STATES } from "./format.js";

let spokenAt = 0;

export function drawHeadline({ summary, tally, changes, now }) {
  const { worst, mattering, done } = tally;
  const head = summary.revision;
  const text = !mattering ? "No node has been seen yet"
    : done === mattering ? `Converged: revision ${head} is in force on ${mattering === 1 ? "the one node" : `all ${mattering} nodes`}`
    : `${done} of ${plural(mattering, "node")} converged at revision ${head}`;
  const why = worst.length
    ? some(worst.slice(0, 3).map((node) => `${node.node} ${node.state === "rejected" ? "rejected its view" : `is ${STATES[node.state].word}`}`), 3, worst.length)
    : done < mattering ? "The last change is on its way."
    : mattering ? "No node is behind, silent, or had to refuse anything." : "";
  by("headline").textContent = text;
  by("subline").textContent = why;
  document.title = `${worst.length ? `(${worst.length}) ` : ""}Verge`;
  by("cloud").dataset.mood = worst.length ? "bad" : "good";
  speak(worst.length ? `${text}. ${why}` : text.replace(/revision \d+/, "the head revision"));
  const last = changes.find(({ summary: one }) => one?.affected && one.applied >= one.affected && !one.exceptions?.length);
  const { seconds, versions } = lagNow(tally, now);
  drawFigures([
    ["Converged", percent(done, mattering), `${done} of ${plural(mattering, "node")}`],
    ["Head revision", String(head), `epoch ${summary.epoch}`],
    ["Lag now", versions ? age(seconds * 1000) : "none", versions ? `${plural(versions, "version")}, furthest behind` : "every node is at the head"],
    ["Last change in force after", last ? duration(last.summary.ms.max) : "–",
      last ? `revision ${last.revision}, on ${plural(last.summary.affected, "node")}` : ""],
    ["Fences waiting", String(summary.fences.length), ""],
  ]);
}

/** Of the node that is furthest behind. */
export function lagNow({ furthest }, now) {
  return furthest ? { versions: furthest.versions, seconds: Math.max(0, (now - furthest.since) / 1000) } : { versions: 0, seconds: 0 };
}

function drawFigures(figures) {
  keyed(by("figures"), figures, ([name]) => name, ([, value, note]) => `${value}\n${note}`, ([name, value, note]) =>
    el("div", {}, el("dt", {}, name), el("dd", {}, value), note ? el("dd", { class: "hint" }, note) : null));
}

/** Screen readers hear the headline when what it says changes, and not more often than every five seconds. */
function speak(text) {
  if (by("spoken").textContent === text || Date.now() - spokenAt < 5000) return;
  spokenAt = Date.now();
  by("spoken").textContent = text;
}
