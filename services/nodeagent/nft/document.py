"""A whole ruleset as nft(8) reads and people read it."""

from collections.abc import Iterable, Iterator

from nodeagent.desired import closed
from nodeagent.nft import text
from nodeagent.nft.changes import AddChain, AddRule, AddTable, Change
from nodeagent.nft.transaction import transaction
from nodeagent.state import ownership
from nodeagent.state.ruleset import Map, Ruleset, Set, Table, TableId


def document(ruleset: Ruleset) -> str:
    """Tables, sets, maps and chains by name, each with all that is in it."""
    return "".join(f"{line}\n" for name in sorted(ruleset) for line in _table(name, ruleset[name]))


def closed_script(ports: str) -> str:
    """Commands that make the closed table (`desired.closed`). They are refused where our bridge table is: nothing is closed that
    an agent has opened."""
    made = closed.table(ports)
    changes: list[Change] = [AddTable(ownership.BRIDGE)]
    changes += [AddChain(ownership.BRIDGE, name, chain.hook) for name, chain in made.chains.items()]
    changes += [AddRule(ownership.BRIDGE, name, rule) for name, chain in made.chains.items() for rule in chain.rules]
    return transaction(changes).replace("add table", "create table", 1)


def _table(name: TableId, table: Table) -> Iterator[str]:
    yield f"table {name} {{"
    for set_name, value in sorted(table.sets.items()):
        yield from _block(f"set {set_name}", text.set_declaration(value), _set_elements(value))
    for map_name, mapping in sorted(table.maps.items()):
        yield from _block(f"map {map_name}", text.map_declaration(mapping), _map_elements(mapping))
    for chain_name, chain in sorted(table.chains.items()):
        yield f"\tchain {chain_name} {{"
        if chain.hook:
            yield f"\t\t{text.hook(chain.hook)}"
        yield from (f"\t\t{text.rule(rule)}" for rule in chain.rules)
        yield "\t}"
    yield "}"


def _block(head: str, declaration: str, elements: Iterable[str]) -> Iterator[str]:
    yield f"\t{head} {{"
    yield f"\t\t{declaration}"
    listed = ",\n\t\t\t".join(elements)
    if listed:
        yield f"\t\telements = {{ {listed} }}"
    yield "\t}"


def _set_elements(value: Set) -> Iterator[str]:
    elements = sorted(value.elements) if isinstance(value.elements, frozenset) else [(one,) for one in value.elements]
    return (text.element(value.key, one) for one in elements)


def _map_elements(value: Map) -> Iterator[str]:
    return (text.map_element(value, key, data) for key, data in sorted(value.elements.items()))
