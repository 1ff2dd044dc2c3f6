"""Policy generations: the history that a ruleset keeps apart from what it wants.

An accepted flow to an instance is stamped (connection mark) with the instance's generation. A packet of a flow passes
early if its instance still has that generation; otherwise the flow is judged again, in either direction. Withdrawing
something therefore means: change the rules and the generation in one transaction. A generation is never 0 (an unstamped
flow's mark) and never used twice for an address.

One bit of the mark is not of the generation. A session that comes to a node in its midst, as by migration, begins in
connection tracking with whichever side speaks first. Where that is the instance, answering, the entry's directions are the
wrong way round, and the bit says so: the session is the instance's to judge by its ingress rules all the same. Its peer may be
on this node too, with the same generation, and the stamp says nothing of that one: so these stamps hold in a set of their own.

Which generation an address has depends on what happened before, so the desired ruleset holds none: the plan fills them in.
"""

from typing import Final

VALID: Final = "generations"
"""Set of `address . mark`: the stamps that still hold."""
VALID_REVERSED: Final = "generations_reversed"
"""Likewise those with that bit, which hold for the side that connection tracking takes for the origin."""
CURRENT: Final = "generation_of"
"""Map of address to mark: what to stamp now."""
JUDGED: Final = "vm_in"
"""Map of address to verdict whose keys are the addresses that have a generation."""
LAST: Final = 0x7FFF_FFFF
REVERSED: Final = 0x8000_0000
"""The bit of a flow whose replies connection tracking takes for its origin."""
