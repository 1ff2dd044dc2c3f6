"""`verge watch`: what happens in the cloud, as it happens, until it is interrupted.

A line for each change, each node whose state changes, each change that is in force, each drift, fence and rejection; on a
terminal also how the cloud stands, drawn over itself below them. A server that goes away is asked again; what was committed
meanwhile is told then. With --json one event on each line.
"""

import json
import shutil
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Self

from verge.console.arguments import Commands, Common, add
from verge.console.console import Console
from verge.console.outcome import Exit, Unreachable
from verge.console.standing import STATES
from verge.console.tables import Painted, count, listed, milliseconds, paint, plain, state

SILENCE_S: Final = 20.0
"""The server says something every five seconds."""
AGAIN_S: Final = 1.0


def register(commands: Commands, common: Common) -> None:
    command = add(commands, common, "watch", "what happens, as it happens: changes, nodes, drift, fences", run)
    command.description = (
        "What happens, as it happens, until it is interrupted: changes, nodes whose state changes, changes that are in force\n"
        "everywhere, drift, fences, rejections. A server that goes away is waited for. With --json one event a line."
    )
    command.add_argument("--once", action="store_true", help="end when all nodes have converged")


def run(given: Namespace, console: Console) -> Exit:
    picture = Picture()
    below = Below(sys.stdout.isatty() and console.live and not console.json)
    with below:
        for name, body in _events(console, picture, below):
            if console.json:
                print(json.dumps({"event": name, **body}), flush=True)
            for line in [] if console.json else picture.take(name, body, colour=console.colour):
                below.print(line)
            if console.json:
                picture.take(name, body, colour=False)
            below.draw(picture.standing(colour=console.colour))
            if given.once and name == "convergence" and body["converged"]:
                return Exit.OK
    return Exit.OK


def _events(console: Console, picture: "Picture", below: "Below") -> Iterator[tuple[str, dict[str, Any]]]:
    """For ever; the first connection has to succeed. Raises ConsoleError."""
    connected = False
    while True:
        try:
            for event in console.server.events(picture.revision, SILENCE_S):
                if not connected and picture.revision is not None:
                    below.remark("the server is there again")
                connected = True
                yield event
            reason = "the server ended the stream"
        except Unreachable as gone:
            if not connected and picture.revision is None:
                raise
            reason = str(gone)
        if connected:
            below.remark(f"{reason}; asking again")
        connected = False
        time.sleep(AGAIN_S)


def news(console: Console) -> Iterator[int]:
    """The head, whenever it has moved."""
    picture, below = Picture(), Below(drawn=False)
    head = None
    for name, body in _events(console, picture, below):
        picture.take(name, body, colour=False)
        if picture.revision != head and picture.revision is not None:
            head = picture.revision
            yield head


@dataclass(slots=True)
class Picture:
    """The cloud as the events tell it. Pure, but for the time of day that lines begin with where an event has none."""

    revision: int | None = None
    states: dict[str, str] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    told: bool = False
    """All nodes were told once: what comes from here on is news."""
    spreading: set[int] = field(default_factory=set)

    def take(self, name: str, body: Mapping[str, Any], *, colour: bool) -> list[str]:
        """The lines that an event is worth."""
        match name:
            case "hello":
                rewound = self.revision is not None and body["revision"] < self.revision
                self.told, self.revision = False, max(body["revision"], 0 if rewound else self.revision or 0)
                return (
                    [_line(body["at"], "history was rewound: the head is {revision}".format(**body))] if rewound else []
                )
            case "revision":
                self.revision = max(self.revision or 0, body["revision"])
                self.spreading.add(body["revision"])
                return [_line(body["at"], _change(body, colour=colour))]
            case "nodes":
                return self._nodes(body, colour=colour)
            case "progress":
                return self._progress(body, colour=colour)
            case "happening":
                what = " ".join(one for one in (body["node"], body["kind"], body["what"]) if one)
                by = f", by {body['culprit']}" if body.get("culprit") else ""
                return [_line(body["at"], plain(what + by))]
            case "convergence":
                first, self.summary = not self.summary, body
                return [_line(None, self.standing(colour=colour))] if first else []
        return []

    def standing(self, *, colour: bool) -> str:
        nodes = self.summary.get("nodes")
        if not nodes:
            return ""
        each = [(name, nodes.get(name.replace("-", "_"), 0)) for name in STATES]
        counts = [
            paint(Painted(f"{number:,} {name}", state(name).colour), colour=colour) for name, number in each if number
        ]
        return f"revision {self.summary['revision']}  {count(nodes['total'], 'node')}: {' · '.join(counts)}"

    def _nodes(self, body: Mapping[str, Any], *, colour: bool) -> list[str]:
        lines = []
        for one in body["set"]:
            former = self.states.get(one["node"])
            self.states[one["node"]] = one["state"]
            news = former != one["state"] and (former is not None or self.told)
            if news or (not self.told and former is None and one["state"] not in ("converged", "never-seen")):
                now = paint(state(one["state"]), colour=colour)
                why = f": {one['reason']}" if one.get("reason") else ""
                lines.append(
                    _line(None, f"{plain(one['node'])} {f'{former} -> ' if former else 'is '}{now}{plain(why)}")
                )
        for node in body["gone"]:
            self.states.pop(node, None)
            lines.append(_line(None, f"{plain(node)} is removed"))
        self.told = True
        return lines

    def _progress(self, body: Mapping[str, Any], *, colour: bool) -> list[str]:
        revision = body["revision"]
        if body["applied"] < body["affected"] or revision not in self.spreading:
            return []
        self.spreading.discard(revision)
        closed = f", with an object of it closed on {listed(body['exceptions'])}" if body.get("exceptions") else ""
        verdict = paint(Painted("in force", "green"), colour=colour)
        where = f"on {count(body['applied'], 'node')} after {milliseconds(body['ms']['max'])}{closed}"
        return [_line(None, f"revision {revision} is {verdict} {where}")]


def _change(body: Mapping[str, Any], *, colour: bool) -> str:
    what = (
        listed(body["objects"], 3) if body["operations"] <= len(body["objects"]) else f"{body['operations']:,} objects"
    )
    caused = f" (caused by {body['caused_by']})" if body.get("caused_by") else ""
    affects = f"affects {count(body['affected'], 'node')}" if body["affected"] else "affects no node"
    number = paint(Painted(f"revision {body['revision']}", "bold"), colour=colour)
    return f"{number} by {plain(body['actor'])}: {what}{caused}; {affects}"


def _line(at: str | None, text: str) -> str:
    when = datetime.fromisoformat(at) if at else datetime.now(UTC)
    return f"{when.astimezone(UTC):%H:%M:%S}Z  {text}"


class Below:
    """Lines that scroll, and below them one that is drawn over itself; without a terminal only the lines."""

    def __init__(self, drawn: bool) -> None:
        self._drawn = drawn
        self._shown = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._wipe()
        sys.stdout.flush()

    def print(self, line: str) -> None:
        self._wipe()
        print(line, flush=True)

    def remark(self, text: str) -> None:
        self._wipe()
        sys.stdout.flush()
        print(f"verge: {plain(text)}", file=sys.stderr, flush=True)

    def draw(self, text: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        if not self._drawn or text == self._shown or _width(text) > width:
            return
        self._wipe()
        self._shown = text
        sys.stdout.write(text)
        sys.stdout.flush()

    def _wipe(self) -> None:
        if self._shown:
            sys.stdout.write("\r\x1b[K")
            self._shown = ""


def _width(text: str) -> int:
    """Without what colours it."""
    return sum(len(part.partition("m")[2]) if at else len(part) for at, part in enumerate(text.split("\x1b[")))
