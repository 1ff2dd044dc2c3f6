"""Hosts come and go by the hundred, and who renews meanwhile loses nothing; an address changes hands while leased."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lab import frames
from lab.build import Lab, Vm
from lab.frames import Frame
from lab.topology import FIRST_VM
from lab.wire import capture
from nodeagent.desired.reserved import IDENTIFIER
from tests.dataplane.clients import Client, forget_address
from tests.dataplane.cloud import Cloud

CHANGES = 100


def is_dhcp(frame: Frame) -> bool:
    return frame.protocol == frames.UDP and {frame.sport, frame.dport} == {67, 68}


@pytest.mark.slow
def test_no_renewal_is_lost_while_hosts_come_and_go(dhcp_cloud: Cloud, tmp_path: Path) -> None:
    """Every other change is one that dnsmasq is signalled for. The newcomers need no port to be known."""
    steady, dnsmasq = dhcp_cloud.vms[0], dhcp_cloud.nodes["nc-1"].enforcement.dnsmasq
    first = dnsmasq.status
    with Client.udhcpc(steady.host, tmp_path / "steady") as client:
        client.event("bound")
        with capture(steady.host, "eth0", is_dhcp) as seen:
            for number in range(CHANGES):
                if number % 2:
                    dhcp_cloud.vms.pop()
                else:
                    mac = f"d0:0d:00:00:02:{number:02x}"
                    dhcp_cloud.vms.append(
                        replace(steady, interface=f"vn_new{number}", mac=mac, ip=FIRST_VM + 40 + number % 7)
                    )
                client.renew()  # on its way while the change is made
                dhcp_cloud.enforce("nc-1")
                client.event("renew")
            answers = [frame for frame in seen.frames if frame.sport == 67]
    assert len(answers) >= CHANGES
    assert {frame.src for frame in answers} >= {IDENTIFIER}
    assert (dnsmasq.status.pid, dnsmasq.status.starts) == (first.pid, 1)


def test_an_address_given_to_another_is_refused_to_who_had_it(dhcp_cloud: Cloud, flat: Lab, tmp_path: Path) -> None:
    """He is still plugged in, and still renews."""
    old: Vm = dhcp_cloud.vms[0]
    with Client.udhcpc(old.host, tmp_path / "old") as client:
        client.event("bound")
        new = flat.plug("nc-1", interface="vn_i-new", mac="d0:0d:00:00:00:99", ip=old.ip)
        forget_address(new.host)
        dhcp_cloud.vms = [new, *dhcp_cloud.vms[1:]]
        dhcp_cloud.enforce("nc-1")
        with (
            capture(old.host, "eth0", is_dhcp, incoming=True) as heard,
            Client.udhcpc(new.host, tmp_path / "new") as other,
        ):
            client.renew()
            assert other.event("bound")["ip"] == str(old.ip)
            assert not heard.frames
