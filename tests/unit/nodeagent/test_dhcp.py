"""What a view says about DHCP, and what dnsmasq makes of it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from nodeagent.desired.dhcp import dhcp
from nodeagent.desired.reserved import IDENTIFIER
from nodeagent.dnsmasq import DnsmasqFailed, text
from nodeagent.dnsmasq.files import Files
from nodeagent.state.host import HostFacts
from nodeagent.state.leases import Host, Lease, entitled, parse, stale
from tests.unit.nodeagent.wires import instance, view, wire
from verge.contract.view import View

FACTS = HostFacts("br0", "br0")
_TO = "169.254.67.67/32,10.111.0.1,169.254.169.254/32,10.111.0.1,0.0.0.0/0,10.111.0.1"
ROUTES = f"option:router,10.111.0.1\noption:classless-static-route,{_TO}\n249,{_TO}\n"
ONE = Host(IPv4Address("10.111.101.1"), "d0:0d:00:00:00:01", "ip-10-111-101-1")


def test_one_host_for_each_instance_by_address() -> None:
    wanted = dhcp(view({"i-2": instance(2), "i-10": instance(10), "i-1": instance(1)}), FACTS)
    assert [str(host.address) for host in wanted.hosts] == ["10.111.101.1", "10.111.101.2", "10.111.101.10"]
    assert wanted.hosts[0] == ONE
    assert not wanted.failures


def test_options_are_the_zones_and_the_networks() -> None:
    servers = ["10.111.0.2", "10.111.0.3"]
    wanted = dhcp(view({"i-1": instance(1)}, dns_servers=servers, mtu=1450), FACTS)
    assert wanted.subnet == IPv4Network("10.111.0.0/16")
    assert text.options(wanted) == (
        f"{ROUTES}option:dns-server,10.111.0.2,10.111.0.3\noption:domain-name,cloud.internal\noption:mtu,1450\n"
    )


def test_without_mtu_domain_or_servers_nothing_is_said_of_them() -> None:
    wanted = dhcp(view({"i-1": instance(1)}, dns_servers=[], dns_domain=""), FACTS)
    assert text.options(wanted) == ROUTES
    assert not wanted.failures


def test_a_quarantined_instance_gets_no_address() -> None:
    wanted = dhcp(view({"i-1": instance(1, interface="eth7"), "i-2": instance(2)}), FACTS)
    assert [str(host.address) for host in wanted.hosts] == ["10.111.101.2"]


def test_an_address_outside_the_zones_subnet_is_named() -> None:
    made = wire({"i-1": instance(1), "i-2": instance(2)})
    made["zone"] |= {"subnet": "10.111.101.0/31", "gateway": "10.111.0.1"}
    wanted = dhcp(View.parse(made), FACTS)
    assert [str(host.address) for host in wanted.hosts] == ["10.111.101.1"]
    assert [(failure.object, failure.stage) for failure in wanted.failures] == [("instances/i-2", "dhcp")]


def test_a_domain_cannot_smuggle_a_line_into_the_options() -> None:
    for bad in ("a\noption:router,10.0.0.9", "a,b", "a.internal\n", "-a", "a..b", "x" * 254):
        wanted = dhcp(view({"i-1": instance(1)}, dns_domain=bad), FACTS)
        assert wanted.domain is None
        assert [failure.object for failure in wanted.failures] == ["network"]


def test_the_configuration_names_itself_by_its_content() -> None:
    one = text.configuration(IPv4Network("10.111.0.0/16"), "br0", (3, 9), Path("/x"))
    other = text.configuration(IPv4Network("10.112.0.0/16"), "br0", (3, 9), Path("/x"))
    anew = text.configuration(IPv4Network("10.111.0.0/16"), "br0", (4, 9), Path("/x"))
    assert len({text.configuration_name(one), text.configuration_name(other), text.configuration_name(anew)}) == 3
    assert "dhcp-range=10.111.0.0,static,255.255.0.0,10.111.255.255,86400\n" in one


def test_a_lease_is_given_back_in_its_holders_name() -> None:
    packet = text.release(Lease(ONE.address, ONE.mac))
    assert len(packet) == 250
    assert packet[12:16] == ONE.address.packed
    assert packet[28:34] == bytes.fromhex("d00d00000001")
    assert packet[236:] == bytes([99, 130, 83, 99, 53, 1, 7, 54, 4]) + IDENTIFIER.packed + b"\xff"


def test_stale_is_who_has_what_he_is_not_to_have() -> None:
    found = parse(
        "1800000000 d0:0d:00:00:00:01 10.111.101.1 ip-10-111-101-1 *\n"
        "1800000000 d0:0d:00:00:00:02 10.111.101.1 * 01:d0:0d:00:00:00:02\n"
        "1800000000 D0:0D:00:00:00:01 10.111.101.2 * *\n"
        "1800000000 d0:0d:00:00\n"
        "duid 00:01\n"
        "1800000000 d0:0d:00:00:00:03 10.111.1"
    )
    assert len(found) == 3
    assert stale(found, [ONE]) == (
        Lease(IPv4Address("10.111.101.1"), "d0:0d:00:00:00:02"),
        Lease(IPv4Address("10.111.101.2"), "d0:0d:00:00:00:01"),
    )


def test_files_say_when_dnsmasq_must_forget_something(tmp_path: Path) -> None:
    files = Files(tmp_path / "dhcp")
    other = Host(ONE.address, "d0:0d:00:00:00:09", ONE.name)
    assert files.admit([ONE]) == (False, {}), "a new host is noticed by itself"
    assert files.admit([ONE]) == (False, {})
    assert files.admit([other]) == (True, {}), "the old MAC would have the address still"
    assert (tmp_path / "dhcp/hosts/10.111.101.1").read_text() == "d0:0d:00:00:00:09,10.111.101.1,ip-10-111-101-1\n"
    assert not files.retain([ONE.address])
    assert files.retain([])
    assert not list((tmp_path / "dhcp/hosts").iterdir())
    assert files.options("a\n")
    assert not files.options("a\n")


def test_the_lease_file_is_left_to_those_who_are_entitled() -> None:
    mine = "1800000000 d0:0d:00:00:00:01 10.111.101.1 ip-10-111-101-1 *\n"
    others = "1800000000 d0:0d:00:00:00:02 10.111.101.2 * *\n1800000000 d0:0d:00:00:00:02 10.111.101.1 * *\n"
    assert entitled(others + mine + "duid 00:01\n1800000000 d0:0d", [ONE]) == mine


def test_one_host_more_touches_its_own_file_only(tmp_path: Path) -> None:
    files = Files(tmp_path / "dhcp")
    two = Host(IPv4Address("10.111.101.2"), "d0:0d:00:00:00:02", "ip-10-111-101-2")
    files.admit([ONE])
    mine = tmp_path / "dhcp/hosts/10.111.101.1"
    mine.write_text("other")
    assert files.admit([ONE, two]) == (False, {}), "what it wrote it does not read"
    assert mine.read_text() == "other"
    files.doubt()
    (tmp_path / "dhcp/hosts/x").write_text("no address")
    assert files.admit([ONE, two]) == (True, {})
    assert mine.read_text() == text.host(ONE)
    assert sorted(path.name for path in (tmp_path / "dhcp/hosts").iterdir()) == ["10.111.101.1", "10.111.101.2"]


def test_what_dnsmasq_says_is_bounded(tmp_path: Path) -> None:
    files = Files(tmp_path)
    with files.log.open("ab", buffering=0) as said:
        said.write(b"x" * (1 << 18))
        files.shorten_log()
        assert files.log.stat().st_size == 1 << 18
        said.write(b"y")
        files.shorten_log()
        said.write(b"z")
    assert files.log.read_bytes() == b"z"


def test_paths_are_quoted_or_refused() -> None:
    written = text.configuration(IPv4Network("10.111.0.0/16"), "br0", (3, 9), Path('/a, "b"\\c # d'))
    assert 'dhcp-leasefile="/a, \\"b\\"\\\\c # d/leases"\n' in written
    with pytest.raises(DnsmasqFailed, match="state directory"):
        text.configuration(IPv4Network("10.111.0.0/16"), "br0", (3, 9), Path("/a\nport=53"))


def test_more_dns_servers_than_can_be_told_are_named() -> None:
    servers = [f"192.168.100.{number}" for number in range(100, 161)]
    wanted = dhcp(view({"i-1": instance(1)}, dns_servers=servers), FACTS)
    assert [str(one) for one in wanted.dns_servers] == servers[:60]
    assert max(map(len, text.options(wanted).splitlines())) < 1024
    assert [failure.object for failure in wanted.failures] == ["network"]
