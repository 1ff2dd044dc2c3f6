"""Files an operator hands over: JSON or YAML, told apart by what they hold. Pure but for `read`.

YAML is read with JSON's types: `12:34:56:12:34:56` stays a MAC address where YAML 1.1 makes it a number in base 60, an account
000123456712 keeps its zeros, `no` is a word. A key that stands twice is a mistake, in either language: one of the two would
be lost.
"""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

from verge.console.outcome import Misused

Language = Literal["json", "yaml"]
MOST_VALUES: Final = 10_000_000


def read(name: str) -> bytes:
    """A file's content, or standard input's for `-`. Raises Misused."""
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except (OSError, ValueError) as failed:
        reason = failed.strerror if isinstance(failed, OSError) and failed.strerror else failed
        raise Misused(f"{name} cannot be read: {reason}") from failed


def called(name: str) -> str:
    return "standard input" if name == "-" else name


def parse(data: bytes, name: str) -> tuple[Language, Any]:
    """Raises Misused, with the line."""
    text = _text(data, name)
    try:
        return "json", json.loads(text, object_pairs_hook=lambda pairs: _once(pairs, name))
    except json.JSONDecodeError as wrong:
        if text.lstrip()[:1] in ("{", "[") and not _is_yaml(text):
            raise Misused(f"{called(name)}:{wrong.lineno}:{wrong.colno}: is not JSON: {wrong.msg}") from wrong
    except RecursionError as wrong:
        raise Misused(f"{called(name)}: is nested too deeply") from wrong
    return "yaml", _yaml(text, name)


def parse_json(data: bytes, name: str) -> Any:
    """Raises Misused."""
    try:
        return json.loads(_text(data, name), object_pairs_hook=lambda pairs: _once(pairs, name))
    except json.JSONDecodeError as wrong:
        raise Misused(f"{called(name)}:{wrong.lineno}:{wrong.colno}: is not JSON: {wrong.msg}") from wrong
    except RecursionError as wrong:
        raise Misused(f"{called(name)}: is nested too deeply") from wrong


def to_json(value: Any, name: str) -> bytes:
    """Raises Misused for what YAML has and JSON has not."""
    try:
        return json.dumps(value, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as wrong:
        raise Misused(f"{called(name)}: holds what JSON cannot: {wrong}") from wrong


def require_xml(data: bytes, name: str) -> None:
    """Raises Misused for what does not even begin like XML; the rest is the server's to judge."""
    start = data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start.startswith((b"<", b"\xff\xfe", b"\xfe\xff")):
        raise Misused(f"{called(name)}: is not XML: a global network information document begins with <")


def places(data: bytes, name: str) -> Callable[[str], str | None]:
    """For YAML that was parsed: a JSON pointer to FILE:LINE:COLUMN of what it points at, or of the nearest that is there."""
    import yaml

    try:
        root = yaml.compose(_text(data, name), yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        root = None

    def place(pointer: str) -> str | None:
        at, mark = root, root.start_mark if root is not None else None
        for part in pointer.split("/")[1:]:
            word = part.replace("~1", "/").replace("~0", "~")
            match at:
                case yaml.MappingNode():
                    pair = next((one for one in at.value if one[0].value == word), None)
                    if pair is None:
                        break
                    mark, at = pair[0].start_mark, pair[1]
                case yaml.SequenceNode() if word.isdecimal() and int(word) < len(at.value):
                    at = at.value[int(word)]
                    mark = at.start_mark
                case _:
                    break
        return None if mark is None else f"{called(name)}:{mark.line + 1}:{mark.column + 1}"

    return place


def _text(data: bytes, name: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        raise Misused(f"{called(name)}: is not UTF-8 text (byte {wrong.start})") from wrong
    if not text.strip():
        raise Misused(f"{called(name)}: is empty")
    return text


def _once(pairs: list[tuple[str, Any]], name: str) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise Misused(f"{called(name)}: the key {twice!r} stands twice in one object")
    return found


def _is_yaml(text: str) -> bool:
    try:
        _yaml(text, "")
    except Misused:
        return False
    return True


def _yaml(text: str, name: str) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """With JSON's types, and no key twice."""

        yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            seen: set[str] = set()
            for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
                if key.value in seen:
                    _yaml_fault(name, key.start_mark, f"the key {key.value!r} stands twice in one object")
                seen.add(key.value)
            return super().construct_mapping(node, deep)

    for tag, pattern, first in _SCALARS:
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), first)
    loader = Loader(text)
    try:
        node = loader.get_single_node()
        if node is not None and _size(node, {}) > MOST_VALUES:
            raise Misused(f"{called(name)}: has more than {MOST_VALUES:,} values, with what its aliases repeat")
        return None if node is None else loader.construct_document(node)
    except yaml.YAMLError as wrong:
        mark = getattr(wrong, "problem_mark", None)
        _yaml_fault(name, mark, f"is not YAML: {getattr(wrong, 'problem', None) or wrong}")
    except (ValueError, RecursionError) as wrong:
        raise Misused(f"{called(name)}: cannot be read as YAML: {wrong}") from wrong


def _size(node: Any, known: dict[int, int]) -> int:
    """How many values it has, each as often as an alias repeats it."""
    if isinstance(node.value, str):
        return 1
    if id(node) not in known:
        known[id(node)] = 1  # one that holds itself is not followed
        parts = (part for one in node.value for part in (one if isinstance(one, tuple) else (one,)))
        known[id(node)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(node)]


_SCALARS = (
    ("null", r"^(?:null|~|)$", ["n", "~", ""]),
    ("bool", r"^(?:true|false)$", ["t", "f"]),
    ("int", r"^-?(?:0|[1-9][0-9]*)$", list("-0123456789")),
    ("float", r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?$", list("-0123456789")),
)
"""YAML 1.2's JSON schema: implicit tag, pattern, first characters."""


def _yaml_fault(name: str, mark: Any, message: str) -> NoReturn:
    place = f":{mark.line + 1}:{mark.column + 1}" if mark is not None else ""
    raise Misused(f"{called(name)}{place}: {message}")
