// The page: who is signed in, what is known of the cloud, and drawing it.

import { by, el, grow, keyed } from "./dom.js";
import { age, collator, duration, percent, plural, some, STATES } from "./format.js";
import { Feed, get } from "./feed.js";
import { drawAttention, drawLegend, drawNodes, lag } from "./nodes.js";
import { drawChanges, listed, merge } from "./changes.js";
import { closeDetail, openDetail, touched } from "./details.js";

const KEY = "verge-token"; // in sessionStorage: this tab's, gone when it is closed
const PAGE = 30;

let token = null;
let feed = null;
let offset = 0; // the server's clock less this one's
let heardAt = 0;
let state = "loading"; // "live", "away"
let cloud = empty();
let drawing = false;
let spokenAt = 0;

function empty() {
  return { epoch: null, nodes: new Map(), changes: new Map(), summary: null, most: PAGE, older: false };
}

const serverNow = () => Date.now() + offset;

// --- signing in ---

function show(signedIn) {
  by("sign-in").hidden = signedIn;
  by("cloud").hidden = !signedIn;
  by("sign-out").hidden = !signedIn;
  by("link").hidden = !signedIn;
}

function connect(candidate) {
  token = candidate;
  feed = new Feed(candidate, {
    open() {
      sessionStorage.setItem(KEY, candidate);
      state = "live";
      heardAt = Date.now();
      show(true);
      draw();
    },
    away() {
      if (by("cloud").hidden && !sessionStorage.getItem(KEY)) {
        by("token-fault").textContent = "The view server does not answer. Trying again…";
      } else {
        state = "away";
        show(true);
        draw();
      }
    },
    refused: (words) => signOut(`This token was refused: ${words}`),
    event: hear,
  });
  feed.run();
}

function signOut(why) {
  feed?.stop();
  feed = token = null;
  sessionStorage.removeItem(KEY);
  closeDetail();
  cloud = empty();
  clear();
  show(false);
  document.title = "Verge";
  by("token-fault").textContent = why;
  by("token").value = "";
  by("token").focus();
}

/** Nothing of the cloud stays in the page. */
function clear() {
  for (const id of ["nodes", "legend", "figures"]) by(id).replaceChildren();
  for (const body of document.querySelectorAll("tbody")) body.replaceChildren();
  for (const id of ["headline", "subline", "spoken", "link"]) by(id).textContent = "";
}

by("sign-in").querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  by("token-fault").textContent = "";
  feed?.stop();
  connect(by("token").value.trim());
});
by("sign-out").addEventListener("click", () => signOut(""));

// --- what the server tells ---

function hear(name, body) {
  heardAt = Date.now();
  ({ hello, nodes, revision, progress, convergence, beat })[name]?.(body);
  draw();
}

function hello(body) {
  beat(body);
  cloud.nodes.clear();
  if (cloud.epoch !== body.epoch) cloud.changes.clear();
  cloud.epoch = body.epoch;
  load();
}

function beat(body) {
  offset = Date.parse(body.at) - Date.now();
  if (cloud.summary && "stale_s" in body) cloud.summary.stale_s = body.stale_s;
}

function nodes(body) {
  for (const node of body.set) {
    cloud.nodes.set(node.node, node);
    touched("node", node.node);
  }
  for (const name of body.gone) cloud.nodes.delete(name);
}

function revision(body) {
  cloud.changes.set(body.revision, merge(cloud.changes.get(body.revision), body));
}

function progress({ revision: number, ...summary }) {
  const change = cloud.changes.get(number);
  if (change) cloud.changes.set(number, { ...change, summary });
  touched("change", number);
}

function convergence(body) {
  cloud.summary = body;
}

/** Changes that were before this page; `before`: only older ones. */
async function load(before = null) {
  try {
    const page = await get(token, `v1/updates?limit=${PAGE}${before ? `&before=${before}` : ""}`);
    for (const row of page.updates) {
      if (row.epoch === cloud.epoch) cloud.changes.set(row.revision, merge(cloud.changes.get(row.revision), listed(row)));
    }
    cloud.older = page.next_before != null;
    draw();
  } catch { /* the server went away: hello comes again */ }
}

by("older").addEventListener("click", () => {
  cloud.most += PAGE;
  load(Math.min(...cloud.changes.keys()));
});

// --- drawing ---

function draw() {
  if (drawing || by("cloud").hidden) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    if (!token) return;
    drawLink();
    if (cloud.summary) drawCloud();
  });
}

function drawCloud() {
  const now = state === "live" ? serverNow() : heardAt + offset;
  const all = [...cloud.nodes.values()].sort((one, two) => collator.compare(one.node, two.node));
  const openNode = (name) => openDetail("node", name, token);
  const worst = drawAttention(all, now, openNode);
  drawNodes(all, now, openNode);
  drawLegend(all);
  const changes = [...cloud.changes.values()].sort((one, two) => two.revision - one.revision);
  for (const change of changes.splice(cloud.most)) cloud.changes.delete(change.revision);
  drawChanges(changes, cloud.nodes, (number) => openDetail("change", number, token));
  by("older").hidden = !cloud.older;
  drawFences();
  drawHeadline(all, worst, changes, now);
  grow(now);
}

function drawHeadline(all, worst, changes, now) {
  const mattering = all.filter((node) => node.matters);
  const done = mattering.filter((node) => node.state === "converged").length;
  const head = cloud.summary.revision;
  const text = !mattering.length ? "No node has been seen yet"
    : done === mattering.length ? `Converged: revision ${head} is in force on ${mattering.length === 1 ? "the one node" : `all ${mattering.length} nodes`}`
    : `${done} of ${plural(mattering.length, "node")} converged at revision ${head}`;
  const why = worst.length
    ? some(worst.map((node) => `${node.node} ${node.state === "rejected" ? "rejected its view" : `is ${STATES[node.state].word}`}`), 3)
    : done < mattering.length ? "The last change is on its way."
    : mattering.length ? "No node is behind, silent, or had to refuse anything." : "";
  by("headline").textContent = text;
  by("subline").textContent = why;
  document.title = `${worst.length ? `(${worst.length}) ` : ""}Verge`;
  by("cloud").dataset.mood = worst.length ? "bad" : "good";
  speak(worst.length ? `${text}. ${why}` : text.replace(/ revision \d+/, ""));
  const last = changes.find(({ summary }) =>
    summary?.affected && summary.applied >= summary.affected && !summary.exceptions?.length);
  drawFigures([
    ["Converged", percent(done, mattering.length), `${done} of ${plural(mattering.length, "node")}`],
    ["Head revision", String(head), `epoch ${cloud.summary.epoch}`],
    ["Furthest behind", lag(all, now).text, ""],
    ["Last change in force after", last ? duration(last.summary.ms.max) : "–", last ? `revision ${last.revision}, on ${plural(last.summary.affected, "node")}` : ""],
    ["Fences waiting", String(cloud.summary.fences.length), ""],
  ]);
}

function drawFigures(figures) {
  keyed(by("figures"), figures, ([name]) => name, ([, value, note]) => `${value}\n${note}`, ([name, value, note]) =>
    el("div", {}, el("dt", {}, name), el("dd", {}, value), note ? el("dd", { class: "hint" }, note) : null));
}

/** Screen readers hear the headline when what it says changes, and not more often than every two seconds. */
function speak(text) {
  if (by("spoken").textContent === text || Date.now() - spokenAt < 2000) return;
  spokenAt = Date.now();
  by("spoken").textContent = text;
}

function drawFences() {
  const { fences } = cloud.summary;
  by("fences").hidden = !fences.length;
  keyed(by("fences").querySelector("ul"), fences, (fence) => fence.address, (fence) => `${fence.from} ${fence.since}`, (fence) =>
    el("li", {}, el("strong", {}, fence.address), ` waits for ${fence.from}`,
      fence.since ? el("span", { class: "hint" }, ` since revision ${fence.since}`) : null));
}

function drawLink() {
  const away = state === "away";
  const stale = cloud.summary?.stale_s ?? 0;
  const old = Math.max(0, Date.now() - heardAt);
  by("link").dataset.state = away ? "away" : stale ? "stale" : "live";
  by("link").textContent = away ? "○ away" : stale ? "! stale" : "● live";
  by("cloud").classList.toggle("old", away);
  const notice = by("away");
  notice.hidden = !away && !stale;
  const text = away ? "The view server does not answer. Trying again…"
    : "The view server has lost Postgres: it serves the views it has, and refuses changes.";
  const [words, when] = notice.children;
  if (words.textContent !== text) words.textContent = text;
  when.textContent = away ? (heardAt ? ` What you see was true ${age(old)} ago.` : "") : ` For ${age(stale * 1000)}.`;
}

setInterval(draw, 1000); // ages grow

const kept = sessionStorage.getItem(KEY);
if (kept) {
  show(true);
  connect(kept);
} else {
  show(false);
  by("token").focus();
}
