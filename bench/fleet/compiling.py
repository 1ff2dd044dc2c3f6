"""From a change to the nodes it touches and what they are told, in the server's own functions and without any I/O.

Processor time of this process, since on a shared machine the clock measures the neighbours.
"""

from __future__ import annotations

import gc
import random
import time
from datetime import UTC, datetime
from typing import Any

from bench.fleet.latency import marks
from bench.fleet.model import Size, cloud, rule_change
from bench.node.figures import Figure
from viewserver.bases import Bases
from viewserver.compile.held import Held
from viewserver.model.change import Change
from viewserver.model.network import Network
from viewserver.model.updates import Applied, apply, parse
from viewserver.model.whole import replacement
from viewserver.update import evaluate


def measure(sizes: list[Size], changes: int) -> tuple[list[Figure], dict[str, Any]]:
    figures, details, costs = [], {}, []
    for size in sizes:
        name = f"{size.instances:,} instances, {size.placement}"
        rows = _of(size, changes)
        details |= {f"{name}: {what}": row for what, row in rows.items()}
        fifty = rows["a rule of a group on 50 nodes"]
        costs.append(fifty["event_ms_p50"])
        figures += [
            Figure(
                f"{name}: event to affected set and fragments, 50 nodes, p99", fifty["event_ms_p99"], "ms", at_most=1
            ),
            Figure(f"{name}: one answer", fifty["answer_us"], "us", at_most=20),
        ]
    for size, cost in zip(sizes[1:], costs[1:], strict=True):
        name = f"{size.instances:,} instances, {size.placement}"
        figures.append(
            Figure(f"{name}: as many times the cost at {sizes[0].instances:,}", cost / costs[0], "x", at_most=2)
        )
    return figures, details


def _of(size: Size, changes: int) -> dict[str, dict[str, float]]:
    model = cloud(size)
    applied = apply(Network(), replacement(model, Network(), force=True))
    if not isinstance(applied, Applied):
        raise RuntimeError(f"the generated cloud is faulty: {applied.faults[:3]}")
    walk = _Walk(Held.of(1, 1, applied.network, {}))
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 1000)
    chance = random.Random(2)
    keys = chance.sample(sorted(model["instances"]), min(changes, len(model["instances"])))
    return {
        "a rule of a group on 50 nodes": walk.over([rule_change("sg-on-50", number) for number in range(changes)]),
        "a rule of any group": walk.over(
            [rule_change(f"sg-{chance.randrange(size.groups)}", number) for number in range(changes)]
        ),
        "an instance stops": walk.over(
            [
                {
                    "op": "put",
                    "kind": "instance",
                    "id": key,
                    "value": model["instances"][key] | {"node": None, "zone": "zone-a"},
                }
                for key in keys
            ]
        ),
    }


class _Walk:
    def __init__(self, held: Held) -> None:
        self._held = held
        self._bases = Bases(held)

    def over(self, operations: list[dict[str, Any]]) -> dict[str, float]:
        """One change after the other, each told to all whom it touches."""
        events, answers, touched = [], [], []
        for operation in operations:
            parsed, before = parse([operation]), self._held
            began = time.process_time()
            outcome = evaluate(before.derived, parsed, before.revision + 1, lambda _: 0)
            change = Change(before.revision + 1, 1, datetime.now(UTC), "bench", outcome.changed, outcome.affected)
            self._held = before.committed(change, outcome.derived)
            self._bases.add(self._held, change.at)
            first = True
            for node in outcome.affected:
                was, now = before.etag(node), self._held.etag(node)
                assert was is not None
                assert now is not None
                if first:  # the fragments; the others share them
                    self._bases.delta(node, was, now)
                    events.append((time.process_time() - began) * 1000)
                    first, began = False, time.process_time()
                self._bases.delta(node, was, now)
            if outcome.affected:
                touched.append(len(outcome.affected))
                answers.append((time.process_time() - began) * 1e6 / len(outcome.affected))
        event = marks(events)
        return {
            "nodes": marks(touched).p50,
            "event_ms_p50": round(event.p50, 3),
            "event_ms_p99": round(event.p99, 3),
            "answer_us": round(marks(answers).p50, 1),
        }
