// Zones: how far each has come.

import { by, cell, el, keyed } from "./dom.js";
import { duration, percent } from "./format.js";
import { stateMark } from "./attention.js";
import { SEVERITY } from "./format.js";

/** `zones`: of the convergence that the server tells, by name. `show(zone)`: its nodes. */
export function drawZones(zones, show) {
  const rows = Object.entries(zones ?? {}).sort(([one], [two]) => (one < two ? -1 : 1));
  by("zones").hidden = rows.length < 2;
  if (rows.length < 2) return;
  keyed(by("zones").querySelector("tbody"), rows, ([name]) => name, ([, body]) => JSON.stringify(body), ([name, { nodes, lag }]) => {
    const others = SEVERITY.filter((state) => state !== "converged" && nodes[state.replace("-", "_")]);
    return el("tr", { role: "row" },
      el("th", { role: "rowheader", scope: "row" },
        el("button", { class: "link-like", type: "button", onclick: () => show(name) }, name)),
      cell("Nodes", { class: "number" }, String(nodes.total)),
      cell("Converged", { class: "number" }, percent(nodes.converged, nodes.total)),
      cell("Not converged", { class: "states" }, ...(others.length
        ? others.flatMap((state) => [stateMark(state), ` ${nodes[state.replace("-", "_")]}  `]) : ["–"])),
      cell("Lag p50", { class: "number" }, lagOf(lag.seconds.p50)),
      cell("Lag p99", { class: "number" }, lagOf(lag.seconds.p99)),
      cell("Lag max", { class: "number" }, lagOf(lag.seconds.max)));
  });
}

const lagOf = (seconds) => (seconds ? duration(seconds * 1000) : "none");
