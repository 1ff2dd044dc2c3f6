"""Whose packets are counted."""

from collections.abc import Mapping
from dataclasses import dataclass

from nodeagent.state.ruleset import Span
from verge.contract.view import InstanceId


@dataclass(frozen=True, slots=True)
class Metered:
    """Who is counted, and what is inside."""

    instances: Mapping[int, InstanceId]
    """By address."""
    cloud: frozenset[Span]


NOBODY = Metered({}, frozenset())
