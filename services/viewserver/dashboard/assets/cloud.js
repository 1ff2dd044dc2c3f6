// What is known of the cloud, from what the server tells. Nothing is drawn here.

import { SEVERITY } from "./format.js";
import { listed, merge } from "./changes.js";

const PATIENCE_MS = 1000; // a node that is behind for less is on its way

/** Sorts as people count: nc-2 before nc-10. Comparing such keys is far cheaper than a collator, for ten thousand. */
export const natural = (name) => name.replace(/\d+/g, (digits) => digits.padStart(12, "0"));

const ascending = (one, two) => (one < two ? -1 : one > two ? 1 : 0);

export class Cloud {
  constructor() {
    this.epoch = null;
    this.nodes = new Map();
    this.changes = new Map();
    this.happenings = new Map();
    this.summary = null;
    this.older = false;
    this.coming = null; // nodes that are told after hello: they take the others' place when all are there
    this.sorted = null;
    this.ordered = null;
    this.news = 0; // grows with whatever is told of nodes
  }

  hello(body) {
    this.coming = new Map();
    if (this.epoch !== body.epoch) this.changes.clear();
    this.epoch = body.epoch;
  }

  told(body) {
    const into = this.coming ?? this.nodes;
    this.news++;
    this.ordered = null;
    for (const node of body.set) {
      const known = into.get(node.node);
      node.key = known?.key ?? natural(node.node);
      node.late = node.behind_since ? Date.parse(node.behind_since) : Infinity;
      if (!known || known.zone !== node.zone) this.sorted = null;
      into.set(node.node, node);
    }
    for (const name of body.gone) if (into.delete(name)) this.sorted = null;
  }

  convergence(body) {
    this.summary = body;
    if (!this.coming) return;
    this.nodes = this.coming;
    this.coming = this.sorted = this.ordered = null;
    this.news++;
  }

  revision(body) {
    this.changes.set(body.revision, merge(this.changes.get(body.revision), body));
  }

  progress({ revision, ...summary }) {
    const change = this.changes.get(revision);
    if (change) this.changes.set(revision, { ...change, summary: { ...change.summary, ...summary } });
  }

  listedChanges(page) {
    for (const row of page.updates) {
      if (row.epoch === this.epoch) this.changes.set(row.revision, merge(this.changes.get(row.revision), listed(row)));
    }
    this.older = page.next_before != null;
  }

  /** The newest first; no more than `most` are kept. */
  newest(most) {
    const changes = [...this.changes.values()].sort((one, two) => two.revision - one.revision);
    for (const change of changes.splice(most)) this.changes.delete(change.revision);
    return changes;
  }

  happened(body) {
    this.happenings.set(body.id, body);
  }

  lastHappenings(most) {
    const found = [...this.happenings.values()].sort((one, two) => two.id - one.id);
    for (const one of found.splice(most)) this.happenings.delete(one.id);
    return found;
  }

  /** By zone and name. Nodes come and go seldom, so this is sorted seldom. */
  inOrder() {
    if (!this.sorted) {
      const names = [...this.nodes.values()].sort((one, two) => ascending(one.zone, two.zone) || ascending(one.key, two.key));
      this.sorted = names.map((node) => node.node);
    }
    this.ordered ??= this.sorted.map((name) => this.nodes.get(name));
    return this.ordered;
  }

  /** Of all nodes: how many are in each state, how many matter and are converged, how far the furthest is behind, the worst first. */
  tally(now) {
    const states = Object.fromEntries(SEVERITY.map((state) => [state, 0]));
    const worst = [];
    let mattering = 0;
    let done = 0;
    let furthest = null;
    for (const node of this.nodes.values()) {
      states[node.state]++;
      if (!node.matters) continue;
      mattering++;
      if (node.lag_versions) {
        furthest ??= { versions: 0, since: Infinity };
        furthest.versions = Math.max(furthest.versions, node.lag_versions);
        furthest.since = Math.min(furthest.since, node.late);
      }
      if (node.state === "converged") done++;
      else if (node.state !== "lagging" || now - node.late >= PATIENCE_MS) worst.push(node);
    }
    return { states, mattering, done, furthest, worst: worst.sort(worse) };
  }
}

const RANK = Object.fromEntries(SEVERITY.map((state, place) => [state, place]));

/** The worst state first, and of one state the longest behind. */
export const worse = (one, two) =>
  RANK[one.state] - RANK[two.state] || (one.late === two.late ? 0 : one.late - two.late) || ascending(one.key, two.key);
