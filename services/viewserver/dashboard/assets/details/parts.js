// What details are made of.

import { cell, el } from "../dom.js";

export const facts = (...pairs) => el("dl", { class: "facts" },
  ...pairs.filter(([, value]) => value != null && value !== "").flatMap(([name, value]) =>
    [el("dt", {}, name), el("dd", {}, ...[value].flat())]));

/** `columns`: [[title, class]]; a cell that is a list is several children. */
export function table(title, columns, rows) {
  if (!rows.length) return null;
  return el("section", {}, el("h3", {}, title),
    el("table", { class: "stack", role: "table", "aria-label": title },
      el("thead", { role: "rowgroup" }, el("tr", { role: "row" },
        ...columns.map(([name, kind]) => el("th", { role: "columnheader", scope: "col", class: kind }, name)))),
      el("tbody", { role: "rowgroup" }, ...rows.map((row) => el("tr", { role: "row" },
        ...row.map((value, index) => cell(columns[index][0], { class: columns[index][1] }, ...[value ?? "–"].flat())))))));
}

export const link = (words, onclick) => el("button", { class: "link-like", type: "button", onclick }, String(words));

/** Closed at first; filled when it is opened. Says why if it cannot be. */
export function folded(title, fill) {
  const body = el("div", { class: "folded" });
  const details = el("details", {}, el("summary", {}, title), body);
  details.addEventListener("toggle", async () => {
    if (!details.open || body.childElementCount) return;
    body.replaceChildren(el("p", { class: "hint" }, "Loading…"));
    try {
      body.replaceChildren(...(await fill()));
    } catch (error) {
      body.replaceChildren(el("p", { class: "fault" }, `This could not be read: ${error.message}`));
    }
  });
  return details;
}
