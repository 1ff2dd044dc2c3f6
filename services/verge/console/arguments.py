"""What argparse is told by every command family, and what several of them share."""

import argparse
import math
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

from verge.console.console import Command

if TYPE_CHECKING:
    Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
else:
    Commands = argparse._SubParsersAction
Common: TypeAlias = argparse.ArgumentParser
"""The options that every command takes."""

WAIT_S = 30.0


def add(commands: Commands, common: Common, name: str, summary: str, run: Command) -> argparse.ArgumentParser:
    found = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        parents=[common],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    found.set_defaults(run=run)
    return found


def completes(argument: argparse.Action, names: str) -> argparse.Action:
    """What a shell may offer for it, asked of the server: nodes, instances, groups, elastic_ips, zones, revisions, objects."""
    argument.completes = names  # type: ignore[attr-defined]
    return argument


def add_commit(command: argparse.ArgumentParser) -> None:
    """For whatever commits an update."""
    command.add_argument(
        "--dry-run", action="store_true", help="check everything, keep nothing, show what would change"
    )
    command.add_argument("--key", type=key, help="idempotency key: the same key and content again is the same update")
    command.add_argument("--if-match", type=revision, metavar="REV", help="refuse unless the head is at this revision")
    command.add_argument(
        "--wait",
        nargs="?",
        type=seconds,
        const=WAIT_S,
        metavar="SECONDS",
        help=f"wait until it is in force on every node it affects ({WAIT_S:.0f} s unless told)",
    )
    add_accepted(command)


def add_accepted(command: argparse.ArgumentParser) -> None:
    """What counts as in force."""
    command.add_argument("--quorum", type=share, metavar="Q", help="this share of the affected nodes is enough: 0.99")
    command.add_argument(
        "--allow-degraded", action="store_true", help="accept nodes that closed an object which the change touched"
    )


def spelled(arguments: list[str]) -> list[str]:
    """`--wait FILE` as it is meant: argparse would take the file for the optional number of seconds."""
    found = []
    for at, one in enumerate(arguments):
        following = arguments[at + 1] if at + 1 < len(arguments) else ""
        found.append(f"--wait={WAIT_S}" if one == "--wait" and not re.fullmatch(r"[\d.]+", following) else one)
    return found


def revision(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,18}", text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no revision: a number such as 42")
    return int(text)


def seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return found


def share(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 < found <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share: above 0, at most 1")
    return found


def limit(text: str) -> str:
    if re.fullmatch(r"\d{1,9}|\d{1,3}%|\d{1,9},\d{1,3}%", text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no limit: a number, a percentage, or both as 10,10%")
    return text


def moment(text: str) -> str:
    """A time as the server takes it: RFC 3339, a date or time of day (UTC), or how long ago: 90s, 15m, 2h, 3d. The last two by
    this machine's clock."""
    now = datetime.now(UTC)
    ago = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if ago is not None:
        return (now - timedelta(seconds=int(ago[1]) * _SECONDS[ago[2]])).isoformat()
    clock = re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", text)
    try:
        found = datetime.fromisoformat(f"{now:%Y-%m-%d}T{text:0>5}" if clock else text)
    except ValueError:
        message = f"{text!r} is no time: 2026-01-31T12:03:00Z, 12:03 (today, UTC), or 15m, 2h, 3d ago"
        raise argparse.ArgumentTypeError(message) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).isoformat()


_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def key(text: str) -> str:
    if not (0 < len(text) <= 255 and text.isascii() and text.isprintable() and text == text.strip()):
        raise argparse.ArgumentTypeError("a key has 1 to 255 printable ASCII characters")
    return text
