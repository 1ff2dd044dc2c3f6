"""Both clients, whatever the first hop is: told the same, heard when they ask everyone, and at home on the next node (row 3)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import frames
from lab.frames import Frame
from lab.topology import GATEWAY
from lab.wire import capture
from nodeagent.desired.reserved import IDENTIFIER, METADATA
from nodeagent.dnsmasq import text
from nodeagent.dnsmasq.server import Dnsmasq
from tests.dataplane.clients import Client, forget_address
from tests.dataplane.place import EVERYWHERE, Place, named, place

PROXY = ("flat", "proxy")
everywhere = pytest.mark.parametrize("kind", [*EVERYWHERE, PROXY], ids=named)


def is_dhcp(frame: Frame) -> bool:
    return frame.protocol == frames.UDP and {frame.sport, frame.dport} == {67, 68}


@contextmanager
def serving(kind: tuple[str, str], directory: Path) -> Iterator[Place]:
    with place(kind) as at:
        for name in ("nc-1", "nc-2"):
            at.cloud.nodes[name].enforcement.dnsmasq = Dnsmasq(directory / name, "br0")
        at.cloud.enforce()
        for vm in at.vms.values():
            forget_address(vm.host)
        yield at


@everywhere
def test_both_clients_renew_by_unicast_on_the_node_they_moved_to(
    kind: tuple[str, str], public_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told to renew after two seconds, so that dhclient, which cannot be bidden to, does it here."""
    usual = text.options
    monkeypatch.setattr(text, "options", lambda wanted: usual(wanted) + "59,3\n")
    with serving(kind, public_directory) as at, Client.udhcpc(at.a.host, tmp_path / "a") as udhcpc:
        udhcpc.event("bound")
        with Client.dhclient(at.b.host, tmp_path / "b") as dhclient:
            dhclient.event("BOUND")
            for vm in (at.a, at.b):
                at.lab.move(vm.interface, "nc-2")
            at.cloud.enforce()
            at.cloud.nodes["nc-1"].enforcement.dnsmasq.close()
            with capture(at.a.host, "eth0", is_dhcp) as a, capture(at.b.host, "eth0", is_dhcp) as b:
                assert dhclient.event("RENEW")["ip_address"] == str(at.b.ip)
                udhcpc.renew()
                assert udhcpc.event("renew")["ip"] == str(at.a.ip)
                for vm, seen in ((at.a, a), (at.b, b)):
                    renewals = {(frame.src, frame.dst) for frame in seen.frames}
                    assert renewals >= {(vm.ip, IDENTIFIER), (IDENTIFIER, vm.ip)}


@everywhere
def test_an_answer_to_everyone_reaches_instances_and_not_the_network(
    kind: tuple[str, str], public_directory: Path, tmp_path: Path
) -> None:
    """A client that sets the broadcast flag, as old Windows does (RFC 2131, 4.1)."""
    with (
        serving(kind, public_directory) as at,
        capture(at.a.host, "eth0", is_dhcp, incoming=True) as seen,
        capture(at.node, "up0", is_dhcp) as uplink,
        Client.udhcpc(at.a.host, tmp_path / "a", "-B") as client,
    ):
        assert client.event("bound")["ip"] == str(at.a.ip)
        assert {frame.dst_mac for frame in seen.frames} == {frames.BROADCAST}
        assert not uplink.frames


@everywhere
def test_a_guest_that_takes_link_local_addresses_for_its_neighbours(
    kind: tuple[str, str], public_directory: Path, tmp_path: Path
) -> None:
    """RFC 3927: 169.254.0.0/16 is on its link. It is told routes to the two that are not."""
    with serving(kind, public_directory) as at:
        at.a.host.ip("route add 169.254.0.0/16 dev eth0")
        with Client.udhcpc(at.a.host, tmp_path / "a") as client:
            client.event("bound")
            for address in (IDENTIFIER, METADATA):
                assert f"via {GATEWAY} dev eth0" in at.a.host.run("ip", "route", "get", str(address))
            with capture(at.a.host, "eth0", is_dhcp) as seen:
                client.renew()
                client.event("renew")
                # udhcpc may miss the answer, and then asks everyone: it listens only after it has asked
                renewals = {(frame.src, frame.dst) for frame in seen.frames}
                assert renewals >= {(at.a.ip, IDENTIFIER), (IDENTIFIER, at.a.ip)}
