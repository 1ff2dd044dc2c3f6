"""`verge-nodeagent run | preflight | flush | closed-ruleset | openapi`. Exit codes: 0 stopped in order or done, 2 cannot start
as told (each fault on its own line); of the preflight also 1, when something is failing."""

import argparse
import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

from nodeagent import flushing
from nodeagent.settings import Settings, SettingsInvalid, add_arguments, read

if TYPE_CHECKING:
    from nodeagent.state.host import HostFacts


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="verge-nodeagent", description="Makes this node's kernel match its view.")
    commands = parser.add_subparsers(dest="command", required=True)
    add_arguments(commands.add_parser("run", help="run the agent until SIGTERM or SIGINT"))
    looking = commands.add_parser(
        "preflight", help="is this host fit to be a node? Exits with 1 when something is failing; warnings leave 0"
    )
    add_arguments(looking)
    looking.add_argument("--json", action="store_true", help="as JSON instead of a table")
    commands.add_parser("openapi", help="print the local API's OpenAPI description")
    leaving = commands.add_parser("flush", help="take off this host what is Verge's, and nothing else; offline")
    closing = commands.add_parser(
        "closed-ruleset", help="print the nft commands that shut ports until the agent starts"
    )
    closing.add_argument("--ports", default="vn_*", help="pattern of instances' ports, default vn_*")
    flushing.add_arguments(leaving)
    given = parser.parse_args(arguments)
    match given.command:
        case "openapi":
            return _openapi()
        case "flush":
            return flushing.flush(given, print)
        case "closed-ruleset":
            return flushing.closed_ruleset(given.ports, print)
    try:
        if given.command == "preflight":
            return _preflight(read(given, os.environ, to_run=False), as_json=given.json)
        return _run(read(given, os.environ))
    except SettingsInvalid as invalid:
        for fault in invalid.faults:
            print(f"verge-nodeagent: {fault}", file=sys.stderr)
        return 2


def _openapi() -> int:
    import json

    from nodeagent.api.app import make_app

    print(json.dumps(make_app().openapi(), indent=2, sort_keys=True))
    return 0


def _preflight(settings: Settings, *, as_json: bool) -> int:
    from nodeagent.preflight.command import run

    return run(settings, _host_facts(settings), as_json=as_json)


def _host_facts(settings: Settings) -> "HostFacts":
    """Raises SettingsInvalid."""
    from nodeagent.state.host import HostFacts

    try:
        return HostFacts(
            settings.bridge,
            settings.public_interface,
            settings.ports,
            transit=settings.transit,
            self_test=settings.self_test,
            limits=settings.limits,
        )
    except ValueError as wrong:
        raise SettingsInvalid([str(wrong)]) from wrong


def _run(settings: Settings) -> int:
    from nodeagent.startup import StateDir, check

    check(settings)
    lock = StateDir(settings.state_dir)

    import uvloop

    try:
        uvloop.run(_serve(settings))
    finally:
        del lock
    return 0


async def _serve(settings: Settings) -> None:
    """First the kernel, from what the disk holds; then the API; then the server."""
    from nodeagent.agent import assemble
    from nodeagent.api.listener import listen, name_of
    from nodeagent.dnsmasq.server import Dnsmasq
    from nodeagent.enforcement import Enforcement
    from nodeagent.formersettings import FormerSettings
    from nodeagent.journal import Journal
    from nodeagent.kernel.watch import RulesetWatch
    from nodeagent.operatorrules import OperatorRules
    from nodeagent.preflight.preflight import Preflight
    from nodeagent.state import ownership
    from verge.supervisor import notify

    facts = _host_facts(settings)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    listener = listen(settings.api)
    dnsmasq = Dnsmasq(settings.state_dir / "dhcp", settings.bridge, Journal(settings.node).say)
    formers = FormerSettings(settings.state_dir)
    operators = OperatorRules(settings.hooks, settings.state_dir / "operator-rules.nft")
    agent = assemble(
        settings,
        lambda generation: Enforcement(
            facts, last_generation=generation, dnsmasq=dnsmasq, operator_rules=operators, formers=formers
        ),
        RulesetWatch(ownership.TABLES),
        Preflight(facts, settings.servers),
    )
    try:
        await agent.start()
        from nodeagent.api.serve import Api  # after the pass: FastAPI takes a third of a second to import

        api = Api(agent, listener)
        await api.started()
        print(f"verge-nodeagent ready {name_of(settings.api, listener)}", flush=True)
        notify("READY=1")
        try:
            await agent.run(stop)
        finally:
            notify("STOPPING=1")
            await api.close()
    finally:
        agent.passes.close()
        if agent.client:
            await agent.client.close()
        agent.journal.say("stopped", rules="in force")


if __name__ == "__main__":
    sys.exit(main())
