"""Frames built by hand, with checksums, and read back: what a well-behaved stack would never send.

    ethernet(dst, src, ARP, arp(…))
    ethernet(dst, src, IPV4, ipv4(source, destination, UDP, udp(source, destination, 68, 67, …)))

Addresses are text or `ipaddress` objects; payloads are bytes, innermost first.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

ARP, RARP, IPV4, IPV6, VLAN, QINQ, LLDP = 0x0806, 0x8035, 0x0800, 0x86DD, 0x8100, 0x88A8, 0x88CC
ICMP, TCP, UDP, ICMP6, SCTP = 1, 6, 17, 58, 132
BROADCAST = "ff:ff:ff:ff:ff:ff"
NOWHERE = "00:00:00:00:00:00"
ARP_REQUEST, ARP_REPLY, RARP_REQUEST = 1, 2, 3
ECHO_REPLY, UNREACHABLE, ECHO_REQUEST = 0, 3, 8
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16

Ip4 = str | IPv4Address


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


# -- link layer


def ethernet(dst: str, src: str, ethertype: int, payload: bytes) -> bytes:
    return mac(dst) + mac(src) + struct.pack("!H", ethertype) + payload


def vlan(frame: bytes, tag: int, ethertype: int = VLAN) -> bytes:
    """The frame with an 802.1Q (or, with QINQ, 802.1ad) tag."""
    return frame[:12] + struct.pack("!HH", ethertype, tag) + frame[12:]


def arp(operation: int, sender_mac: str, sender: Ip4, target_mac: str, target: Ip4) -> bytes:
    """The body of an ARP or RARP packet."""
    head = struct.pack("!HHBBH", 1, IPV4, 6, 4, operation)
    return head + mac(sender_mac) + IPv4Address(sender).packed + mac(target_mac) + IPv4Address(target).packed


# -- IPv4


def ipv4(src: Ip4, dst: Ip4, protocol: int, payload: bytes, ttl: int = 64, ident: int = 1) -> bytes:
    def header(check: int) -> bytes:
        addresses = IPv4Address(src).packed + IPv4Address(dst).packed
        return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), ident, 0, ttl, protocol, check) + addresses

    return header(checksum(header(0))) + payload


def udp(src: Ip4, dst: Ip4, sport: int, dport: int, payload: bytes = b"") -> bytes:
    """A datagram; the addresses go into its checksum."""
    length = 8 + len(payload)
    body = struct.pack("!HHHH", sport, dport, length, 0) + payload
    check = checksum(_pseudo(src, dst, UDP, length) + body) or 0xFFFF
    return body[:6] + struct.pack("!H", check) + body[8:]


def tcp(src: Ip4, dst: Ip4, sport: int, dport: int, flags: int = SYN, seq: int = 1, ack: int = 0) -> bytes:
    """A bare segment, by default a SYN; the addresses go into its checksum."""
    body = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, 5 << 4, flags, 65535, 0, 0)
    check = checksum(_pseudo(src, dst, TCP, len(body)) + body)
    return body[:16] + struct.pack("!H", check) + body[18:]


def icmp(kind: int, code: int, payload: bytes = b"", rest: int = 0) -> bytes:
    """`rest` is the header's second word: identifier and sequence number of an echo."""
    head = struct.pack("!BBHI", kind, code, 0, rest)
    return struct.pack("!BBHI", kind, code, checksum(head + payload), rest) + payload


def sctp_init(sport: int, dport: int, payload: bytes = b"") -> bytes:
    """An INIT chunk whose checksum connection tracking accepts; `payload` travels as an unknown, skippable parameter."""
    parameter = struct.pack("!HH", 0x8000, 4 + len(payload)) + payload
    parameter += b"\0" * (-len(parameter) % 4)
    chunk = struct.pack("!BBHIIHHI", 1, 0, 20 + len(parameter), 1, 65535, 1, 1, 1) + parameter
    head = struct.pack("!HHI", sport, dport, 0)
    return head + struct.pack("<I", _crc32c(head + b"\0\0\0\0" + chunk)) + chunk


def dhcp(kind: int, client_mac: str, *, from_server: bool = False, yours: Ip4 = "0.0.0.0", xid: int = 1) -> bytes:
    """The body of a DHCP message (RFC 2131): kind 1 DISCOVER, 2 OFFER, 3 REQUEST, 5 ACK. Broadcast flag set."""
    hardware = mac(client_mac).ljust(16, b"\0")
    zero = IPv4Address(0).packed
    head = struct.pack("!BBBBIHH", 2 if from_server else 1, 1, 6, 0, xid, 0, 0x8000)
    options = b"\x63\x82\x53\x63" + bytes([53, 1, kind]) + b"\xff"
    return (head + zero + IPv4Address(yours).packed + zero * 2 + hardware + bytes(192) + options).ljust(300, b"\0")


def _pseudo(src: Ip4, dst: Ip4, protocol: int, length: int) -> bytes:
    return IPv4Address(src).packed + IPv4Address(dst).packed + struct.pack("!BBH", 0, protocol, length)


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


# -- IPv6, as much as a VM must not send


def router_advertisement(src_mac: str, src: str = "fe80::1", prefix: str = "2001:db8::") -> bytes:
    """A whole frame to all nodes: a router with a prefix to configure oneself from (RFC 4861)."""
    source, all_nodes = IPv6Address(src).packed, IPv6Address("ff02::1").packed
    option = struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 86400, 14400, 0) + IPv6Address(prefix).packed
    body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + option
    check = checksum(source + all_nodes + struct.pack("!II", len(body), ICMP6) + body)
    body = body[:2] + struct.pack("!H", check) + body[4:]
    packet = struct.pack("!IHBB", 6 << 28, len(body), ICMP6, 255) + source + all_nodes + body
    return ethernet("33:33:00:00:00:01", src_mac, IPV6, packet)


# -- read back


@dataclass(frozen=True, slots=True)
class Frame:
    """What a captured frame says. Of ARP: `protocol` is the operation, `src` and `dst` sender and target address.

    Ports are 0 where there are none; for ICMP, `sport` is the type and `dport` the code.
    """

    raw: bytes
    dst_mac: str
    src_mac: str
    tag: int | None
    ethertype: int
    src: IPv4Address | None = None
    dst: IPv4Address | None = None
    protocol: int | None = None
    sport: int = 0
    dport: int = 0
    payload: bytes = b""


def read(raw: bytes) -> Frame:
    """Whatever the bytes are; fields that the frame is too short for keep their defaults."""
    dst_mac, src_mac = raw[:6].hex(":"), raw[6:12].hex(":")
    tag, at = None, 12
    (ethertype,) = struct.unpack_from("!H", raw, at)
    if ethertype in (VLAN, QINQ) and len(raw) >= 18:
        tag, ethertype = struct.unpack_from("!HH", raw, at + 2)
        tag &= 0xFFF
        at += 4
    body = raw[at + 2 :]
    if ethertype in (ARP, RARP) and len(body) >= 28:
        sender, target = IPv4Address(body[14:18]), IPv4Address(body[24:28])
        operation = int.from_bytes(body[6:8])
        return Frame(raw, dst_mac, src_mac, tag, ethertype, sender, target, operation, payload=body)
    if ethertype == IPV4 and len(body) >= 20:
        length = (body[0] & 15) * 4
        protocol, inner = body[9], body[length : int.from_bytes(body[2:4])]
        sport = dport = 0
        if protocol in (TCP, UDP, SCTP) and len(inner) >= 4:
            sport, dport = struct.unpack_from("!HH", inner)
        elif protocol == ICMP and len(inner) >= 2:
            sport, dport = inner[0], inner[1]
        src, dst = IPv4Address(body[12:16]), IPv4Address(body[16:20])
        return Frame(raw, dst_mac, src_mac, tag, ethertype, src, dst, protocol, sport, dport, inner)
    return Frame(raw, dst_mac, src_mac, tag, ethertype, payload=body)
