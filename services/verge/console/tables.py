"""Text for people, from values: aligned tables, times, durations, colour. Pure.

What the server answers holds words of others, a node's reasons among them: `plain` takes out what a terminal would obey.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

Colour = Literal["green", "yellow", "red", "dim", "bold"]

_SGR: Final[dict[Colour, str]] = {"green": "32", "yellow": "33", "red": "31", "dim": "2", "bold": "1"}
STATE_COLOURS: Final[dict[str, Colour]] = {
    "converged": "green",
    "lagging": "yellow",
    "degraded": "red",
    "rejected": "red",
    "silent": "red",
    "never-seen": "dim",
    "ready": "green",
    "waiting-for-interface": "yellow",
    "prepared": "yellow",
    "quarantined": "red",
}
NOTHING: Final = "–"


@dataclass(frozen=True, slots=True)
class Painted:
    text: str
    colour: Colour | None


Cell = str | int | Painted | None


def plain(text: object) -> str:
    """On one line, without control characters: escape sequences from elsewhere are shown, not obeyed."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in str(text))


def state(name: object) -> Painted:
    return Painted(str(name), STATE_COLOURS.get(str(name)))


def paint(cell: Painted, *, colour: bool) -> str:
    text = plain(cell.text)
    return f"\x1b[{_SGR[cell.colour]}m{text}\x1b[0m" if colour and cell.colour else text


def table(header: Sequence[str], rows: Iterable[Sequence[Cell]], *, colour: bool, right: Sequence[str] = ()) -> str:
    """Columns as wide as their widest cell, two spaces apart; those named in `right` end at the same place."""
    cells = [[_cell(one) for one in row] for row in rows]
    top = [Painted(name.upper(), "bold") for name in header]
    widths = [max(len(plain(row[at].text)) for row in (top, *cells)) for at in range(len(header))]
    lines = []
    for row in (top, *cells):
        line = ""
        for at, cell in enumerate(row):
            space = " " * (widths[at] - len(plain(cell.text)))
            shown = paint(cell, colour=colour)
            line += space + shown if header[at] in right else shown + (space if at < len(row) - 1 else "")
            line += "  " if at < len(row) - 1 else ""
        lines.append(line.rstrip())
    return "\n".join(lines)


def fields(pairs: Iterable[tuple[str, Cell]], *, colour: bool) -> str:
    """A name and a value on each line; pairs without a value are left out."""
    found = [(name, _cell(cell)) for name, cell in pairs if cell is not None]
    width = max((len(name) for name, _ in found), default=0)
    return "\n".join(f"{name:<{width}}  {paint(cell, colour=colour)}" for name, cell in found)


def _cell(cell: Cell) -> Painted:
    match cell:
        case Painted():
            return cell
        case None:
            return Painted(NOTHING, "dim")
        case _:
            return Painted(str(cell), None)


def duration(seconds: float | None) -> str:
    """850 ms, 12.3 s, 4m10s, 3h05m, 2d04h."""
    if seconds is None:
        return NOTHING
    if seconds <= 0:
        return "0"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours < 24 else f"{hours // 24}d{hours % 24:02d}h"


def milliseconds(value: float | None) -> str:
    return NOTHING if value is None else duration(value / 1000)


def when(text: str | None) -> str:
    """An RFC 3339 time as UTC to the second."""
    if not text:
        return NOTHING
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{found.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z" if found.tzinfo else text


def count(number: int, thing: str) -> str:
    """1 node, 2 nodes."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def listed(names: Sequence[Any], most: int = 5) -> str:
    """nc-1, nc-2 and 7 more."""
    shown = ", ".join(plain(one) for one in names[:most])
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown
