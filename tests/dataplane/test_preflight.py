"""A real host broken in each way: the check that says so, its culprit, and that what it prints as the remedy mends it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import topology
from lab.build import Lab, Vm
from lab.flows import Flow
from lab.host import CommandFailed, Host
from lab.listeners import Listeners
from lab.probes import expect
from nodeagent.enforcement import Enforcement
from nodeagent.kernel.ruleset import KernelRuleset
from nodeagent.preflight.gather.features import FEATURES
from nodeagent.preflight.preflight import Preflight
from nodeagent.state import ownership
from tests.dataplane.cloud import FACTS, Cloud, facts_of
from tests.dataplane.legacy_tables import set_forward_policy
from tests.unit.nodeagent.wires import group, rule, wire
from verge.contract.report import Check
from verge.contract.view import View

ROOT = Path(__file__).parents[2]


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(topology.flat(1)) as made:
        yield made


@pytest.fixture
def node(lab: Lab) -> Host:
    return lab["nc-1"]


def look(node: Host, view: View | None = None, facts=FACTS, servers=()) -> dict[str, Check]:
    view = view or View.parse(wire())
    with node.entered():
        return {one.check: one for one in Preflight(facts, servers).whole(view)}


def mend(node: Host, remedy: str) -> None:
    """As an operator would: pasted into a shell."""
    node.run("sh", "-c", remedy)


def failing(checks: dict[str, Check]) -> list[str]:
    return [name for name, one in checks.items() if one.blocks]


def test_a_lab_host_is_fit(lab: Lab, node: Host) -> None:
    with Listeners() as open_there:
        open_there.open_all(lab["clc"], tcp_ports=[8773])
        checks = look(node)
    assert failing(checks) == []
    # what this machine's clock and tools are like is not the lab's to say
    lacking = {name for name, one in checks.items() if not one.ok} - {"clock", "nftables-service"}
    assert lacking == set(), checks
    assert checks["gateway"].found == "the gateway 10.111.0.1 answers"


def test_so_is_one_with_separate_networks() -> None:
    with Lab(topology.two(1)) as lab:
        view = View.parse(wire(host="198.51.100.101", public_ips=["198.51.100.201-198.51.100.250"]))
        checks = look(lab["nc-1"], view, facts_of(lab.topology))
        assert failing(checks) == []
        assert {"public-interface", "elastic-ips", "node-address"} <= {n for n, one in checks.items() if one.ok}


@dataclass(frozen=True)
class Fault:
    check: str
    make: Callable[[Host], None]
    says: str
    severity: str = "failing"


FAULTS = {
    "bridge down": Fault("bridge", lambda node: node.ip("link set br0 down"), "br0 is down"),
    "bridge missing": Fault("bridge", lambda node: node.ip("link delete br0"), "there is no bridge br0"),
    "bridge without an address": Fault(
        "bridge-address", lambda node: node.ip("address flush dev br0"), "br0 has no address in 10.111.0.0/16"
    ),
    "bridge in another network": Fault(
        "bridge-address",
        lambda node: node.ip("address flush dev br0", "address add 192.0.2.5/24 dev br0"),
        "br0 has no address in 10.111.0.0/16, but 192.0.2.5/24",
    ),
    "another node's address": Fault(
        "node-address",
        lambda node: node.ip("address delete 10.111.0.101/16 dev br0", "address add 10.111.0.77/16 dev br0"),
        "10.111.0.101 is not here, but 10.111.0.77/16 on br0",
        "warning",
    ),
    "uplink down": Fault("uplink", lambda node: node.ip("link set up0 down"), "up0 is down", "warning"),
    "uplink too narrow": Fault("mtu", lambda node: node.ip("link set up0 mtu 1400"), "up0 1400", "warning"),
    "docker's forward policy": Fault(
        "forward",
        lambda node: node.nft("""
            add table ip filter
            add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }
            add chain ip filter DOCKER-USER
            add rule ip filter FORWARD counter jump DOCKER-USER
            add rule ip filter FORWARD oifname "docker0" ct state established,related accept
        """),
        "table ip filter (docker), policy drop of chain FORWARD: drops packets of instances",
    ),
    "a firewall that rejects what is left": Fault(
        "forward",
        lambda node: node.nft("""
            add table inet wall
            add chain inet wall passing { type filter hook forward priority 0; }
            add chain inet wall rest
            add rule inet wall passing iifname "lo" accept
            add rule inet wall passing ct state established,related accept
            add rule inet wall passing jump rest
            add rule inet wall rest reject with icmpx admin-prohibited
        """),
        "table inet wall, a rule of chain rest: reject: drops packets of instances",
    ),
    "a wall in the bridge": Fault(
        "forward",
        lambda node: node.nft("""
            add table bridge theirs
            add chain bridge theirs forward { type filter hook forward priority 0; policy drop; }
        """),
        "table bridge theirs, policy drop of chain forward",
    ),
    "a firewall that drops requests for addresses": Fault(
        "dhcp-input",
        lambda node: node.nft("""
            add table inet filter
            add chain inet filter input { type filter hook input priority 0; policy drop; }
            add rule inet filter input tcp dport 22 accept
        """),
        "table inet filter, policy drop of chain input: drops requests",
        "warning",
    ),
}


@pytest.mark.parametrize("what", FAULTS)
def test_it_is_found_named_and_mended_by_its_remedy(node: Host, what: str) -> None:
    fault = FAULTS[what]
    fault.make(node)
    found = look(node)[fault.check]
    assert not found.ok
    assert found.severity == fault.severity
    assert fault.says in found.found
    mend(node, found.remedy)
    assert look(node)[fault.check].ok


def test_docker_beside_us_and_its_remedy_by_packets(flat: Lab, vms: list[Vm]) -> None:
    """A rule of theirs drops what ours let through; the rule to add lets it pass again, on the bridge and routed."""
    with Cloud(flat, vms) as cloud:
        cloud.groups = {"sg": group(rule("tcp", 80, cidr="0.0.0.0/0"))}
        cloud.groups_of = {vm.interface: ["sg"] for vm in vms}
        cloud.enforce()
        flows = [Flow.tcp(vms[1].host, vms[0].host, vms[0].ip, 80), Flow.tcp(vms[2].host, vms[0].host, vms[0].ip, 80)]
        assert not expect(flows, [])
        node = flat["nc-1"]
        FAULTS["docker's forward policy"].make(node)
        assert not expect([], flows)
        mend(node, look(node, cloud.view("nc-1"))["forward"].remedy)
        assert not expect(flows, [])


def test_iptables_legacy_is_read_too(node: Host) -> None:
    if os.geteuid():
        pytest.skip("the kernel tells root alone which tables iptables-legacy uses")
    set_forward_policy(node, "drop")
    found = look(node)["forward"]
    assert found.blocks
    assert found.found.startswith("iptables-legacy table filter, policy drop of chain FORWARD")
    assert found.remedy == "iptables-legacy -I FORWARD -i br0 -j ACCEPT && iptables-legacy -I FORWARD -o br0 -j ACCEPT"
    if shutil.which("iptables-legacy", path="/usr/sbin:/sbin"):
        mend(node, found.remedy)
    else:
        set_forward_policy(node, "accept")
    assert look(node)["forward"].ok


def rival(node: Host, *options: str) -> subprocess.Popen[str]:
    """Another DHCP server, ready."""
    started = node.popen(
        *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--log-facility=-", "--pid-file="),
        *("--user=", "--group=", "--dhcp-leasefile=/dev/null", *options),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert started.stderr
    while "started" not in (line := started.stderr.readline()):
        assert line, "it ended"
    return started


def test_port_67_taken_and_by_whom(node: Host) -> None:
    taken = rival(node, "--dhcp-range=10.111.0.50,10.111.0.60")
    try:
        found = look(node)["dhcp-port"]
        assert not found.ok
        assert found.severity == "warning", "rules are enforced without DHCP"
        assert found.found == f"UDP port 67 is taken by dnsmasq (pid {taken.pid})"
        mend(node, found.remedy)
        taken.wait(10)
        assert look(node)["dhcp-port"].ok
    finally:
        taken.kill()
        taken.wait(10)


def test_a_server_of_another_bridge_shares_the_port(node: Host) -> None:
    node.ip("link add virbr0 type bridge", "link set virbr0 up", "address add 192.168.122.1/24 dev virbr0")
    libvirts = rival(node, "--bind-dynamic", "--interface=virbr0", "--dhcp-range=192.168.122.2,192.168.122.9")
    try:
        found = look(node)["dhcp-port"]
        assert found.ok, found
        assert f"shared with dnsmasq (pid {libvirts.pid})" in found.found
    finally:
        libvirts.kill()
        libvirts.wait(10)


def test_who_does_not_answer(lab: Lab, node: Host) -> None:
    view = View.parse(wire())
    lab["router"].ip("link set lan0 down")
    checks = look(node, view, servers=["http://10.111.1.1:8470"])
    assert checks["gateway"].found == "the gateway 10.111.0.1: does not answer ARP on br0"
    assert checks["metadata"].found == "the metadata service 10.111.1.1:8773: Connection refused"
    assert checks["view-server"].found == "http://10.111.1.1:8470: Connection refused"
    assert failing(checks) == []
    lab["router"].ip("link set lan0 up")
    with Listeners() as open_there:
        open_there.open_all(lab["clc"], tcp_ports=[8773])
        checks = look(node, view)
    assert checks["gateway"].ok
    assert checks["metadata"].ok


def test_the_port_pattern_of_an_interface_of_the_host(node: Host) -> None:
    node.ip("link add vn_wan type bridge", "address add 192.0.2.9/24 dev vn_wan")
    found = look(node)["port-names"]
    assert found.blocks
    assert "vn_wan has an address" in found.found


# -- what is tried is what is needed


def kinds(node: Host, tables: set[tuple[str, str]]) -> set[str]:
    """Of every rule of these tables: what it looks at and does; and of their sets and maps the flags and kinds."""
    found: set[str] = set()

    def walk(family: str, value: object) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                if name in ("payload", "meta", "ct", "fib") and isinstance(inner, dict):
                    found.add(f"{name}")
                elif name in ("concat", "vmap", "map", "mangle", "snat", "dnat", "masquerade", "limit", "ct count"):
                    found.add(f"{family} {name}")
                walk(family, inner)
        elif isinstance(value, list):
            for inner in value:
                walk(family, inner)

    for family, name in sorted(tables):
        for entry in json.loads(node.run("nft", "-j", "list", "table", family, name))["nftables"]:
            if "rule" in entry:
                walk(family, entry["rule"]["expr"])
    return found


def test_every_kind_that_our_rules_need_is_tried(node: Host) -> None:
    with node.entered():
        enforcement = Enforcement(FACTS)
        members = {
            "i-1": {
                "mac": "d0:0d:00:00:00:01",
                "private_ip": "10.111.101.1",
                "elastic_ip": "10.111.200.1",
                "interface": "vn_i-1",
                "groups": ["sg"],
                "account": "a",
            }
        }
        every = group(rule("tcp", 22, group="sg"), rule("icmp", cidr="0.0.0.0/0"), rule(132, cidr="0.0.0.0/0"))
        view = View.parse(
            wire(
                members,
                {"sg": every},
                private_nat="masquerade",
                public_ips=["10.111.200.1-10.111.200.9"],
            )
        )
        assert enforcement.apply(view, clock_seconds=1_700_000_000).state == "applied"
        enforcement.close()
    needed = kinds(node, {(table.family, table.name) for table in ownership.TABLES})
    for n, text in enumerate(FEATURES.values()):
        node.nft(text.replace("verge_trial", f"verge_trial{n}"))
    tables = [
        entry["table"] for entry in json.loads(node.run("nft", "-j", "list", "tables"))["nftables"] if "table" in entry
    ]
    tried = kinds(node, {(one["family"], one["name"]) for one in tables if one["name"].startswith("verge_trial")})
    assert needed - tried == set()


def test_trying_leaves_nothing_behind(node: Host) -> None:
    """Not even a generation, which would have the agent look for what changed."""

    def state() -> tuple[str, set[str], int]:
        with node.entered():
            ruleset = KernelRuleset()
            try:
                return node.run("nft", "list", "ruleset"), set(node.links()), ruleset.generation()
            finally:
                ruleset.close()

    before = state()
    look(node)
    assert state() == before


# -- the command


def command(node: Host, *options: str, before: str = "") -> tuple[int, str]:
    words = [sys.executable, "-m", "nodeagent", "preflight", "--bridge", "br0", "--public-interface", "br0", *options]
    script = f'{before} cd {ROOT / "services"} && exec "$@"'
    ran = node.popen("sh", "-c", script, "sh", *words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said, _ = ran.communicate(timeout=60)
    return ran.returncode, said


def test_the_command_without_an_agent_and_without_a_view(node: Host) -> None:
    code, said = command(node)
    assert code == 0, said
    assert "0 failing: fit to be a node" in said
    node.ip("link set br0 down")
    code, said = command(node, "--json")
    assert code == 1
    answer = json.loads(said)
    assert answer["ok"] is False
    assert answer["view"] is None
    assert answer["checks"][0] == {
        "check": "bridge",
        "ok": False,
        "severity": "failing",
        "found": "br0 is down",
        "needed": "br0 on the private network, up",
        "remedy": "ip link set br0 up",
    }
    mend(node, answer["checks"][0]["remedy"])
    assert command(node)[0] == 0


def test_the_command_says_what_it_is_told_wrongly(node: Host) -> None:
    code, said = command(node, "--ports", "br*")
    assert code == 2
    assert "br0 is an interface of the host" in said


def test_settings_that_cannot_be_written(node: Host) -> None:
    node.set_sysctl("net.ipv4.ip_forward", 0)
    code, said = command(node)
    assert code == 0, "Verge sets it"
    code, said = command(node, before="mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys &&")
    assert code == 1
    assert "net.ipv4.ip_forward is 0 and cannot be written" in said


def test_lab_commands_fail_loudly(node: Host) -> None:
    """So a remedy that is no command would not pass for one that mends."""
    with pytest.raises(CommandFailed):
        mend(node, "ip link set nowhere up")
