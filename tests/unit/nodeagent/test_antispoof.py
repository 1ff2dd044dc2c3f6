"""The bridge table, frame by frame."""

from typing import Any

import pytest

from nodeagent.desired.node import desired
from nodeagent.state import ownership
from nodeagent.state.host import HostFacts
from nodeagent.state.rule import Field
from tests.unit.nodeagent.trace import Packet, base
from tests.unit.nodeagent.wires import GATEWAY, NODE_ADDRESS, instance, view
from verge.contract.members import parse_address

FACTS = HostFacts("br0", "br0")
TABLE = desired(view({"i-1": instance(1), "i-2": instance(2)}), FACTS).ruleset[ownership.BRIDGE]
EMPTY = desired(None, FACTS).ruleset[ownership.BRIDGE]
PORT, MAC, IP = "vn_i-1", "d0:0d:00:00:00:01", "10.111.101.1"
OTHER_MAC, OTHER_IP = "d0:0d:00:00:00:02", "10.111.101.2"
ROUTER = "02:00:00:00:00:01"


def sends(port: str = PORT, mac: str = MAC, **fields: Any) -> bool:
    return base(TABLE, "prerouting", Packet({Field.IIFNAME: port, Field.ETHER_SADDR: mac} | fields_of(fields)))


def gets(port: str = PORT, mac: str = MAC, **fields: Any) -> bool:
    return base(TABLE, "postrouting", Packet({Field.OIFNAME: port, Field.ETHER_DADDR: mac} | fields_of(fields)))


def fields_of(given: dict[str, Any]) -> dict[Field, Any]:
    return {
        Field[name]: parse_address(value) if name.endswith("_IP") or name in ("IP_SADDR", "IP_DADDR") else value
        for name, value in given.items()
    }


def ip(source: str = IP, destination: str = OTHER_IP, **more: Any) -> dict[str, Any]:
    return {"ETHER_TYPE": "ip", "IP_SADDR": source, "IP_DADDR": destination} | more


def arp(sender: str = IP, target: str = OTHER_IP, mac: str = MAC, operation: str = "request") -> dict[str, Any]:
    return {
        "ETHER_TYPE": "arp",
        "ARP_OPERATION": operation,
        "ARP_SADDR_ETHER": mac,
        "ARP_SADDR_IP": sender,
        "ARP_DADDR_IP": target,
    }


def test_an_instance_sends_as_itself() -> None:
    assert sends(**ip())
    assert sends(**arp())
    assert sends(**arp(operation="reply"))


@pytest.mark.parametrize(
    "frame",
    [
        {"mac": OTHER_MAC} | ip(),
        ip(OTHER_IP),
        ip("0.0.0.0"),
        ip("192.0.2.1"),
        {"mac": OTHER_MAC} | ip(OTHER_IP),
        {"mac": OTHER_MAC} | arp(),
        arp(OTHER_IP),
        arp(mac=OTHER_MAC),
        arp(GATEWAY),
        arp("0.0.0.0", OTHER_IP),
        arp(operation="3"),
        ip(UDP_SPORT=67, UDP_DPORT=68),
        {"ETHER_TYPE": "ip6"},
        {"ETHER_TYPE": "8021q"},
        {"ETHER_TYPE": "0x88cc"},
        {"port": "vn_i-2"} | ip(),
        {"port": "vn_new"} | ip(),
        {"port": "vn_new"} | arp(),
    ],
)
def test_and_as_nobody_else(frame: dict[str, Any]) -> None:
    assert not sends(**frame)


def test_an_instance_may_probe_and_ask_for_its_own_address() -> None:
    assert sends(**arp("0.0.0.0", IP))
    own, other = (int(mac.replace(":", ""), 16) for mac in (MAC, OTHER_MAC))
    rarp = {"ETHER_TYPE": "0x8035", "RARP_OPERATION": 3, "RARP_SENDER": own, "RARP_TARGET": own}
    assert sends(**rarp)
    assert not sends(**(rarp | {"RARP_TARGET": other}))
    assert not sends(**(rarp | {"RARP_OPERATION": 4}))
    assert not sends(mac=OTHER_MAC, **rarp)


def test_an_instance_gets_what_is_for_it() -> None:
    assert gets(**ip(OTHER_IP, IP))
    assert gets(**arp(OTHER_IP, IP, OTHER_MAC))
    assert gets(**arp(OTHER_IP, IP, OTHER_MAC, "reply"))
    assert gets(**arp(OTHER_IP, "0.0.0.0", OTHER_MAC, "reply")), "the answer to its probe"
    assert gets(**arp(GATEWAY, GATEWAY, ROUTER)), "a gateway announcing itself"


@pytest.mark.parametrize(
    "frame",
    [
        ip(OTHER_IP, "10.111.101.3"),
        ip(OTHER_IP, "255.255.255.255"),
        ip(OTHER_IP, "224.0.0.251"),
        arp(OTHER_IP, "10.111.101.3", OTHER_MAC),
        arp(OTHER_IP, OTHER_IP, OTHER_MAC),
        {"mac": OTHER_MAC} | arp(OTHER_IP, "0.0.0.0", OTHER_MAC, "reply"),
        {"ETHER_TYPE": "ip6"},
        {"ETHER_TYPE": "8021q"},
        {"port": "vn_new"} | ip(OTHER_IP, IP),
    ],
)
def test_and_nothing_else(frame: dict[str, Any]) -> None:
    assert not gets(**frame)


def test_nobody_elsewhere_claims_an_address_of_an_instance_and_the_host_lives() -> None:
    assert not sends(port="up0", mac=ROUTER, **ip(IP))
    assert not sends(port="up0", mac=ROUTER, **arp(IP, GATEWAY))
    for table in (TABLE, EMPTY):
        for fields in (
            ip(GATEWAY, NODE_ADDRESS),
            arp(GATEWAY, NODE_ADDRESS),
            ip(NODE_ADDRESS, "255.255.255.255", UDP_SPORT=68),
        ):
            frame = fields_of(fields)
            assert base(table, "prerouting", Packet({Field.IIFNAME: "up0"} | frame))
            assert base(table, "postrouting", Packet({Field.OIFNAME: "up0"} | frame))
            assert base(table, "forward", Packet({Field.IIFNAME: "up0", Field.OIFNAME: "eth9"} | frame))


def test_dhcp_does_not_cross_between_ports_and_the_network() -> None:
    def crosses(source: str, destination: str, sport: int, dport: int) -> bool:
        names = {Field.IIFNAME: source, Field.OIFNAME: destination}
        return base(TABLE, "forward", Packet(names | {Field.UDP_SPORT: sport, Field.UDP_DPORT: dport}))

    assert not crosses("vn_i-1", "up0", 68, 67)
    assert not crosses("up0", "vn_i-1", 67, 68)
    assert crosses("up0", "eth9", 67, 68)


def test_before_the_first_view_every_port_is_closed() -> None:
    for frame in (ip(), arp(), arp("0.0.0.0", IP)):
        both = fields_of(frame)
        assert not base(EMPTY, "prerouting", Packet({Field.IIFNAME: PORT, Field.ETHER_SADDR: MAC} | both))
        assert not base(EMPTY, "postrouting", Packet({Field.OIFNAME: PORT, Field.ETHER_DADDR: MAC} | both))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"interface": "tap0"}, "does not match"),
        ({"interface": "br0"}, "of the host itself"),
        ({"interface": "lo"}, "of the host itself"),
        ({"interface": 'vn_"; drop'}, "no interface name"),
        ({"interface": "vn_i-2"}, "claimed by i-2"),
        ({"mac": OTHER_MAC}, "claimed by i-2"),
        ({"mac": "01:00:00:00:00:01"}, "no unicast MAC"),
        ({"private_ip": OTHER_IP}, "claimed by i-2"),
        ({"private_ip": GATEWAY}, "the gateway"),
        ({"private_ip": NODE_ADDRESS}, "the node itself"),
        ({"private_ip": "10.111.1.1"}, "the metadata service"),
        ({"private_ip": "10.111.0.2"}, "a DNS server"),
        ({"private_ip": "192.0.2.9"}, "in none of"),
    ],
)
def test_an_instance_that_must_not_be_enforced_is_closed_and_the_host_lives(change: dict[str, Any], why: str) -> None:
    found = desired(view({"i-1": instance(1, **change), "i-2": instance(2), "i-3": instance(3)}), FACTS)
    assert why in next(failure.reason for failure in found.failures if failure.object == "instances/i-1")
    assert "i-1" in found.quarantined
    assert "i-3" in found.interfaces
    table = found.ruleset[ownership.BRIDGE]
    vm = instance(1, **change)
    claim = {Field.IIFNAME: vm["interface"], Field.ETHER_SADDR: vm["mac"]} | fields_of(ip(vm["private_ip"]))
    protected = vm["private_ip"] in (GATEWAY, NODE_ADDRESS, "10.111.1.1", "10.111.0.2", "192.0.2.9")
    if not (protected and not FACTS.is_port(vm["interface"])):
        assert not base(table, "prerouting", Packet(claim))
    for address in (GATEWAY, NODE_ADDRESS, "10.111.1.1", "10.111.0.2"):
        frame = {Field.IIFNAME: "up0", Field.ETHER_SADDR: ROUTER}
        assert base(table, "prerouting", Packet(frame | fields_of(ip(address))))
        assert base(table, "prerouting", Packet(frame | fields_of(arp(address))))


def test_a_pattern_that_matches_the_host_is_refused() -> None:
    with pytest.raises(ValueError, match="eth0"):
        HostFacts("br0", "eth0", ports="eth*")
    with pytest.raises(ValueError, match="prefix and a star"):
        HostFacts("br0", "eth0", ports="*")
