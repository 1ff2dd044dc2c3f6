"""Who answers an ARP request."""

from __future__ import annotations

from ipaddress import IPv4Address

from lab.frames import ARP, ARP_REPLY, ARP_REQUEST, BROADCAST, NOWHERE, Frame, arp, ethernet
from lab.host import Host
from lab.wire import capture, send_frame


def is_reply(frame: Frame) -> bool:
    return frame.ethertype == ARP and frame.protocol == ARP_REPLY


def answers(asking: Host, link: str, own: str, target: str, control: str) -> list[str]:
    """The MACs that an ARP reply for the target gives to who asks (an announcement, which goes to all, is none); the reply for
    `control`, asked for behind it, ends the wait."""
    mac = asking.mac(link)
    with capture(asking, link, is_reply, incoming=True) as heard:
        for wanted in (target, control):
            send_frame(asking, link, ethernet(BROADCAST, mac, ARP, arp(ARP_REQUEST, mac, own, NOWHERE, wanted)))
        assert heard.wait_for(lambda frame: frame.src == IPv4Address(control))
        replies = (frame for frame in heard.frames if frame.src == IPv4Address(target))
        return [frame.payload[8:14].hex(":") for frame in replies if frame.raw[:6].hex(":") == mac]
