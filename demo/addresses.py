"""Addresses: one that moves between hypervisors while it is pinged, the metadata service, and one had by DHCP."""

import contextlib
import itertools
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

from demo.network import put
from demo.stage import Stage
from lab import frames
from lab.flows import Flow
from lab.host import Host
from lab.probes import probe
from lab.wire import capture, send_frame

METADATA = "169.254.169.254"
METADATA_PORT = 8773
INTERVAL_S = 0.01


def an_elastic_ip_moves(stage: Stage) -> None:
    address = stage.setting.elastic_ip
    if stage.setting.public_ips is None:
        _there_are_none(stage, address)
        return
    stage.screen.step(f"web-1 gets the elastic IP {address}")
    stage.told(stage.cloud.post([put("elastic_ip", address, {"instance": stage.vm("web-1").id})]))
    stage.expect(
        passes=[stage.from_outside("web-1", 80, address)],
        blocked=[stage.from_outside("web-1", 22, address)],
    )
    stage.screen.step(f"{address} moves to web-2, on another hypervisor, while someone pings it")
    with pinged(stage.lab["outside"], address) as answers, _resolved(stage, address) as owners:
        time.sleep(0.3)
        outcome = stage.cloud.post([put("elastic_ip", address, {"instance": stage.vm("web-2").id})])
        stage.told(outcome)
        _until(lambda: len(set(owners.seen())) > 1, 3.0)
        time.sleep(0.3)
        macs = owners.seen()
    caused = ", ".join(str(revision) for revision in outcome["caused"])
    stage.screen.fact(f"withdrawn by revision {outcome['revision']}, granted by {caused} when nc-1 had given it up")
    gap = max((later - earlier for earlier, later in itertools.pairwise(answers.times())), default=9.0)
    stage.screen.fact(
        f"longest silence between two answered pings: {gap * 1000:.0f} ms (a ping every {INTERVAL_S * 1000:.0f} ms)"
    )
    handed_over = [mac for mac, _ in itertools.groupby(macs)]
    stage.said("owners seen, one after the other", "2", str(len(set(macs))))
    stage.said("times that two owners answered", "0", str(len(handed_over) - len(set(macs))))
    stage.said("pings answered again within a second", "yes", "yes" if gap < 1 else "no")
    stage.expect(passes=[stage.from_outside("web-2", 80, address)], blocked=[stage.from_outside("web-2", 22, address)])


def _there_are_none(stage: Stage, address: str) -> None:
    stage.screen.step(f"web-1 is to get the elastic IP {address}, in a cloud that has private addresses alone")
    stage.screen.note("Not shown here: an elastic IP that moves. There is none to move.")
    operations = [put("elastic_ip", address, {"instance": stage.vm("web-1").id})]
    answer = stage.cloud.http.post("/v1/updates", json={"operations": operations})
    stage.said("the update", "refused", "refused" if answer.status_code == 422 else f"HTTP {answer.status_code}")
    for fault in answer.json().get("errors", []):
        stage.screen.note(f"{fault['pointer']}: {fault['message']}")
    clc = stage.lab["clc"]
    there = Flow.tcp(clc, stage.host("web-1"), stage.vm("web-1").ip, 80)
    back = Flow.tcp(stage.host("app-1"), clc, stage.setting.clc, 9999)
    stage.expect(passes=[there, back])
    seen = probe([back], awaited=[back])[back].seen
    stage.said("app-1 is to the CLC", stage.vm("app-1").ip, str(seen))


def metadata_is_fetched(stage: Stage) -> None:
    stage.screen.step(f"web-2 and app-1 ask the metadata service, http://{METADATA}/")
    with _metadata_service(stage.lab["clc"]):
        has = stage.setting.public_ips is not None
        stage.said(
            f"web-2, which has {'an' if has else 'no'} elastic IP, is known as",
            stage.setting.elastic_ip if has else stage.vm("web-2").ip,
            _get(stage.host("web-2"), METADATA, 80),
        )
        stage.said("app-1, which has none, is known as", stage.vm("app-1").ip, _get(stage.host("app-1"), METADATA, 80))
        stage.said("another port of that address", "no answer", _get(stage.host("app-1"), METADATA, 8080))


def an_address_is_had_by_dhcp(stage: Stage) -> None:
    stage.screen.step("app-1 drops its address and asks for one by DHCP (udhcpc)")
    vm = stage.host("app-1")
    vm.ip("address flush dev eth0")
    script = stage.cloud.directory / "udhcpc.sh"
    script.write_text(_SCRIPT)
    script.chmod(0o755)
    began = time.monotonic()
    done = subprocess.run(
        [
            "ip",
            "netns",
            "exec",
            vm.name,
            "udhcpc",
            "-i",
            "eth0",
            "-f",
            "-n",
            "-q",
            "-t",
            "5",
            "-T",
            "1",
            "-s",
            str(script),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    took = (time.monotonic() - began) * 1000
    had = [str(address.ip) for address in vm.addresses("eth0")]
    stage.said(
        "its address", stage.vm("app-1").ip, ", ".join(had) or (done.stderr.strip().splitlines() or ["none"])[-1]
    )
    stage.screen.fact(f"after {took:.0f} ms")
    stage.expect(passes=[stage.tcp("web-1", "app-1", 8000), stage.tcp("app-1", "db", 5432)])


_SCRIPT = """#!/bin/sh
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
ip address add "$ip/${mask:-16}" dev "$interface"
ip route replace default via "$router" dev "$interface" onlink
"""


class _Answers:
    """When echo replies came."""

    def __init__(self) -> None:
        self._times: list[float] = []

    def add(self, at: float) -> None:
        self._times.append(at)

    def times(self) -> list[float]:
        return list(self._times)


@contextlib.contextmanager
def pinged(src: Host, address: str) -> Iterator[_Answers]:
    """Echo requests from `src`, one each INTERVAL_S, until the block ends."""
    answers, stop = _Answers(), threading.Event()
    raw = src.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    raw.settimeout(INTERVAL_S)

    def run() -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            due = time.monotonic() + INTERVAL_S
            with contextlib.suppress(OSError):
                raw.sendto(frames.icmp(frames.ECHO_REQUEST, 0, number.to_bytes(4, "big") + b"demo"), (address, 0))
            while time.monotonic() < due:
                with contextlib.suppress(OSError):
                    packet, peer = raw.recvfrom(2048)
                    if peer[0] == address and packet[20] == 0:
                        answers.add(time.monotonic())

    with _thread(run, stop):
        yield answers
    raw.close()


class _Owners:
    def __init__(self, seen: Any) -> None:
        self._seen = seen

    def seen(self) -> list[str]:
        """The hardware address of each ARP reply for the address, in the order in which they came."""
        return [frame.payload[8:14].hex(":") for frame in self._seen.frames]


@contextlib.contextmanager
def _resolved(stage: Stage, address: str) -> Iterator[_Owners]:
    """ARP requests for the address from a neighbour, one each INTERVAL_S, until the block ends."""
    name, interface = stage.setting.uplink
    host, stop = stage.lab[name], threading.Event()
    mac, own = host.mac(interface), str(host.addresses(interface)[0].ip)
    request = frames.ethernet(
        frames.BROADCAST, mac, frames.ARP, frames.arp(frames.ARP_REQUEST, mac, own, frames.NOWHERE, address)
    )

    def run() -> None:
        while not stop.wait(INTERVAL_S):
            send_frame(host, interface, request)

    def reply(frame: frames.Frame) -> bool:
        return (frame.ethertype, frame.protocol, str(frame.src)) == (frames.ARP, frames.ARP_REPLY, address)

    with capture(host, interface, reply, incoming=True) as seen, _thread(run, stop):
        yield _Owners(seen)


@contextlib.contextmanager
def _thread(run: Any, stop: threading.Event) -> Iterator[None]:
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextlib.contextmanager
def _metadata_service(clc: Host) -> Iterator[None]:
    """The CLC's: answers every request with the address that it sees."""
    stop = threading.Event()
    listener = clc.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("0.0.0.0", METADATA_PORT))  # noqa: S104 - in a namespace of its own
    listener.listen()
    listener.settimeout(0.05)

    def run() -> None:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                client, peer = listener.accept()
                with client:
                    client.settimeout(1)
                    client.recv(4096)
                    client.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n" + peer[0].encode())

    with _thread(run, stop):
        yield
    listener.close()


def _get(src: Host, address: str, port: int) -> str:
    """The body of a GET from inside a VM."""
    with src.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.settimeout(1.0)
        try:
            client.connect((address, port))
            client.sendall(b"GET /latest/meta-data/ HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: client.recv(4096), b""))
        except OSError:
            return "no answer"
    return answer.partition(b"\r\n\r\n")[2].decode()


def _until(condition: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
