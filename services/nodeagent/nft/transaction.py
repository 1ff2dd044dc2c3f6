"""Changes → the text of one nft transaction."""

from collections.abc import Iterable, Iterator
from typing import assert_never

from nodeagent.nft import text
from nodeagent.nft.changes import (
    AddChain,
    AddElements,
    AddMap,
    AddMappings,
    AddRule,
    AddSet,
    AddTable,
    Change,
    DeleteElements,
    DeleteMappings,
    DeleteRule,
    DeleteTable,
    FlushChain,
    Remove,
)


def transaction(changes: Iterable[Change]) -> str:
    """One command a line, in the order given; the kernel takes all of it or nothing."""
    return "".join(f"{line}\n" for line in lines(changes))


def lines(changes: Iterable[Change]) -> Iterator[str]:
    return map(_line, changes)


def _line(change: Change) -> str:
    match change:
        case AddTable(table):
            return f"add table {table}"
        case DeleteTable(table):
            return f"delete table {table}"
        case AddSet(table, name, value):
            return f"add set {table} {name} {{ {text.set_declaration(value)} }}"
        case AddMap(table, name, value):
            return f"add map {table} {name} {{ {text.map_declaration(value)} }}"
        case AddChain(table, name, hook):
            return f"add chain {table} {name}" + (f" {{ {text.hook(hook)} }}" if hook else "")
        case DeleteElements(table, name, key, elements):
            return f"delete element {table} {name} {{ {', '.join(text.element(key, one) for one in elements)} }}"
        case AddElements(table, name, key, elements):
            return f"add element {table} {name} {{ {', '.join(text.element(key, one) for one in elements)} }}"
        case DeleteMappings(table, name, spec, pairs):
            return f"delete element {table} {name} {{ {', '.join(text.map_element(spec, *one) for one in pairs.items())} }}"
        case AddMappings(table, name, spec, pairs):
            return (
                f"add element {table} {name} {{ {', '.join(text.map_element(spec, *one) for one in pairs.items())} }}"
            )
        case AddRule(table, chain, rule, None):
            return f"add rule {table} {chain} {text.commented(rule)}"
        case AddRule(table, chain, rule, before):
            return f"insert rule {table} {chain} position {before} {text.commented(rule)}"
        case DeleteRule(table, chain, handle):
            return f"delete rule {table} {chain} handle {handle}"
        case FlushChain(table, chain):
            return f"flush chain {table} {chain}"
        case Remove(table, what):
            kind, name = what.split(" ", 1)
            return f"delete {kind} {table} {name}"
        case _:
            assert_never(change)
