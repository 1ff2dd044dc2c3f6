"""`verge explain A B tcp 22`: may it pass, by which rule and membership, seen as whom, and is that in force at both ends?"""

import re
from argparse import ArgumentTypeError, Namespace
from collections.abc import Mapping, Sequence
from typing import Any, Final

from verge.console.arguments import Commands, Common, add, completes, revision
from verge.console.console import Console
from verge.console.outcome import Exit, Misused
from verge.console.tables import Cell, Colour, Painted, duration, fields, paint, plain, state, table

_PORTED: Final = ("tcp", "udp")
_COLOURS: Final[dict[str, Colour]] = {"allowed": "green", "passes": "green", "denied": "red", "drops": "red"}
MISSES: Final = 5
"""Rules that nearly matched, named in text; `--json` has more."""

_EXAMPLES = """\
examples:
  verge explain i-1a2b3c4d i-99aa0001 tcp 22
  verge explain 203.0.113.10 10.111.101.91 tcp 443     from outside to an elastic IP
  verge explain i-1a2b3c4d nc-2 icmp                   a ping; also icmp 3/4
  verge explain nc-1 i-1a2b3c4d 132                    any protocol, by its number

exit codes: 0 allowed, 1 denied; 5 the nodes do not all do so yet. With --revision: 0 or 1, as it was meant then.
"""


def register(commands: Commands, common: Common) -> None:
    summary = "may a packet pass, by which rule, and is that in force?"
    command = add(commands, common, "explain", summary, run)
    command.epilog = _EXAMPLES
    completes(command.add_argument("source", metavar="FROM", help="an instance, a node, or any address"), "instances")
    to = command.add_argument("destination", metavar="TO", help="likewise; an elastic IP means the way by it")
    completes(to, "instances")
    command.add_argument("protocol", metavar="PROTOCOL", type=protocol, help="tcp, udp, icmp, or a number")
    command.add_argument(
        "kind", metavar="PORT | TYPE[/CODE]", nargs="?", type=kind, help="the port; of icmp, the type and code"
    )
    command.add_argument("--revision", type=revision, metavar="REV", help="as the network was then")


def protocol(text: str) -> str:
    if re.fullmatch(r"(?i)tcp|udp|icmp|\d{1,3}", text) is None:
        raise ArgumentTypeError(f"{text!r} is no protocol: tcp, udp, icmp or a number")
    return text.lower()


def kind(text: str) -> tuple[int, int | None]:
    """A port, or an ICMP type with or without code."""
    found = re.fullmatch(r"(\d{1,5})(?:/(\d{1,3}))?", text)
    if found is None:
        raise ArgumentTypeError(f"{text!r} is neither a port nor an ICMP type such as 3/4")
    return int(found[1]), None if found[2] is None else int(found[2])


def run(given: Namespace, console: Console) -> Exit:
    found = console.server.ask("GET", "/v1/explain", params=_asked(given))
    console.show(found, explain_text(found, colour=console.colour))
    return ending(found)


def _asked(given: Namespace) -> dict[str, str | float | None]:
    """Raises Misused."""
    first, second = given.kind or (None, None)
    if second is not None and given.protocol not in ("icmp", "1"):
        raise Misused(f"{first}/{second} is an ICMP type and code, and means nothing with {given.protocol}")
    asked = {"from": given.source, "to": given.destination, "protocol": given.protocol, "revision": given.revision}
    if given.protocol in ("icmp", "1"):
        return {**asked, "icmp_type": first, "icmp_code": second}
    if first is None and given.protocol in _PORTED:
        raise Misused(f"{given.protocol} has ports: verge explain FROM TO {given.protocol} PORT")
    return {**asked, "port": first}


def ending(found: Mapping[str, Any]) -> Exit:
    if not found.get("in_force", True):
        return Exit.PENDING
    return Exit.OK if found["verdict"] == "allowed" else Exit.NO


def explain_text(found: Mapping[str, Any], *, colour: bool) -> str:
    verdict = found["verdict"]
    asked = f"{_end(found['from'])} → {_end(found['to'])} {plain(found['message']['text'])}"
    parts = [f"{paint(Painted(verdict, _COLOURS.get(verdict)), colour=colour)}: {asked}", ""]
    deciding = found.get("deciding") or {}
    rule = deciding.get("rule")
    pairs: list[tuple[str, Cell]] = [
        ("because", found["reason"]),
        ("rule", f"{rule['text']} ({rule['direction']} of {rule['group']})" if rule else None),
        ("by", " → ".join(dict.fromkeys(one["says"] for one in deciding.get("membership", ()))) or None),
        ("seen as", found["seen_as"]),
        ("meant at", f"revision {found['revision']}"),
        ("since", _since(found)),
        ("in force", _in_force(found)),
        *(("note", note) for note in found["notes"]),
    ]
    parts += [fields(pairs, colour=colour), "", _stages(found["stages"], colour=colour)]
    misses = deciding.get("near_misses") or []
    if misses:
        parts += ["", _misses(misses, colour=colour)]
    if found.get("nodes"):
        parts += ["", _nodes(found["nodes"], colour=colour)]
    return "\n".join(parts)


def _end(end: Mapping[str, Any]) -> str:
    name = end["name"] if end["name"] not in (None, end["given"]) else None
    known = [str(one) for one in (name, end["node"] if end["kind"] == "instance" else end["kind"]) if one]
    return plain(end["given"]) + (f" ({plain(', '.join(known))})" if known else "")


def _since(found: Mapping[str, Any]) -> str | None:
    if found.get("since") is None:
        return None
    return f"revision {found['since']}" + ("" if found["since_exact"] else " or before")


def _in_force(found: Mapping[str, Any]) -> Cell:
    if "in_force" not in found:
        return None
    if found["in_force"]:
        return Painted("yes", "green")
    return Painted(f"not yet: a packet that is sent now is {_NOW[found['now']]}", "yellow")


_NOW: Final = {
    "allowed": "let through",
    "denied": "dropped",
    "unknown": "let through or dropped, nobody has told which",
}


def _stages(stages: Sequence[Mapping[str, Any]], *, colour: bool) -> str:
    rows = [
        [str(at), one["node"], one["check"], Painted(one["outcome"], _COLOURS.get(one["outcome"])), one["text"]]
        for at, one in enumerate(stages, start=1)
    ]
    return table(("step", "node", "check", "outcome", "what happens"), rows, colour=colour, right=("step",))


def _misses(misses: Sequence[Mapping[str, Any]], *, colour: bool) -> str:
    rows = [[one["group"], one["text"], one["why_not"]] for one in misses[:MISSES]]
    return table(("group", "rule", "does not match, since"), rows, colour=colour)


def _nodes(nodes: Sequence[Mapping[str, Any]], *, colour: bool) -> str:
    rows: list[list[Cell]] = [
        [
            one["node"],
            one["role"],
            Painted(one["enforces"], _COLOURS.get(one["enforces"], "yellow")),
            Painted("yes", "green") if one["in_force"] else Painted("no", "yellow"),
            state(one["state"]),
            one.get("applied_version"),
            one.get("version"),
            duration(one.get("lag_seconds")),
            "; ".join(one["reasons"]),
        ]
        for one in nodes
    ]
    header = ("node", "role", "does", "in force", "state", "applied", "wanted", "lag", "why")
    return table(header, rows, colour=colour, right=("applied", "wanted", "lag"))
