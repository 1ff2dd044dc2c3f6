"""The same content as EDGE mode's rule set: ipset, iptables and ebtables, in eucanetd's order and by its names.

    bridge nat   every frame walks all VMs' rules until its own: anti-spoofing by position
    iptables     raw counters, nat with a mark; filter FORWARD: established, then one set test per local group, and in each
                 group's chain one rule after the other
    ipset        hash:net: all private addresses, the local ones, and one set per group with its members

Made anew from what that daemon is documented and seen to leave in the kernel; user hooks are there, and empty.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.node.content import CLC, GATEWAY, SUBNET, Content, Rule, Vm

BRIDGE_MAC = "02:aa:0a:6f:00:65"
_ANY_PORT = "vn_i+"
_DHCP = ("--ip-proto", "udp", "--ip-dport", "67:68")
_ANNOUNCEMENT = ("-p", "0x8035", "-d", "Broadcast")


def sets(made: Content) -> str:
    """For `ipset restore`."""
    return "".join(f"{line}\n" for line in _sets(made))


def _sets(made: Content) -> Iterator[str]:
    everyone = sorted({address for addresses in made.members.values() for address in addresses})
    local = [vm.private_ip for vm in made.vms]
    held = {"EUCA_ALLPRIVATE": [*everyone, GATEWAY], "EUCA_NCPRIVATE": local}
    held |= {name: [GATEWAY, *addresses] for name, addresses in made.members.items()}
    for name, addresses in held.items():
        yield f"create {name} hash:net family inet hashsize 2048 maxelem 65536"
        for address in dict.fromkeys(addresses):
            yield f"add {name} {address}"


def tables(made: Content) -> str:
    """For `iptables-legacy-restore`."""
    return "".join(f"{line}\n" for table in (_raw, _nat, _filter) for line in (*table(made), "COMMIT"))


def _raw(made: Content) -> Iterator[str]:
    yield from ("*raw", ":PREROUTING ACCEPT", ":OUTPUT ACCEPT")
    yield from (":EUCA_RAW_PRE -", ":EUCA_COUNTERS_IN -", ":EUCA_COUNTERS_OUT -")
    yield "-A PREROUTING -j EUCA_RAW_PRE"
    yield "-A EUCA_RAW_PRE -j EUCA_COUNTERS_IN"
    yield "-A EUCA_RAW_PRE -j EUCA_COUNTERS_OUT"
    for vm in made.vms:
        if vm.elastic_ip:
            yield f"-A EUCA_COUNTERS_IN -d {vm.elastic_ip}"
            yield f"-A EUCA_COUNTERS_IN -s {SUBNET} -d {vm.private_ip}"
            yield f"-A EUCA_COUNTERS_OUT -s {vm.private_ip} ! -d {SUBNET}"
            yield f"-A EUCA_COUNTERS_OUT -s {vm.private_ip} -d {SUBNET}"


def _nat(made: Content) -> Iterator[str]:
    yield from ("*nat", ":PREROUTING ACCEPT", ":INPUT ACCEPT", ":OUTPUT ACCEPT", ":POSTROUTING ACCEPT")
    hooks = {"PRE": "PREROUTING", "POST": "POSTROUTING", "OUT": "OUTPUT"}
    for short in hooks:
        yield from (f":EUCA_NAT_{short}{part} -" for part in ("_PREUSERHOOK", "", "_POSTUSERHOOK"))
    for short, chain in hooks.items():
        yield from (f"-A {chain} -j EUCA_NAT_{short}{part}" for part in ("_PREUSERHOOK", "", "_POSTUSERHOOK"))
    yield f"-A EUCA_NAT_PRE -s {SUBNET} -m set --match-set EUCA_ALLPRIVATE dst -j MARK --set-xmark 0x2a/0xffffffff"
    yield f"-A EUCA_NAT_PRE -d 169.254.169.254/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination {CLC}:8773"
    for vm in made.vms:
        if vm.elastic_ip:
            yield f"-A EUCA_NAT_PRE -d {vm.elastic_ip}/32 -j DNAT --to-destination {vm.private_ip}"
            yield f"-A EUCA_NAT_OUT -d {vm.elastic_ip}/32 -j DNAT --to-destination {vm.private_ip}"
            yield f"-A EUCA_NAT_POST -s {vm.private_ip}/32 -m mark ! --mark 0x2a -j SNAT --to-source {vm.elastic_ip}"


def _filter(made: Content) -> Iterator[str]:
    yield from ("*filter", ":INPUT ACCEPT", ":FORWARD ACCEPT", ":OUTPUT ACCEPT")
    chains = ("EUCA_FILTER_FWD_PREUSERHOOK", "EUCA_FILTER_FWD", "EUCA_FILTER_FWD_POSTUSERHOOK")
    yield from (f":{chain} -" for chain in (*chains, "EUCA_FILTER_FWD_DROPPED", *made.groups))
    yield from (f"-A FORWARD -j {chain}" for chain in chains)
    forward = "-A EUCA_FILTER_FWD"
    yield f"{forward} -m conntrack --ctstate ESTABLISHED -j ACCEPT"
    yield f"{forward} -m physdev --physdev-in {_ANY_PORT} -m set ! --match-set EUCA_NCPRIVATE dst -j ACCEPT"
    yield from (f"{forward} -m set --match-set {name} dst -j {name}" for name in made.groups)
    yield f"{forward} -j EUCA_FILTER_FWD_DROPPED"
    yield f"{forward} -m set --match-set EUCA_ALLPRIVATE dst -j DROP"
    for vm in made.vms:
        yield f"-A EUCA_FILTER_FWD_DROPPED -d {vm.private_ip}/32 -m set --match-set EUCA_ALLPRIVATE src"
        yield f"-A EUCA_FILTER_FWD_DROPPED -d {vm.private_ip}/32 -m set ! --match-set EUCA_ALLPRIVATE src"
    for name, rules in made.groups.items():
        yield f"-A {name} -m set --match-set {name} src -j ACCEPT"
        yield from (f"-A {name} {_match(rule)} -j ACCEPT" for rule in rules)


def _match(rule: Rule) -> str:
    whose = f"-s {rule.cidr}" if rule.cidr else f"-m set --match-set {rule.group} src"
    if rule.ports is None:
        return f"{whose} -p icmp -m icmp --icmp-type any"
    low, high = rule.ports
    return f"{whose} -p {rule.protocol} -m {rule.protocol} --dport {low}{f':{high}' if high > low else ''}"


def frames(made: Content) -> list[tuple[str, ...]]:
    """Rules of the bridge family's nat table, each as the arguments behind `-A`; the daemon runs a process for each."""
    first: tuple[str, ...] = (
        *("EUCA_EBT_NAT_POST", "-p", "IPv4", "-s", BRIDGE_MAC, "-d", "Broadcast", "-o", _ANY_PORT),
        *(*_DHCP, "-j", "ACCEPT"),
    )
    rules = [first]
    for vm in made.vms:
        rules += [("EUCA_EBT_NAT_PRE", "-i", vm.interface, *rest) for rest in _from_vm(vm)]
        rules += [("EUCA_EBT_NAT_POST", "-o", vm.interface, *rest) for rest in _to_vm(vm)]
    rules.append(("EUCA_EBT_NAT_PRE", "-i", _ANY_PORT, "-j", "DROP"))
    rules.append(("EUCA_EBT_NAT_POST", "-o", _ANY_PORT, "-j", "DROP"))
    return rules


def _from_vm(vm: Vm) -> Iterator[tuple[str, ...]]:
    ip, arp, accept, drop = ("-p", "IPv4"), ("-p", "ARP"), ("-j", "ACCEPT"), ("-j", "DROP")
    yield ("-s", "!", vm.mac, *drop)
    yield (*ip, "-s", vm.mac, *_DHCP, *accept)
    yield (*ip, "--ip-src", "!", vm.private_ip, *drop)
    yield (*ip, *accept)
    yield (*arp, "--arp-mac-src", "!", vm.mac, *drop)
    yield (*arp, "--arp-ip-src", "!", vm.private_ip, *drop)
    yield (*arp, "--arp-op", "Request", *accept)
    yield (*arp, "--arp-op", "Reply", *accept)
    yield (*arp, *drop)
    yield (*_ANNOUNCEMENT, *accept)
    yield ("-p", "0x8035", *drop)
    yield ("-p", "0x835", *accept)


def _to_vm(vm: Vm) -> Iterator[tuple[str, ...]]:
    ip, arp, accept, drop = ("-p", "IPv4"), ("-p", "ARP"), ("-j", "ACCEPT"), ("-j", "DROP")
    yield (*ip, "-d", "!", vm.mac, *_DHCP, *drop)
    yield (*ip, *accept)
    yield (*arp, "--arp-op", "Reply", "--arp-mac-dst", "!", vm.mac, *drop)
    yield (*arp, "--arp-ip-dst", "!", vm.private_ip, *drop)
    yield (*arp, "--arp-op", "Request", *accept)
    yield (*arp, "--arp-op", "Request", *accept)
    yield (*arp, "--arp-op", "Reply", *accept)
    yield (*arp, *drop)
    yield (*_ANNOUNCEMENT, *accept)
    yield ("-p", "0x8035", *drop)


def frame_table(made: Content) -> str:
    """The same for `ebtables-nft-restore`: where only what is in force is measured, not how it came there."""
    head = ("*nat", ":PREROUTING ACCEPT", ":OUTPUT ACCEPT", ":POSTROUTING ACCEPT")
    chains = (":EUCA_EBT_NAT_PRE ACCEPT", ":EUCA_EBT_NAT_POST ACCEPT")
    jumps = ("-A PREROUTING -j EUCA_EBT_NAT_PRE", "-A POSTROUTING -j EUCA_EBT_NAT_POST")
    rules = (f"-A {' '.join(rule)}" for rule in frames(made))
    return "".join(f"{line}\n" for line in (*head, *chains, *jumps, *rules))
