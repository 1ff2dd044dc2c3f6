"""`verge`: takes the arguments apart, runs one command, turns every failure into a line and an exit code."""

import argparse
import os
import sys
from argparse import Namespace
from pathlib import Path

from verge.console import (
    apply,
    audit,
    change,
    completion,
    diff,
    explain,
    fences,
    history,
    imports,
    network,
    nodes,
    status,
    tokens,
    watch,
    writing,
)
from verge.console.arguments import Common, spelled
from verge.console.console import Command, Console
from verge.console.outcome import ConsoleError, Exit, Misused, Refused
from verge.console.server import Address, Server
from verge.console.tables import plain

URL = "http://127.0.0.1:8470"

_DESCRIPTION = """\
Verge's command line: what the network is meant to be, which change is in force on which node, and who is behind.
"""
_EPILOG = f"""\
environment:
  VERGE_URL    where the view server is: http://HOST:PORT, https://HOST or unix:PATH ({URL} unless told)
  VERGE_TOKEN  the token; the first admin's is in the view server's DATA_DIR/admin.token
  NO_COLOR     no colour, even on a terminal

exit codes:
  0  done; converged; in force        3  the deadline passed first
  1  status: not converged            4  the server cannot be reached, or does not take the token
     explain: denied, in force        5  explain: allowed or denied, and not in force yet
  2  refused, or wrong usage

examples:
  verge status
  verge apply update.yaml --wait 30
  verge apply update.yaml --plan
  verge nodes --state lagging
  verge watch
  verge audit --object instance/i-1a2b3c4d --since 2d
  verge diff 40 42 --node nc-1
  verge explain i-1a2b3c4d 10.111.101.91 tcp 22
  verge --json status | jq .laggards

`verge COMMAND --help` tells more about one command.
"""


def main(arguments: list[str] | None = None) -> int:
    """The exit code; see `outcome`. argparse leaves by SystemExit."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a locale without "–" is no reason to fail
    given = parser().parse_args(spelled(sys.argv[1:] if arguments is None else arguments))
    try:
        ending = _run(given)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has seen enough. The interpreter must not try to flush into the closed pipe once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    return ending


def _run(given: Namespace) -> Exit:
    run: Command = given.run
    try:
        return run(given, _console(given))
    except ConsoleError as failed:
        _complain(failed, given.json)
        return failed.exit
    except KeyboardInterrupt:
        print("verge: interrupted", file=sys.stderr)
        return Exit.INTERRUPTED
    except (KeyError, TypeError, AttributeError) as odd:
        # An answer without what the contract says it has.
        at = f"{type(odd).__name__}: {odd}"
        print(f"verge: the server's answer is not what this version understands ({plain(at)})", file=sys.stderr)
        return Exit.UNREACHABLE


def _complain(failed: ConsoleError, as_json: bool) -> None:
    if isinstance(failed, Refused):
        if as_json and failed.problem is not None:
            Console.document(failed.problem)
        print(f"verge: refused: {plain(failed)}", file=sys.stderr)
        for fault in failed.faults:
            place = f"{plain(fault.place)}: " if fault.place else ""
            print(f"{place}{plain(fault.pointer) or 'the whole'}: {plain(fault.message)}", file=sys.stderr)
    else:
        print(f"verge: {plain(failed)}", file=sys.stderr)


def _console(given: Namespace) -> Console:
    address = Address.parse(given.url or os.environ.get("VERGE_URL") or URL)
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return Console(Server(address, _token(given)), given.json, colour, live)


def _token(given: Namespace) -> str | None:
    """Raises Misused."""
    if given.token:
        return str(given.token).strip()
    if given.token_file:
        try:
            text = Path(given.token_file).read_text(encoding="ascii").strip()
        except (OSError, ValueError) as failed:
            reason = failed.strerror if isinstance(failed, OSError) and failed.strerror else "it holds no token"
            raise Misused(f"the token file {given.token_file} cannot be read: {reason}") from failed
        if not text:
            raise Misused(f"the token file {given.token_file} is empty")
        return text
    return os.environ.get("VERGE_TOKEN", "").strip() or None


def parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    whole = argparse.ArgumentParser(
        prog="verge", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=formatter, allow_abbrev=False
    )
    whole.set_defaults(url=None, token=None, token_file=None, json=False)
    common = Common(add_help=False)
    _options(common)
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    _options(whole)
    asking = (status, watch, nodes, history, change, audit, diff, explain, network)
    for family in (*asking, apply, writing, imports, fences, tokens):
        family.register(commands, common)
    completion.register(commands, whole)
    return whole


def _options(found: argparse.ArgumentParser) -> None:
    """Before the command or behind it; left out in one place, they do not undo the other."""
    group = found.add_argument_group("server and output")
    absent = argparse.SUPPRESS
    group.add_argument("--url", default=absent, help="where the view server is (VERGE_URL)")
    group.add_argument("--token", default=absent, help="the token (better VERGE_TOKEN or a file: arguments are public)")
    group.add_argument("--token-file", default=absent, metavar="FILE", help="a file that holds the token")
    group.add_argument("--json", action="store_true", default=absent, help="the server's answer as one JSON document")


if __name__ == "__main__":
    sys.exit(main())
