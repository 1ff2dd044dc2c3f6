// One node: its state, what it could not make true, what its host lacks, its instances, its view, and what it enforced when.

import { el } from "../dom.js";
import { clock, collator, duration, local, plural, stages } from "../format.js";
import { stateMark } from "../attention.js";
import { kindMark, told } from "../happenings.js";
import { facts, folded, link, table } from "./parts.js";

export class NodeDetail {
  constructor(name, ask, open) {
    this.path = `v1/nodes/${encodeURIComponent(name)}`;
    this.name = name;
    this.ask = ask;
    this.open = open;
    this.now = el("div", { class: "parts" });
    this.past = el("div", { class: "parts" });
    this.element = el("div", { class: "parts" }, this.now,
      folded("Its view: what it has to enforce", () => this.view()), this.past);
  }

  async load() {
    this.now.replaceChildren(...present(await this.ask(this.path)).filter(Boolean));
    const [history, happened] = await Promise.allSettled([
      this.ask(`${this.path}/history?limit=20`), this.ask(`v1/happenings?limit=20&node=${encodeURIComponent(this.name)}`)]);
    this.past.replaceChildren(...[
      history.status === "fulfilled" ? this.history(history.value.history) : null,
      happened.status === "fulfilled" ? befell(happened.value.happenings) : null,
    ].filter(Boolean));
  }

  async view() {
    const view = await this.ask(`${this.path}/view`);
    const groups = Object.entries(view.groups ?? {});
    return [
      table("Groups", [["Group"], ["Name"], ["Ingress rules", "number"], ["Members that it sees", "number"]], groups.map(([id, group]) =>
        [id, group.name, String(group.ingress?.length ?? 0), String(view.members?.[id]?.length ?? 0)])),
      table("Instances", [["Instance"], ["Private IP"], ["Elastic IP"], ["MAC"], ["Groups"]],
        Object.entries(view.instances ?? {}).map(([id, one]) => [id, one.private_ip, one.elastic_ip, one.mac, (one.groups ?? []).join(", ")])),
      el("details", {}, el("summary", {}, "As JSON"), el("pre", { tabindex: 0 }, JSON.stringify(view, null, 2))),
    ].filter(Boolean);
  }

  history(spans) {
    return table("What it enforced, the latest first",
      [["From"], ["Until"], ["Version", "number"], ["State"], ["Who made it so"], ["After", "number"], ["By its own clock"]],
      spans.map((one) => [
        clock(one.from), one.until ? clock(one.until) : "now",
        one.version ? link(one.version, () => this.open("change", one.version)) : "none",
        one.state === "rejected" ? `rejected ${one.attempted ?? ""}` : one.state,
        one.change?.actor, one.ms == null ? null : duration(one.ms), stages(one.timings_ms) || null,
      ]));
  }
}

const befell = (happenings) => table("What befell it", [["When"], ["What"], ["Detail", "reason"]],
  happenings.map((one) => [clock(one.at), kindMark(one.kind), told(one)]));

function present(node) {
  const report = node.report ?? {};
  const checks = report.preflight ?? [];
  const failing = checks.filter((one) => !one.ok);
  return [
    facts(
      ["State", stateMark(node.state)],
      ["Reason", node.reason && local(node.reason)],
      ["Zone", node.zone],
      ["Address", node.address],
      ["Version applied", String(node.applied_version ?? "none")],
      ["Version wanted", String(node.version)],
      ["Version attempted", node.attempted_version && node.attempted_version !== node.applied_version
        ? String(node.attempted_version) : null],
      ["Behind", node.lag_versions
        ? `${plural(node.lag_versions, "version")}, ${duration(node.lag_seconds * 1000)}` : "nothing"],
      ["Last seen", node.last_seen ? clock(node.last_seen) : "never"],
      ["Agent", report.agent?.version],
      ["Last pass", stages(report.timings_ms)],
      ["Preflight", !checks.length ? null : failing.length ? `${failing.length} of ${plural(checks.length, "check")} not met`
        : `${plural(checks.length, "check")}, all met`],
    ),
    table("What could not be made true", [["Object"], ["Stage"], ["Reason", "reason"]],
      node.failures.map((one) => [one.object, one.stage, one.reason])),
    table("What its host lacks", [["Check"], ["Weight"], ["Found", "reason"], ["Needed", "reason"], ["Remedy", "reason"]],
      failing.map((one) => [one.check, one.severity, one.found, one.needed, one.remedy ? el("code", {}, one.remedy) : null])),
    table("Instances", [["Instance"], ["Its port"]],
      Object.entries(node.instances).sort(([one], [two]) => collator.compare(one, two))),
  ];
}
