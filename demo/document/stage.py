"""What every step of a document's story uses: the lab, the controller, and how changes and flows are told."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from demo.cloud import Controller, Process
from demo.document.model import Model, Vm, read
from demo.document.reading import Attempt, Judgement, Reading
from demo.document.site import Site
from demo.screen import Screen, paint
from lab.build import Lab
from lab.flows import Flow, Outcome
from lab.host import Host
from lab.probes import probe

_EXAMPLES = 10
_PATIENCE_S = 30.0


@dataclass(slots=True)
class Stage:
    """`vms`: those that are plugged in. `agents`: by node, those that run."""

    screen: Screen
    controller: Controller
    site: Site
    lab: Lab
    vms: tuple[Vm, ...]
    agents: dict[str, Process] = field(default_factory=dict)

    def reading(self) -> Reading:
        return Reading(self.model(), dict(self.site.outsiders))

    def model(self) -> Model:
        return read(self.controller.get("/v1/model"))

    def host(self, name: str) -> Host:
        """A VM's by its id, an outsider's by its name."""
        return self.lab[name] if name in self.site.outsiders else self.lab[self.interface(name)]

    def interface(self, vm: str) -> str:
        return next(each.interface for each in self.vms if each.id == vm)

    def stop(self) -> None:
        for agent in self.agents.values():
            agent.stop()
        self.controller.server.stop()

    # -- changes

    def in_force(self, revision: int) -> None:
        """Wait until a change is in force wherever there is an agent, and say where it is and where it is not.

        The barrier is asked for the share of nodes that live: those without an agent will never answer, and hold it for ever.
        """
        asked = self.controller.get("/v1/convergence", revision=revision)
        living = asked["affected"] - sum(late["node"] not in self.agents for late in asked["laggards"])
        if living <= 0:
            self.screen.fact(f"revision {revision}: affects no node that is built here")
            return
        barrier = self.controller.get(
            "/v1/convergence", revision=revision, wait=_PATIENCE_S, quorum=living / asked["affected"]
        )
        for one in (revision, *barrier.get("caused", ())):
            self._took(one)
        late = {each["node"]: each["state"] for each in barrier["laggards"]}
        absent = [node for node in late if node not in self.agents]
        if absent:
            states = ", ".join(sorted({late[node] for node in absent}))
            self.screen.fact(f"the barrier misses {_some(absent)}, where no agent runs")
            self.screen.outcome("what it calls them", "never-seen", states)
        missed = [f"{node} is {state}" for node, state in late.items() if node in self.agents]
        self.screen.outcome(
            f"revision {revision} in force on every node that is built here", "yes", _some(missed) if missed else "yes"
        )

    def _took(self, revision: int) -> None:
        change = self.controller.get(f"/v1/updates/{revision}")
        took = [f"{node} {found['ms']:.0f} ms" for node, found in change["nodes"].items() if found]
        cause = f", caused by {change['caused_by']}" if change.get("caused_by") else ""
        self.screen.fact(f"revision {revision}{cause}: in force after {', '.join(took)}")

    # -- flows

    def check(self, attempts: Iterable[Attempt], reading: Reading, before: Reading | None = None) -> None:
        """Try all at once; tell, by kind, how many came out as read, some by name, and those that did not.

        `before`: what was read when they were last tried; then those by name are the ones that a change has turned.
        """
        judged = {attempt: found for attempt in attempts if (found := self._judged(attempt, reading))}
        flows = {attempt: self._flow(attempt, found) for attempt, found in judged.items()}
        passing = [flows[attempt] for attempt, found in judged.items() if found.grants]
        blocked = [flows[attempt] for attempt, found in judged.items() if not found.grants]
        outcomes = probe(blocked, awaited=passing)
        groups: dict[tuple[str, bool], list[Attempt]] = {}
        for attempt, found in judged.items():
            groups.setdefault((found.kind, bool(found.grants)), []).append(attempt)
        told = max(1, _EXAMPLES // max(1, len(groups)))
        for (kind, passes), members in sorted(groups.items(), key=lambda item: (item[0][0], not item[0][1])):
            wrong = [one for one in members if not _as_read(judged[one], outcomes[flows[one]])]
            word = "pass" if passes else "blocked"
            right = len(members) - len(wrong)
            self.screen.outcome(
                f"{kind}: {'admitted' if passes else 'not admitted'}", f"{len(members)} {word}", f"{right} {word}"
            )
            others = [one for one in members if one not in wrong and (before is None or turned(one, before, reading))]
            wrong = wrong[:_EXAMPLES]
            for one in [*wrong, *others[: max(0, told - len(wrong))]]:
                self._example(one, judged[one], outcomes[flows[one]])

    def _judged(self, attempt: Attempt, reading: Reading) -> Judgement | None:
        """None for what cannot be tried: a VM that is not plugged in."""
        judged = reading.judge(attempt)
        return judged if judged and any(vm.id == judged.dst.id for vm in self.vms) else None

    def _flow(self, attempt: Attempt, judged: Judgement) -> Flow:
        message = attempt.message
        return Flow(self.host(attempt.src), self.host(judged.dst.id), attempt.address, message.protocol, message.port)

    def _example(self, attempt: Attempt, judged: Judgement, outcome: Outcome) -> None:
        mark = paint("✓", "green") if _as_read(judged, outcome) else paint("✗", "red", "bold")
        name = attempt.src if attempt.src not in self.site.outsiders else str(self.site.outsiders[attempt.src])
        by = f" by {attempt.address}" if attempt.address != judged.dst.ip else ""
        found = "passes" if outcome.passed else "blocked"
        seen = f", seen as {outcome.seen}" if outcome.seen and str(outcome.seen) != name and by else ""
        wanted = "" if outcome.seen in (None, judged.seen) else f", should be {judged.seen}"
        why = f": {judged.grants[0]}" if judged.grants else ": nothing admits it"
        self.screen.say(
            f"           {mark} {name} → {judged.dst.id}{by}  {attempt.message}  {found}{seen}{wanted}{paint(why, 'dim')}"
        )


def turned(attempt: Attempt, before: Reading, now: Reading) -> bool:
    """It passes where it did not, or the other way round, or to somebody else."""
    was, judged = before.judge(attempt), now.judge(attempt)
    return (was and (bool(was.grants), was.dst.id)) != (judged and (bool(judged.grants), judged.dst.id))


def _as_read(judged: Judgement, outcome: Outcome) -> bool:
    if not judged.grants:
        return not outcome.passed
    return outcome.passed and outcome.seen == judged.seen


def _some(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def wire_group(controller: Controller, group: str) -> dict[str, Any]:
    """A group as the model has it."""
    found: dict[str, Any] = controller.get("/v1/model")["groups"][group]
    return found
