"""What the agent is told at start, on the command line or in the environment, and every fault in it at once.

The command line wins over the environment. What may heal while the agent runs (the bridge does not exist yet, the server
is away) is no fault here: the loop deals with it.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from nodeagent.state.limits import DEFAULTS, Limits

_NODE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_LINK = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_PORTS = re.compile(r"[A-Za-z0-9_.-]{1,14}\*")
_LIMITS = {
    "flows_per_instance": "flows of an instance that are tracked at a time, those it began and those begun with it apart",
    "new_flows_per_second": "new flows of an instance, likewise",
    "arp_per_second": "ARP packets from an instance",
    "dhcp_per_second": "DHCP requests from an instance",
    "broadcasts_per_second": "broadcasts and multicasts other than ARP from an instance",
}
_MOST = 1_000_000
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class SettingsInvalid(Exception):
    """`faults` has one sentence for each thing that is wrong."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class ApiAddress:
    """Where the local API listens: a unix socket, or TCP on loopback."""

    path: Path | None = None
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path else f"http://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Settings:
    node: str
    servers: tuple[str, ...]
    """`http(s)://host:port` or `unix:/path`, in the order in which they are tried. Empty: the views of this node are handed
    over by hand."""
    token_file: Path | None
    state_dir: Path
    bridge: str
    public_interface: str
    ports: str
    api: ApiAddress
    deltas: bool = True
    """Without them the server is asked for whole views only."""
    transit: bool = True
    """May the host forward what concerns none of its instances?"""
    hooks: Path = Path("/etc/verge/hooks.nft")
    """The operators' rules (`nft.operatorfile`); need not exist."""
    self_test: bool = True
    """Is what is applied proven by packets?"""
    limits: Limits = DEFAULTS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `run`; each is also read from the environment variable it names."""
    parser.add_argument("--node", help="this node's name as the cloud knows it [VERGE_NODE]")
    parser.add_argument(
        "--server", action="append", nargs="+", metavar="URL", help="view server, may be repeated [VERGE_SERVER]"
    )
    parser.add_argument("--token-file", help="file with this node's bearer token [VERGE_TOKEN_FILE]")
    parser.add_argument("--state-dir", help="directory for the last view and the socket [VERGE_STATE_DIR]")
    parser.add_argument("--bridge", help="the bridge that instances are attached to [VERGE_BRIDGE]")
    parser.add_argument(
        "--public-interface",
        help="link to the public network; the bridge itself on a flat one [VERGE_PUBLIC_INTERFACE]",
    )
    parser.add_argument("--ports", help="pattern of instances' ports, default vn_* [VERGE_PORTS]")
    parser.add_argument(
        "--api", metavar="unix:PATH|HOST:PORT", help="local API, default unix:STATE_DIR/agent.sock [VERGE_API]"
    )
    parser.add_argument(
        "--hooks", metavar="FILE", help="operators' own rules, default /etc/verge/hooks.nft if it exists [VERGE_HOOKS]"
    )
    parser.add_argument(
        "--deltas", metavar="on|off", help="take differences between views, default on; off: whole views [VERGE_DELTAS]"
    )
    parser.add_argument(
        "--transit",
        metavar="leave|drop",
        help="IPv4 that this host forwards, bridged or routed, and that neither comes from nor goes to an instance of it: "
        "left alone (default), or dropped [VERGE_TRANSIT]",
    )
    parser.add_argument(
        "--self-test",
        metavar="on|off",
        help="after a change of rules let packets of its own show that they are enforced, default on [VERGE_SELF_TEST]",
    )
    for option, what in _LIMITS.items():
        default = getattr(DEFAULTS, option.split("_per_")[0])
        parser.add_argument(
            "--" + option.replace("_", "-"),
            metavar="N",
            help=f"{what}; the rest is dropped and counted. 0: no limit, default {default} [VERGE_{option.upper()}]",
        )


def read(arguments: argparse.Namespace, environment: Mapping[str, str], *, to_run: bool = True) -> Settings:
    """Raises SettingsInvalid with every fault. Not `to_run` but to look at the host: then what only a running agent needs
    (its name, its directory, its token) may be left out."""
    faults: list[str] = []

    def text(option: str) -> str:
        given = getattr(arguments, option)
        return str(given if given is not None else environment.get(f"VERGE_{option.upper()}", "")).strip()

    def needed(option: str, form: re.Pattern[str], what: str) -> str:
        value = text(option)
        flag = "--" + option.replace("_", "-")
        if not value:
            faults.append(f"{flag} (or VERGE_{option.upper()}) is missing: {what}")
        elif not form.fullmatch(value):
            faults.append(f"{flag} {value!r} is not {what}")
        return value

    given: Sequence[Sequence[str]] | None = arguments.server
    urls = [url for group in given for url in group] if given else re.split(r"[\s,]+", text("server"))
    servers = tuple(url.rstrip("/") for url in urls if url)
    faults += [fault for url in servers if (fault := _fault_in_url(url))]
    node = needed("node", _NODE, "this node's name, a DNS label or an address") if to_run or text("node") else ""
    bridge = needed("bridge", _LINK, "the name of the bridge that instances are attached to")
    public = needed("public_interface", _LINK, "the name of a link (on a flat network that of the bridge)")
    state = text("state_dir")
    if not state and to_run:
        faults.append("--state-dir (or VERGE_STATE_DIR) is missing: a directory for the last view and the socket")
    elif not state.isprintable():
        faults.append(f"--state-dir {state!r} has a character that cannot be printed")
    token = text("token_file")
    if servers and not token and to_run:
        faults.append("--token-file (or VERGE_TOKEN_FILE) is missing: the file with this node's bearer token")
    ports = text("ports") or "vn_*"
    if not _PORTS.fullmatch(ports):
        faults.append(f"--ports {ports!r} is not the pattern of links' names: a prefix and a star, such as vn_*")
    api = _api_address(text("api") or f"unix:{state}/agent.sock", faults)
    deltas, self_test = (_switch(option, text(option), faults) for option in ("deltas", "self_test"))
    transit = text("transit") or "leave"
    if transit not in ("leave", "drop"):
        faults.append(f"--transit {transit!r} is neither leave nor drop")
    limits = _limits({option: text(option) for option in _LIMITS}, faults)
    if faults:
        raise SettingsInvalid(faults)
    token_file = Path(token) if token else None
    hooks = Path(text("hooks") or "/etc/verge/hooks.nft")
    return Settings(
        node=node,
        servers=servers,
        token_file=token_file,
        state_dir=Path(state),
        bridge=bridge,
        public_interface=public,
        ports=ports,
        api=api,
        deltas=deltas,
        transit=transit == "leave",
        self_test=self_test,
        hooks=hooks,
        limits=limits,
    )


def _switch(option: str, given: str, faults: list[str]) -> bool:
    """On unless told otherwise."""
    if given not in ("", "on", "off"):
        faults.append(f"--{option.replace('_', '-')} {given!r} is neither on nor off")
    return given != "off"


def _limits(given: Mapping[str, str], faults: list[str]) -> Limits:
    found = {}
    for option, value in given.items():
        if value.isascii() and value.isdigit() and int(value) <= _MOST:
            found[option.split("_per_")[0]] = int(value)
        elif value:
            faults.append(f"--{option.replace('_', '-')} {value!r} is no number from 0 (no limit) to {_MOST}")
    return Limits(**found)


def _fault_in_url(url: str) -> str | None:
    if url.startswith("unix:"):
        return None if url.startswith("unix:/") else f"--server {url!r}: a unix socket is given as unix:/PATH"
    parts = urlsplit(url)
    try:
        fine = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        fine = False
    return None if fine else f"--server {url!r} is not http://HOST:PORT, https://HOST:PORT or unix:/PATH"


def _api_address(text: str, faults: list[str]) -> ApiAddress:
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path or len(path.encode()) > 107:
            faults.append(f"--api {text!r}: the path of a unix socket has 1 to 107 bytes")
        return ApiAddress(path=Path(path))
    host, _, port = text.removeprefix("http://").rpartition(":")
    host = host.strip("[]")
    if host not in _LOOPBACK:
        faults.append(f"--api {text!r}: unix:PATH, or HOST:PORT on loopback (127.0.0.1, ::1, localhost)")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        faults.append(f"--api {text!r}: the port is a number up to 65535, 0 picks a free one")
        port = "0"
    return ApiAddress(host=host, port=int(port))
