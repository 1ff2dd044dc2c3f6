// How states, times and counts are written.

export const STATES = {
  converged: { glyph: "✓", word: "converged" },
  lagging: { glyph: "…", word: "lagging" },
  degraded: { glyph: "!", word: "degraded" },
  rejected: { glyph: "✕", word: "rejected" },
  silent: { glyph: "○", word: "silent" },
  "never-seen": { glyph: "?", word: "never seen" },
};

/** The worst first. */
export const SEVERITY = ["rejected", "degraded", "silent", "lagging", "never-seen", "converged"];

export const collator = new Intl.Collator("en", { numeric: true });

export function duration(ms) {
  if (ms == null) return "–";
  if (ms < 10) return `${Math.max(0, ms).toFixed(ms < 1 ? 1 : 0)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 120) return `${Math.round(s)} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  return s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} days`;
}

/** For a time that goes on: whole seconds, so that it does not flicker. */
export function age(ms) {
  return duration(Math.max(0, Math.floor(ms / 1000) * 1000)).replace(/^0(\.0)? m?s$/, "0 s").replace(/\.0 s$/, " s");
}

export function clock(at) {
  const date = new Date(at);
  const time = date.toLocaleTimeString("en-GB");
  return date.toDateString() === new Date().toDateString() ? time : `${date.toLocaleDateString("en-CA")} ${time}`;
}

/** The server's words; a time in them is written as the reader's clock has it. */
export const local = (words) => words.replace(/\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)/g, (at) => clock(at));

export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

/** Never 100 % of what is not all. */
export function percent(part, whole) {
  if (!whole) return "–";
  return `${part === whole ? 100 : (Math.floor((part / whole) * 1000) / 10).toFixed(1)} %`;
}

export function some(names, most, count = names.length) {
  const shown = names.slice(0, most).join(", ");
  return count > most ? `${shown} and ${count - Math.min(most, names.length)} more` : shown;
}

const STAGES = ["fetch", "plan", "apply", "verify"];

/** Milliseconds by stage, in the order in which they pass. */
export function stages(timings) {
  const place = (stage) => (STAGES.includes(stage) ? STAGES.indexOf(stage) : STAGES.length);
  return Object.entries(timings ?? {}).sort(([one], [two]) => place(one) - place(two))
    .map(([stage, ms]) => `${stage} ${duration(ms)}`).join(", ");
}
