// One node, or one change, in a dialog. Asked for when it is opened, and again when an event tells of it.

import { by, el } from "../dom.js";
import { get } from "../feed.js";
import { ChangeDetail } from "./change.js";
import { NodeDetail } from "./node.js";

const AGAIN_MS = 700;
let shown = null; // {kind, key, token, detail}
let again = null;

export function openDetail(kind, key, token) {
  shown?.detail.end?.();
  const ask = (path) => get(token, path);
  const detail = kind === "node" ? new NodeDetail(key, ask, openAlso) : new ChangeDetail(key, ask, openAlso);
  shown = { kind, key: String(key), token, detail };
  by("detail-title").textContent = kind === "node" ? key : `Revision ${key}`;
  by("detail-body").replaceChildren(el("p", { class: "hint", id: "detail-wait" }, "Loading…"), detail.element);
  if (!by("detail").open) by("detail").showModal();
  else by("detail-title").focus();
  by("detail").scrollTop = 0;
  load();
}

/** From within: a change of a node's history, a node of a change. */
const openAlso = (kind, key) => { if (shown) openDetail(kind, key, shown.token); };

export function closeDetail() {
  if (by("detail").open) by("detail").close();
}

by("detail").addEventListener("close", () => {
  shown?.detail.end?.();
  shown = null;
  by("detail-body").replaceChildren();
});
by("detail-close").addEventListener("click", closeDetail);
by("detail").addEventListener("click", (event) => { if (event.target === by("detail")) closeDetail(); });

/** Something happened to this node or change: look again, if it is the one that is open. */
export function touched(kind, key) {
  if (shown?.kind !== kind || shown.key !== String(key) || again) return;
  again = setTimeout(() => { again = null; if (shown) load(); }, AGAIN_MS);
}

async function load() {
  const mine = shown;
  try {
    await mine.detail.load();
    if (shown === mine) by("detail-wait")?.remove();
  } catch (error) {
    if (shown !== mine) return;
    by("detail-wait")?.remove();
    mine.detail.element.replaceChildren(el("p", { class: "fault" }, `This could not be read: ${error.message}`));
  }
}
