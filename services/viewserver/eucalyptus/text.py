"""Text of documents as plain values: JSON or YAML in, with every key that stands twice in one mapping told.

A second value under the same key would win in silence, here as in Eucalyptus. In YAML every plain scalar is a string, since
these documents know no numbers: a MacPrefix of 10:20 is one, not the base-60 integer that YAML 1.1 makes of it. Aliases are
allowed up to a total size, so that a short text cannot unfold into a huge one.
"""

import json
from collections.abc import Hashable, Iterator
from typing import Any, Final

import yaml

from viewserver.errors import Malformed
from viewserver.model.faults import Fault, Pointer

MOST_NODES: Final = 200_000
"""Scalars, lists and mappings of a YAML document, those that aliases repeat counted each time."""


class Mapping(dict[Any, Any]):
    """A mapping that remembers which of its keys were written more than once."""

    repeated: tuple[Any, ...] = ()


def _mapping(pairs: list[tuple[Any, Any]]) -> Mapping:
    found = Mapping(pairs)
    if len(found) < len(pairs):
        seen: set[Any] = set()
        found.repeated = tuple({key: None for key, _ in pairs if key in seen or seen.add(key)})  # type: ignore[func-returns-value]
    return found


def read_json(text: bytes) -> tuple[Any, list[Fault]]:
    """The value and its repeated keys. `text` is known to be JSON; raises Malformed if it is nested too deeply."""
    try:
        value = json.loads(text, object_pairs_hook=_mapping)
    except RecursionError:
        raise Malformed((Fault((), _TOO_DEEP),)) from None
    return value, _repeated(value)


def read_yaml(body: bytes) -> tuple[Any, list[Fault]]:
    """The value and its repeated keys. Raises Malformed for what is no YAML, or not one document, or too much."""
    try:
        loader = _Strings(body.decode())
        node = loader.get_single_node()
        if node is not None and _size(node, {}) > MOST_NODES:
            raise Malformed((Fault((), f"has more than {MOST_NODES} values, with what its aliases repeat"),))
        value = None if node is None else loader.construct_document(node)
        faults = _repeated(value)
    except UnicodeDecodeError:
        raise Malformed((Fault((), "is not UTF-8"),)) from None
    except RecursionError:
        raise Malformed((Fault((), _TOO_DEEP),)) from None
    except yaml.YAMLError as wrong:
        raise Malformed((Fault((), f"is not YAML: {' '.join(str(wrong).split())}"),)) from wrong
    except ValueError as wrong:  # a tagged scalar that is not what its tag says
        raise Malformed((Fault((), f"is not YAML: {wrong}"),)) from wrong
    return value, faults


_TOO_DEEP = "is nested too deeply"


class _Strings(yaml.SafeLoader):
    """Safe, and plain scalars are text. In Python, not libyaml's: that one overflows the C stack on deep nesting."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as its base declares it
        first: [
            (tag, pattern) for tag, pattern in found if tag in ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")
        ]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_whole_mapping(self, node: yaml.MappingNode) -> Iterator[Mapping]:
        """First empty, then filled, so that a mapping may contain itself."""
        found = Mapping()
        yield found
        own = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        if not all(isinstance(key, Hashable) for key in own):
            raise yaml.constructor.ConstructorError(None, None, "a key that is no string", node.start_mark)
        found.update(self.construct_mapping(node, deep=True))
        found.repeated = _mapping([(key, None) for key in own]).repeated


_PLAIN = ("null", "str", "seq")
_Strings.yaml_constructors = {
    **{tag: yaml.SafeLoader.yaml_constructors[tag] for tag in [None, *(f"tag:yaml.org,2002:{one}" for one in _PLAIN)]},
    "tag:yaml.org,2002:map": _Strings.construct_whole_mapping,
}


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values it stands for. Raises Malformed if it contains itself."""
    size = known.get(id(node))
    if size is None:
        known[id(node)] = -1
        match node:
            case yaml.SequenceNode():
                size = 1 + sum(_size(one, known) for one in node.value)
            case yaml.MappingNode():
                size = 1 + sum(_size(key, known) + _size(value, known) for key, value in node.value)
            case _:
                size = 1
        known[id(node)] = size
    if size < 0:
        raise Malformed((Fault((), "contains itself"),))
    return size


def _repeated(value: Any) -> list[Fault]:
    return list(_found(value, ()))


def _found(value: Any, at: Pointer) -> Iterator[Fault]:
    """Repeated keys, and text that nothing can store: lone surrogates and NUL, which escapes may spell."""
    match value:
        case Mapping():
            for key in value.repeated:
                yield Fault((*at, _plain(key)), "stands twice; which one is meant?")
            for key, inner in value.items():
                if isinstance(key, str) and not _storable(key):
                    yield Fault(at, f"has a key with characters that are no text: {key!r}")
                else:
                    yield from _found(inner, (*at, _plain(key)))
        case list():
            for index, inner in enumerate(value):
                yield from _found(inner, (*at, index))
        case str() if not _storable(value):
            yield Fault(at, "has characters that are no text")


def _plain(key: Any) -> str:
    return key if isinstance(key, str) else repr(key)


def _storable(text: str) -> bool:
    return (text.isascii() and "\x00" not in text) or not any(c == "\x00" or "\ud800" <= c <= "\udfff" for c in text)
