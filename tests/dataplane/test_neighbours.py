"""Beside docker, libvirt, firewalld and iptables of both kinds: what is theirs is not touched, and works on.

Rule sets as these programs make them, by their own tool where that is iptables. A snapshot has nftables' handles, so a rule
that was deleted and made again would show.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from ipaddress import IPv4Interface
from pathlib import Path
from random import Random

import pytest

from lab import topology
from lab.build import Lab
from lab.flows import Flow
from lab.host import Host
from lab.probes import expect
from nodeagent.enforcement import Enforcement
from nodeagent.formersettings import FormerSettings
from nodeagent.state import ownership
from tests.dataplane.cloud import FACTS
from tests.dataplane.place import FLAT, TWO, Place, named, place
from tests.dataplane.test_flush import flush, sysctls
from tests.unit.nodeagent.wires import group, rule

DOCKER = """
-t filter -P FORWARD DROP
-t filter -N DOCKER
-t filter -N DOCKER-ISOLATION-STAGE-1
-t filter -N DOCKER-USER
-t filter -A DOCKER-USER -j RETURN
-t filter -A DOCKER-ISOLATION-STAGE-1 -j RETURN
-t filter -A FORWARD -j DOCKER-USER
-t filter -A FORWARD -j DOCKER-ISOLATION-STAGE-1
-t filter -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-t filter -A FORWARD -o docker0 -j DOCKER
-t filter -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-t filter -A FORWARD -i docker0 -o docker0 -j ACCEPT
-t filter -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 8080 -j ACCEPT
-t nat -N DOCKER
-t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-t nat -A DOCKER -i docker0 -j RETURN
-t nat -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:8080
"""
"""Docker 24 with one published port."""

LET_BRIDGED_THROUGH = ("-I DOCKER-USER -i br0 -j ACCEPT", "-I DOCKER-USER -o br0 -j ACCEPT")
"""What an operator adds beside Docker: whatever comes from or goes to an instance is Verge's to judge."""

LIBVIRT = """
-t filter -N LIBVIRT_FWI
-t filter -N LIBVIRT_FWO
-t filter -N LIBVIRT_FWX
-t filter -N LIBVIRT_INP
-t filter -A INPUT -j LIBVIRT_INP
-t filter -A FORWARD -j LIBVIRT_FWX
-t filter -A FORWARD -j LIBVIRT_FWI
-t filter -A FORWARD -j LIBVIRT_FWO
-t filter -A LIBVIRT_INP -i docker0 -p udp --dport 53 -j ACCEPT
-t filter -A LIBVIRT_FWX -i docker0 -o docker0 -j ACCEPT
-t filter -A LIBVIRT_FWO -s 172.17.0.0/16 -i docker0 -j ACCEPT
-t filter -A LIBVIRT_FWO -i docker0 -j REJECT
-t filter -A LIBVIRT_FWI -d 172.17.0.0/16 -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT
-t filter -A LIBVIRT_FWI -o docker0 -j REJECT
-t nat -N LIBVIRT_PRT
-t nat -A POSTROUTING -j LIBVIRT_PRT
-t nat -A LIBVIRT_PRT -s 172.17.0.0/16 -d 224.0.0.0/24 -j RETURN
-t nat -A LIBVIRT_PRT -s 172.17.0.0/16 ! -d 172.17.0.0/16 -j MASQUERADE
-t nat -A PREROUTING -p tcp --dport 8080 -m addrtype --dst-type LOCAL -j DNAT --to-destination 172.17.0.2:8080
"""
"""libvirt's NAT network, on the bridge of this test, and a port forwarded to a guest of it."""

FIREWALLD = """
table inet firewalld {
    chain nat_PREROUTING {
        type nat hook prerouting priority dstnat + 10; policy accept;
        fib daddr type local tcp dport 8080 dnat ip to 172.17.0.2:8080
    }
    chain nat_POSTROUTING {
        type nat hook postrouting priority srcnat + 10; policy accept;
        ip saddr 172.17.0.0/16 oifname != "docker0" masquerade
    }
    chain filter_INPUT {
        type filter hook input priority filter + 10; policy accept;
        ct state { established, related } accept
        ct state invalid drop
        meta l4proto { icmp, ipv6-icmp } accept
        tcp dport { 22, 80 } accept
        udp dport 67 accept
        reject with icmpx admin-prohibited
    }
    chain filter_FORWARD {
        type filter hook forward priority filter + 10; policy accept;
        ct state { established, related } accept
        ct status dnat accept
        iifname "docker0" accept
        iifname "br0" accept
        oifname "br0" accept
        reject with icmpx admin-prohibited
    }
}
"""
"""firewalld with br0 in a trusted zone, and a forwarded port."""

CONTAINER = "172.17.0.2"


def by_iptables(host: Host, tool: str, lines: str) -> None:
    for line in lines.strip().splitlines():
        host.run(tool, *line.split())


def docker(host: Host) -> None:
    by_iptables(host, "iptables-nft", DOCKER)
    by_iptables(host, "iptables-nft", "\n".join(LET_BRIDGED_THROUGH))


NEIGHBOURS = {
    "docker": docker,
    "libvirt": lambda host: by_iptables(host, "iptables-nft", LIBVIRT),
    "iptables of before nftables": lambda host: by_iptables(host, "iptables-legacy", LIBVIRT),
    "firewalld": lambda host: host.nft(FIREWALLD),
}


@pytest.fixture(autouse=True)
def _tools() -> None:
    for tool in ("iptables-nft", "iptables-legacy"):
        assert shutil.which(tool), "apt install iptables (setup.sh does)"


class Container:
    """Behind a bridge of its own on nc-1, which routes and translates for it."""

    def __init__(self, at: Place) -> None:
        self.host = Host.create("container")
        at.node.ip(
            "link add docker0 type bridge",
            "link set docker0 up",
            "address add 172.17.0.1/16 brd + dev docker0",
            "link add veth0 type veth peer name eth0 netns container",
            "link set veth0 master docker0 up",
        )
        self.host.ip(
            f"address add {IPv4Interface(CONTAINER + '/16')} dev eth0",
            "link set eth0 up",
            "route add default via 172.17.0.1",
        )
        at.node.set_sysctl("net.ipv4.ip_forward", 1)


@pytest.fixture
def at(request: pytest.FixtureRequest) -> Iterator[tuple[Place, Container]]:
    """The neighbour was there first, and nothing of Verge has been."""
    with Lab(topology.flat(2)) as lab:
        made = Place(lab, "impersonate", transit=True)
        container = Container(made)
        try:
            with made.cloud:
                made.cloud.enforce("nc-2")
                yield made, container
        finally:
            container.host.delete()


def theirs(host: Host) -> dict[str, object]:
    """All of the host but what is ours."""
    tables = {f"{table.family} {table.name}" for table in (*ownership.TABLES, ownership.METERS)}
    others = sorted(set(map(_table, host.run("nft", "list", "tables").splitlines())) - tables)
    return {
        "rules": [host.run("nft", "-a", "--stateless", "list", "table", *table.split()) for table in others],
        "legacy": [line.split(" [")[0] for line in host.run("iptables-legacy-save").splitlines() if line[0] != "#"],
        "links": [line for line in host.run("ip", "-4", "-o", "address").splitlines() if "br0:verge" not in line],
        "sysctls": {name: value for name, value in sysctls(host).items() if "/docker0/" in name or "/veth0/" in name},
    }


def _table(line: str) -> str:
    return line.removeprefix("table ")


def neighbour_works(at: Place, container: Container) -> list[str]:
    """A published port, from outside; and its way out."""
    wanted = [
        Flow.tcp(at.outside, container.host, at.address("nc-1"), 8080),
        Flow.tcp(container.host, at.outside, topology.OUTSIDE, 80),
    ]
    return [str(one) for one in expect(wanted, [])]


def works(at: Place) -> list[str]:
    """Instances, on one node and across, bridged and routed and translated."""
    passing = [
        Flow.tcp(at.b.host, at.a.host, at.a.ip, 80),
        Flow.tcp(at.d.host, at.a.host, at.a.ip, 22),
        Flow.tcp(at.a.host, at.d.host, at.d.ip, 80),
        Flow.tcp(at.outside, at.a.host, at.elastic(1), 80),
        Flow.tcp(at.a.host, at.outside, topology.OUTSIDE, 80),
    ]
    dropped = [
        Flow.tcp(at.b.host, at.a.host, at.a.ip, 23),
        Flow.tcp(at.outside, at.a.host, at.elastic(1), 22),
        Flow.tcp(at.a.host, at.node, at.address("nc-1"), 22),
    ]
    return [str(one) for one in expect(passing, dropped)]


@pytest.mark.parametrize("who", NEIGHBOURS)
def test_what_is_theirs_is_not_touched_and_works_on(at: tuple[Place, Container], tmp_path: Path, who: str) -> None:
    place, container = at
    node = place.node
    NEIGHBOURS[who](node)
    assert not neighbour_works(place, container)
    before = theirs(node)
    mine = place.cloud.nodes["nc-1"]
    mine.enforcement.close()
    with node.entered():
        mine.enforcement = Enforcement(FACTS, formers=FormerSettings(tmp_path))
    place.cloud.enforce()
    assert not neighbour_works(place, container)
    assert not works(place)
    dice, kept = Random(7), dict(place.cloud.elastic)
    for _ in range(60):
        ports = sorted(dice.sample(range(1000, 2000), 2))
        place.cloud.groups[f"sg-{dice.randrange(4)}"] = group(rule("tcp", (ports[0], ports[1]), cidr="10.0.0.0/8"))
        place.cloud.groups_of["vn_i-00000003"] = dice.sample(sorted(place.cloud.groups), 2)
        if dice.random() < 0.2:
            place.cloud.elastic.pop(place.elastic(9), None) or place.cloud.elastic.update(
                {place.elastic(9): "vn_i-00000003"}
            )
        place.cloud.enforce("nc-1")
    assert mine.resync(place.cloud.view("nc-1")).state == "applied"
    assert theirs(node) == before
    place.cloud.elastic = kept
    place.cloud.enforce("nc-1")
    assert not works(place)
    flush(node, tmp_path, "--yes")
    assert theirs(node) == before
    assert not neighbour_works(place, container)
    mine.resync(place.cloud.view("nc-1"))
    assert not works(place)


@pytest.mark.parametrize("kind", [FLAT, TWO], ids=named)
def test_beside_docker_instances_need_one_pair_of_rules_and_then_all_of_it_passes(kind: tuple[str, str]) -> None:
    with place(kind) as at:
        reached = [
            Flow.tcp(at.outside, at.a.host, at.elastic(1), 80),
            Flow.tcp(at.d.host, at.a.host, at.a.ip, 80),
            Flow.tcp(at.b.host, at.a.host, at.a.ip, 80),
        ]
        judged = [Flow.tcp(at.b.host, at.a.host, at.a.ip, 23)]
        assert not expect(reached, judged)
        at.node.ip("link add docker0 type bridge")
        by_iptables(at.node, "iptables-nft", DOCKER)
        assert not expect([], [*reached, *judged]), "this is what a policy of drop in FORWARD does"
        by_iptables(at.node, "iptables-nft", "\n".join(LET_BRIDGED_THROUGH))
        assert not expect(reached, judged)
