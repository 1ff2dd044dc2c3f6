"""Facts to checks: what is failing, what is a warning, and what is nobody's fault."""

from dataclasses import replace
from ipaddress import IPv4Interface, IPv4Network
from typing import Any

from nodeagent.preflight.facts import (
    Answer,
    DhcpPort,
    Facts,
    Features,
    Firewalls,
    Holder,
    Hook,
    Interface,
    Kernel,
    Links,
    Reach,
    Route,
    Setting,
    Table,
    Tools,
)
from nodeagent.preflight.judging.judge import failures, judge, told
from nodeagent.preflight.text import summary, table
from nodeagent.state.host import HostFacts
from tests.unit.nodeagent.wires import wire
from verge.contract.report import Check
from verge.contract.view import View

FLAT = HostFacts("br0", "br0")
SEPARATE = HostFacts("br0", "pub0")
VIEW = View.parse(wire())
BRIDGE = Interface("bridge", is_up=True, mtu=1500, master=None, addresses=(IPv4Interface("10.111.0.101/16"),))
UPLINK = Interface("", is_up=True, mtu=1500, master="br0")
PORT = Interface("tun", is_up=True, mtu=1500, master="br0")
LINKS = Links(
    {"br0": BRIDGE, "up0": UPLINK, "vn_i-1": PORT},
    (Route(IPv4Network("10.111.0.0/16"), "br0", is_direct=True),),
    bridges_filtered=True,
)
KERNEL = Kernel(
    capable=True,
    library=True,
    settings={
        "net/ipv4/ip_forward": Setting("1", writable=True),
        "net/ipv4/conf/all/proxy_arp_pvlan": Setting("0", writable=True),
    },
    most_flows=262144,
)
FIT = Facts(
    links=LINKS,
    kernel=KERNEL,
    features=Features("6.1.0", {}),
    firewalls=Firewalls((), has_iptables=False, flushing_units=()),
    dhcp=DhcpPort((), free=True),
    tools=Tools("1.0.6", "2.90"),
    reach=Reach(
        Answer("the gateway 10.111.0.1", None),
        None,
        (Answer("http://view:1", None),),
        clock_synchronised=True,
        clock_ahead_s=0.4,
    ),
)


def check(facts: Facts, name: str, host: HostFacts = FLAT, view: View | None = VIEW) -> Check:
    [found] = [one for one in judge(facts, host, view) if one.check == name]
    return found


def wrong(facts: Facts, host: HostFacts = FLAT, view: View | None = VIEW) -> list[str]:
    return [one.check for one in judge(facts, host, view) if not one.ok]


def linked(facts: Facts = FIT, **interfaces: Interface | None) -> Facts:
    every = {**LINKS.interfaces, **{name.replace("__", "-"): one for name, one in interfaces.items()}}
    return replace(facts, links=replace(LINKS, interfaces={n: one for n, one in every.items() if one}))


def viewed(**network: Any) -> View:
    return View.parse(wire(**network))


def in_mode(mode: str) -> View:
    made = wire()
    made["host"]["gateway_mode"] = mode
    return View.parse(made)


def test_a_fit_host_lacks_nothing_with_a_view_and_without() -> None:
    assert wrong(FIT) == []
    assert wrong(FIT, view=None) == []


def test_what_was_not_looked_at_is_not_judged() -> None:
    assert judge(Facts(), FLAT, VIEW) == ()


def test_a_part_that_cannot_be_looked_at_is_named() -> None:
    facts = replace(FIT, firewalls=None, unread={"firewalls": "Operation not permitted"})
    assert wrong(facts) == ["look-at-firewalls"]
    assert failures(judge(facts, FLAT, VIEW)) == ()


def test_the_bridge() -> None:
    assert check(linked(br0=None), "bridge").found == "there is no bridge br0"
    assert check(linked(br0=replace(BRIDGE, kind="bond")), "bridge").found == "br0 is no bridge but a bond"
    down = check(linked(br0=replace(BRIDGE, is_up=False)), "bridge")
    assert (down.found, down.remedy, down.blocks) == ("br0 is down", "ip link set br0 up", True)


def test_the_bridge_has_a_way_to_its_zone() -> None:
    nowhere = replace(LINKS, routes=())
    far = replace(BRIDGE, addresses=(IPv4Interface("192.0.2.1/24"),))
    facts = replace(FIT, links=replace(nowhere, interfaces=LINKS.interfaces | {"br0": far}))
    found = check(facts, "bridge-address")
    assert found.blocks
    assert "192.0.2.1/24" in found.found
    assert found.remedy == "ip address add 10.111.0.101/16 dev br0"
    routed = replace(FIT, links=replace(LINKS, interfaces=LINKS.interfaces | {"br0": replace(BRIDGE, addresses=())}))
    assert check(routed, "bridge-address").ok, "a route to the subnet will do"
    assert check(facts, "bridge-address", view=in_mode("node")).ok, "Verge gives it the gateway's"


def test_the_node_address_is_elsewhere() -> None:
    found = check(FIT, "node-address", view=View.parse(wire(host="10.111.0.102")))
    assert (found.ok, found.severity) == (False, "warning")
    assert "10.111.0.102 is not here, but 10.111.0.101/16 on br0" in found.found
    assert found.remedy.startswith("ip address add 10.111.0.102/16 dev br0")


def test_the_public_interface() -> None:
    assert check(FIT, "public-interface", SEPARATE).found == "there is no interface pub0"
    assert (
        check(linked(pub0=replace(UPLINK, is_up=False)), "public-interface", SEPARATE).remedy == "ip link set pub0 up"
    )
    assert "public-interface" not in wrong(linked(pub0=UPLINK), SEPARATE)


def test_elastic_ips_that_nobody_on_the_link_would_ask_for() -> None:
    far = viewed(public_ips=["10.111.200.1-10.111.200.9", "198.51.100.1-198.51.100.9"])
    found = check(FIT, "elastic-ips", view=far)
    assert (found.ok, found.severity) == (False, "warning")
    assert found.found.startswith("198.51.100.1-198.51.100.9 in no network of br0")


def test_an_interface_of_the_host_under_an_instances_name() -> None:
    addressed = replace(UPLINK, master=None, addresses=(IPv4Interface("192.0.2.1/24"),))
    found = check(linked(vn_wan=addressed), "port-names")
    assert found.blocks
    assert found.found.startswith("vn_wan has an address")


def test_mtu() -> None:
    assert check(linked(up0=replace(UPLINK, mtu=1400)), "mtu").remedy.startswith("ip link set up0 mtu 1500")
    jumbo = check(FIT, "mtu", view=viewed(mtu=9000))
    assert jumbo.remedy.startswith("ip link set up0 mtu 9000 && ip link set br0 mtu 9000")
    assert not jumbo.blocks
    assert check(linked(up0=replace(UPLINK, mtu=1400)), "mtu", view=viewed(mtu=1400)).ok


def test_settings_that_verge_makes_itself_are_no_fault() -> None:
    off = replace(KERNEL, settings=dict(KERNEL.settings) | {"net/ipv4/ip_forward": Setting("0", writable=True)})
    found = check(replace(FIT, kernel=off), "sysctls")
    assert found.ok
    assert found.found == "net.ipv4.ip_forward is 0: Verge sets this with the view"


def test_settings_that_cannot_be_made() -> None:
    locked = replace(KERNEL, settings=dict(KERNEL.settings) | {"net/ipv4/ip_forward": Setting("0", writable=False)})
    found = check(replace(FIT, kernel=locked), "sysctls")
    assert found.blocks
    assert found.remedy.startswith("sysctl -w net/ipv4/ip_forward=1")
    old = replace(KERNEL, settings={"net/ipv4/ip_forward": Setting("1", writable=True)})
    assert check(replace(FIT, kernel=old), "sysctls").found == "there is no net.ipv4.conf.all.proxy_arp_pvlan"


def test_the_kernel() -> None:
    assert check(replace(FIT, kernel=replace(KERNEL, capable=False)), "capability").blocks
    assert check(replace(FIT, kernel=replace(KERNEL, library=False)), "libnftables").blocks
    refused = replace(FIT, features=Features("4.19", {"fib": "No such file or directory"}))
    assert check(refused, "nft-features").found == "Linux 4.19 refuses fib: No such file or directory"
    assert check(refused, "nft-features").blocks
    few = check(replace(FIT, kernel=replace(KERNEL, most_flows=1000)), "conntrack-size")
    assert few.remedy == "sysctl -w net.netfilter.nf_conntrack_max=65536"
    assert not few.blocks
    assert check(replace(FIT, links=replace(LINKS, bridges_filtered=False)), "br_netfilter").blocks


def test_tools() -> None:
    assert wrong(replace(FIT, tools=Tools(None, "2.90"))) == [], "the library is enough"
    assert wrong(replace(FIT, tools=Tools("0.9.8", "2.80"))) == ["nft-version", "dnsmasq"]
    assert wrong(replace(FIT, tools=Tools("1.0.2", "2.90-4~deb12u1"))) == []
    assert "no instance gets an address" in check(replace(FIT, tools=Tools("1.0.6", None)), "dnsmasq").found


def walled(table: Table, *, has_iptables: bool = False) -> Facts:
    return replace(FIT, firewalls=Firewalls((table,), has_iptables=has_iptables, flushing_units=()))


FORWARD = (Hook("FORWARD", "forward", drops=True),)


def test_whoever_drops_is_named_and_his_own_rule_mends_it() -> None:
    docker = Table("ip", "filter", FORWARD, {"FORWARD": (), "DOCKER-USER": ()})
    found = check(walled(docker), "forward")
    assert found.blocks
    assert found.found.startswith("table ip filter (docker), policy drop of chain FORWARD")
    assert found.remedy == (
        "nft insert rule ip filter DOCKER-USER iifname '\"br0\"' accept"
        " && nft insert rule ip filter DOCKER-USER oifname '\"br0\"' accept"
    )
    by_iptables = check(walled(docker, has_iptables=True), "forward")
    assert by_iptables.remedy == (
        "iptables-nft -I DOCKER-USER -i br0 -j ACCEPT && iptables-nft -I DOCKER-USER -o br0 -j ACCEPT"
    )
    legacy = check(walled(replace(docker, is_legacy=True)), "forward")
    assert legacy.remedy.startswith("iptables-legacy -I DOCKER-USER")
    ufw = Table("ip", "filter", FORWARD, {"FORWARD": (), "ufw-before-forward": ()})
    assert check(walled(ufw), "forward").remedy == "ufw route allow in on br0 && ufw route allow out on br0"
    firewalld = Table("inet", "firewalld", FORWARD, {"FORWARD": ()})
    assert check(walled(firewalld), "forward").remedy.startswith("firewall-cmd --permanent --zone=trusted")
    bridged = Table("bridge", "theirs", (Hook("f", "forward", drops=True),), {"f": ()})
    assert "nft insert rule bridge theirs f iifname '\"vn_*\"' accept" in check(walled(bridged), "forward").remedy


def test_a_firewall_between_instances_and_dhcp_is_a_warning() -> None:
    closed = Table("inet", "filter", (Hook("input", "input", drops=True),), {"input": ()})
    found = check(walled(closed), "dhcp-input")
    assert found.remedy == "nft insert rule inet filter input iifname '\"br0\"' udp dport 67 accept"
    assert not found.blocks
    assert wrong(walled(closed)) == ["dhcp-input"]


def test_a_unit_that_flushes() -> None:
    path = "/etc/systemd/system/sysinit.target.wants/nftables.service"
    facts = replace(FIT, firewalls=Firewalls((), has_iptables=False, flushing_units=(path,)))
    assert wrong(facts) == ["nftables-service"]
    assert check(facts, "nftables-service").remedy == "systemctl disable nftables.service"


def test_port_67() -> None:
    rival = Holder("dhcpd (pid 7)", 7, "dhcpd", hears_us=True)
    found = check(replace(FIT, dhcp=DhcpPort((rival,), free=False)), "dhcp-port")
    assert found.found == "UDP port 67 is taken by dhcpd (pid 7)"
    assert found.remedy == "kill 7  # for good: systemctl disable --now isc-dhcp-server.service"
    elsewhere = Holder("dnsmasq (pid 8)", 8, "dnsmasq", hears_us=False)
    assert check(replace(FIT, dhcp=DhcpPort((elsewhere,), free=True)), "dhcp-port").ok, "libvirt's, on virbr0"
    assert not check(replace(FIT, dhcp=DhcpPort((elsewhere,), free=False)), "dhcp-port").ok, "he does not share"
    hidden = Holder("a process that cannot be seen from here (uid 0)", None, None, hears_us=True)
    assert check(replace(FIT, dhcp=DhcpPort((hidden,), free=False)), "dhcp-port").remedy == "ss -lunp sport = :67"


def test_who_does_not_answer_keeps_no_view_out() -> None:
    silent = Reach(
        Answer("the gateway 10.111.0.1", "does not answer ARP on br0"),
        Answer("the metadata service 10.111.1.1:8773", "Connection refused"),
        (Answer("http://view:1", "timed out"), Answer("http://view:2", None)),
        clock_synchronised=False,
        clock_ahead_s=-90.0,
    )
    facts = replace(FIT, reach=silent)
    assert wrong(facts) == ["gateway", "metadata", "view-server", "clock", "clock-offset"]
    assert failures(judge(facts, FLAT, VIEW)) == ()
    assert check(facts, "clock-offset").found == "90 s behind the view server"


def test_failures_carry_the_remedy_and_reports_stay_small() -> None:
    checks = judge(linked(br0=None), FLAT, VIEW)
    assert checks[0].blocks, "what is failing comes first"
    [failure] = failures(checks)
    assert (failure.object, failure.stage) == ("host/bridge", "preflight")
    assert "there is no bridge br0" in failure.reason
    assert "ip link add br0 type bridge" in failure.reason
    in_report = told(checks)
    assert [one.check for one in in_report if one.ok] == ["all others"]
    assert len(in_report) == 1 + sum(not one.ok for one in checks)
    [whole] = told(judge(FIT, FLAT, VIEW))
    assert (whole.check, whole.ok) == ("all", True)
    assert told(()) == ()


def test_the_table_says_what_to_do() -> None:
    text = table(judge(linked(br0=None), FLAT, VIEW))
    first, needed, remedy, *_ = text.splitlines()
    assert first.split()[:2] == ["FAILING", "bridge"]
    assert needed.strip().startswith("needed:")
    assert remedy.strip().startswith("remedy: ip link add br0 type bridge")
    assert summary(judge(FIT, FLAT, VIEW)).endswith("0 warnings, 0 failing: fit to be a node")
