"""What the view server makes of a cloud's operations, without its processes: the update, the compile, the rendering."""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from tests.oracle.objects import Operation
from verge.contract.view import View
from viewserver.compile.derived import Derived
from viewserver.model import updates
from viewserver.model.network import Network


def accepted(operations: Iterable[Operation], before: Network | None = None) -> Network:
    """The network after one update with these operations. An update that is refused is the test's mistake."""
    outcome = updates.apply(before or Network(), updates.parse(list(operations)))
    assert isinstance(outcome, updates.Applied), [fault.to_wire() for fault in outcome.faults]
    return outcome.network


def views(operations: Iterable[Operation]) -> dict[str, View]:
    """Node → the view as it is served and read back."""
    derived = Derived.of(accepted(operations))
    return {node: View.parse(orjson.loads(derived.render(node))) for node in derived.digests}
