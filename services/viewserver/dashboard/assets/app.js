// The page: who is signed in, what the server tells, and when to draw it.

import { by, grow } from "./dom.js";
import { age } from "./format.js";
import { Feed, get } from "./feed.js";
import { askForToken, keep, kept, onSignIn, show } from "./signin.js";
import { Cloud } from "./cloud.js";
import { drawHeadline, lagNow } from "./headline.js";
import { drawAttention, drawFences } from "./attention.js";
import { Nodes } from "./nodes.js";
import { drawZones } from "./zones.js";
import { drawChanges } from "./changes.js";
import { Happenings } from "./happenings.js";
import { LastHour, repaint } from "./charts.js";
import { closeDetail, openDetail, touched } from "./details/dialog.js";
import { onTheme } from "./theme.js";

const PAGE = 30;
const KEPT_HAPPENINGS = 200;
const REST = 8; // after a drawing, that many times what it took: the page stays usable whatever the size of the cloud
const SUMMARIES_MS = 5000;

let token = null;
let feed = null;
let offset = 0; // the server's clock less this one's
let heardAt = 0;
let state = "loading"; // "live", "away"
let cloud = new Cloud();
let most = PAGE;
let pending = null;
let restUntil = 0;
let summariesAt = 0;

const open = (kind, key) => openDetail(kind, key, token);
const openNode = (name) => open("node", name);
const nodes = new Nodes(openNode, () => draw(true));
const happenings = new Happenings(open, () => draw(true));
const hour = new LastHour();

const serverNow = () => Date.now() + offset;

// --- signing in ---

function connect(candidate) {
  feed?.stop();
  token = candidate;
  feed = new Feed(candidate, {
    open() {
      keep(candidate);
      state = "live";
      heardAt = Date.now();
      show(true);
      draw(true);
    },
    away() {
      if (by("cloud").hidden && !kept()) {
        by("token-fault").textContent = "The view server does not answer. Trying again…";
      } else {
        state = "away";
        show(true);
        draw(true);
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
  closeDetail();
  clear();
  askForToken(why);
}

/** Nothing of the cloud stays in the page. */
function clear() {
  cloud = new Cloud();
  most = PAGE;
  nodes.clear();
  hour.clear();
  for (const body of document.querySelectorAll("tbody")) body.replaceChildren();
  for (const list of document.querySelectorAll("#figures, #fences ul, #scale")) list.replaceChildren();
  for (const id of ["headline", "subline", "spoken", "link", "shown"]) by(id).textContent = "";
}

onSignIn(connect);
by("sign-out").addEventListener("click", () => signOut(""));

// --- what the server tells ---

const HEARD = {
  hello(body) {
    beat(body);
    cloud.hello(body);
    load();
    hour.load(token);
  },
  nodes(body) {
    cloud.told(body);
    for (const { node } of body.set) touched("node", node);
  },
  revision: (body) => cloud.revision(body),
  progress(body) {
    cloud.progress(body);
    touched("change", body.revision);
  },
  happening: (body) => cloud.happened(body),
  convergence: (body) => cloud.convergence(body),
  beat,
};

function hear(name, body) {
  heardAt = Date.now();
  HEARD[name]?.(body);
  draw();
}

function beat(body) {
  offset = Date.parse(body.at) - Date.now();
  if (cloud.summary && "stale_s" in body) cloud.summary.stale_s = body.stale_s;
}

/** What was before this page. */
async function load() {
  const asked = cloud;
  const [updates, happened] = await Promise.allSettled([
    get(token, `v1/updates?limit=${PAGE}`), get(token, `v1/happenings?limit=${KEPT_HAPPENINGS}`)]);
  // a failure: the server went away, and hello comes again
  if (updates.status === "fulfilled") asked.listedChanges(updates.value);
  if (happened.status === "fulfilled") for (const one of happened.value.happenings) asked.happened(one);
  draw();
}

async function loadOlder() {
  most += PAGE;
  cloud.listedChanges(await get(token, `v1/updates?limit=${PAGE}&before=${Math.min(...cloud.changes.keys())}`));
  draw(true);
}

by("older").addEventListener("click", () => loadOlder().catch(() => {}));

/** When nodes were told of a change is not told live: it is asked for, now and then, while there are changes without it. */
function completeSummaries(changes) {
  const lacking = changes.slice(0, PAGE).some(({ summary }) => summary?.applied && !summary.told_ms?.p50);
  if (!lacking || state !== "live" || Date.now() - summariesAt < SUMMARIES_MS) return;
  summariesAt = Date.now();
  const asked = cloud;
  get(token, `v1/updates?limit=${PAGE}`).then((page) => { asked.listedChanges(page); draw(); }, () => {});
}

// --- drawing ---

/** Soon; `atOnce`: somebody waits for it. */
function draw(atOnce = false) {
  if (by("cloud").hidden || (pending && !atOnce)) return;
  clearTimeout(pending);
  pending = setTimeout(() => requestAnimationFrame(drawNow), atOnce ? 0 : Math.max(0, restUntil - performance.now()));
}

function drawNow() {
  pending = null;
  if (!token) return;
  const began = performance.now();
  drawLink();
  if (cloud.summary && !(cloud.coming && !cloud.nodes.size)) drawCloud();
  const done = performance.now();
  restUntil = done + REST * (done - began);
}

function drawCloud() {
  const now = state === "live" ? serverNow() : heardAt + offset;
  const tally = cloud.tally(now);
  const changes = cloud.newest(most);
  drawHeadline({ summary: cloud.summary, tally, changes, now });
  drawAttention(tally.worst, openNode);
  drawFences(cloud.summary.fences);
  drawZones(cloud.summary.zones, (zone) => { nodes.show(zone); });
  nodes.draw(cloud.inOrder(), cloud.news, tally, now);
  drawChanges(changes, cloud.nodes, (number) => open("change", number));
  by("older").hidden = !cloud.older;
  happenings.draw(cloud.lastHappenings(KEPT_HAPPENINGS));
  if (state === "live") hour.keepUp(token, tally, lagNow(tally, now).seconds);
  completeSummaries(changes);
  grow(now);
}

function drawLink() {
  const away = state === "away";
  const stale = cloud.summary?.stale_s ?? 0;
  const old = Math.max(0, Date.now() - heardAt);
  by("link").dataset.state = away ? "away" : stale ? "stale" : "live";
  by("link").textContent = away ? "○ reconnecting" : stale ? "! stale" : "● live";
  by("cloud").classList.toggle("old", away);
  const notice = by("away");
  notice.hidden = !away && !stale;
  const text = away ? "The view server does not answer. Trying again…"
    : "The view server has lost Postgres: it serves the views it has, and refuses changes.";
  const [words, when] = notice.children;
  if (words.textContent !== text) words.textContent = text;
  when.textContent = away ? (heardAt ? ` What you see was true ${age(old)} ago.` : "") : ` For ${age(stale * 1000)}.`;
}

onTheme(() => {
  nodes.drawings.canvas.repaint();
  repaint();
});
setInterval(draw, 1000); // ages grow

if (kept()) {
  show(true);
  connect(kept());
} else {
  show(false);
  by("token").focus();
}
