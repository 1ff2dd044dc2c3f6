"""Objects that differ, in words: what a plan would change, what lies between two revisions, what somebody did. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from verge.console.tables import Colour, Painted, paint, plain

_SIGNS: Final[dict[str, tuple[str, Colour]]] = {
    "create": ("+", "green"),
    "change": ("~", "yellow"),
    "delete": ("-", "red"),
}


def edits_text(edits: Sequence[Mapping[str, Any]], *, colour: bool) -> list[str]:
    """Lines: a sign and the object, and below it each field that differs. As the server's answers have them."""
    lines = []
    for one in edits:
        sign, shade = _SIGNS[one["op"]]
        lines.append(f"{paint(Painted(sign, shade), colour=colour)} {plain(one['kind'])} {plain(one['id'])}")
        lines += [f"    {line}" for line in field_lines(one, colour=colour)]
    return lines


def field_lines(edit: Mapping[str, Any], *, colour: bool) -> list[str]:
    """What of it differs: `node: nc-1 -> nc-2`, items of lists with + and -; of an object that is created, what it has."""
    if edit["op"] == "delete":
        return []
    if edit["op"] == "create":
        return [f"{name}: {words(value, name)}" for name, value in edit["after"].items() if value not in (None, [], ())]
    lines = []
    for name, field in edit["fields"].items():
        before, after = field["before"], field["after"]
        if isinstance(before, list) and isinstance(after, list):
            gone = [paint(Painted(f"- {item(one, name)}", "red"), colour=colour) for one in before if one not in after]
            come = [
                paint(Painted(f"+ {item(one, name)}", "green"), colour=colour) for one in after if one not in before
            ]
            lines += [f"{name}: {one}" for one in (*gone, *come)]
        else:
            lines.append(f"{name}: {words(before, name)} -> {words(after, name)}")
    return lines


def words(value: Any, field: str = "") -> str:
    """A field's value on one line."""
    match value:
        case None:
            return "none"
        case list():
            return ", ".join(item(one, field) for one in value) or "none"
        case dict():
            return item(value, field)
        case _:
            return plain(value)


def item(value: Any, field: str = "") -> str:
    """One of a list; a rule as `tcp 80-90 from 0.0.0.0/0`."""
    if not isinstance(value, dict):
        return plain(value)
    if "protocol" not in value:
        return plain(", ".join(f"{name} {one}" for name, one in value.items()))
    peer = value.get("cidr") or f"group {value.get('group')}"
    return plain(f"{traffic(value)} {'to' if field == 'egress' else 'from'} {peer}")


def traffic(value: Mapping[str, Any]) -> str:
    """Protocol and ports of a rule, or of what is lost: `tcp 80-90`, `icmp 8`, `all but tcp`."""
    if value["protocol"] == "others":
        return f"all but {', '.join(map(str, value['except']))}" if value["except"] else "all"
    parts = [str(value["protocol"])]
    if "from_port" in value:
        low, high = value["from_port"], value["to_port"]
        parts.append(str(low) if low == high else f"{low}-{high}")
    if "icmp" in value:
        parts.append(str(value["icmp"]))
    elif value.get("icmp_type") is not None:
        code = value.get("icmp_code")
        parts.append(f"{value['icmp_type']}" if code is None else f"{value['icmp_type']}/{code}")
    return " ".join(parts)


def lost_words(losses: Iterable[Mapping[str, Any]]) -> list[str]:
    """`tcp 80 from 0.0.0.0/0`, each that an instance loses."""
    found = []
    for one in losses:
        more = f" and {one['more_sources']} more" if one.get("more_sources") else ""
        found.append(plain(f"{traffic(one)} from {', '.join(one['sources'][:3])}{_unsaid(one)}{more}"))
    return found


def _unsaid(loss: Mapping[str, Any]) -> str:
    rest = len(loss["sources"]) - 3
    return f" and {rest} more" if rest > 0 else ""
