"""One event loop over the sockets of all hosts, in which a batch of flows is tried. `probes` is the way in."""

from __future__ import annotations

import errno
import resource
import secrets
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from ipaddress import IPv4Address
from typing import Self

from lab import frames
from lab.flows import Flow, Outcome
from lab.frames import ECHO_REPLY, ICMP, SCTP, TCP, UDP
from lab.host import Host
from lab.listeners import Listeners, answer_datagram, receive_datagram

_TOKEN = 16
_RESENDS = 3  # datagrams are sent again while the wait lasts: one lost to ARP proves nothing
_SENT_BETWEEN_READS = 64
_TRY_AGAIN = (errno.EAGAIN, errno.ENOBUFS)


class _Attempt:
    """One flow under way."""

    def __init__(self, flow: Flow, number: int) -> None:
        self.flow = flow
        self.number = number
        self.token = secrets.token_bytes(_TOKEN)
        self.socket: socket.socket | None = None
        self.passed = False
        self.answered = False
        self.seen: IPv4Address | None = None
        self.error: OSError | None = None

    @property
    def settled(self) -> bool:
        return self.error is not None or (self.answered if self.flow.has_answer else self.passed)

    def arrived(self, sender: str) -> None:
        self.passed = True
        self.seen = IPv4Address(sender)

    def outcome(self) -> Outcome:
        return Outcome(self.passed, self.answered, self.seen, self.error)


class Batch:
    """One event loop over all sockets of all hosts."""

    def __init__(self, listeners: Listeners | None) -> None:
        self._open = ExitStack()
        self._selector = self._open.enter_context(selectors.DefaultSelector())
        self._receivers = self._open.enter_context(Listeners(reuse=listeners))
        self._attempts: dict[bytes, _Attempt] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def run(self, flows: list[Flow], awaited: list[Flow], wait: float, patience: float) -> dict[Flow, Outcome]:
        everything = list(dict.fromkeys([*flows, *awaited]))
        _allow_descriptors(2 * len(everything) + 1024)
        for flow in everything:
            self._receive_at(flow.dst, flow)
            if flow.protocol not in (TCP, UDP):
                self._receive_at(flow.src, flow)
        attempts = {flow: _Attempt(flow, number) for number, flow in enumerate(everything)}
        self._attempts = {attempt.token: attempt for attempt in attempts.values()}
        for attempt in attempts.values():
            if attempt.number % _SENT_BETWEEN_READS == 0:
                self._turn(0)
            self._begin(attempt)
        controls = [attempts[flow] for flow in awaited]
        self._wait_for_silence(list(attempts.values()), controls, wait, patience)
        return {flow: attempt.outcome() for flow, attempt in attempts.items()}

    def _wait_for_silence(self, all_: list[_Attempt], controls: list[_Attempt], wait: float, patience: float) -> None:
        start = time.monotonic()
        silence_from: float | None = None
        resend_at = start + wait / _RESENDS
        while not all(attempt.settled for attempt in all_):
            now = time.monotonic()
            if silence_from is None and (
                now - start >= patience or all(control.passed or control.settled for control in controls)
            ):
                silence_from = now
            end = silence_from + wait if silence_from is not None else start + patience
            if silence_from is not None and now >= end:
                return
            if now >= resend_at:
                resend_at = now + wait / _RESENDS
                for attempt in all_:
                    if not attempt.settled:
                        self._send_datagram(attempt)
            self._turn(max(0.0, min(end, resend_at) - now))

    def _turn(self, timeout: float) -> None:
        for key, _ in self._selector.select(timeout):
            with suppress(BlockingIOError):
                key.data()

    def _when(self, event: int, ready: socket.socket, react: Callable[[], None]) -> None:
        if ready in self._selector.get_map():
            self._selector.modify(ready, event, react)
        else:
            self._selector.register(ready, event, react)

    # -- the sending side

    def _begin(self, attempt: _Attempt) -> None:
        flow = attempt.flow
        if flow.protocol not in (TCP, UDP):
            self._send_datagram(attempt)
            return
        kind = socket.SOCK_STREAM if flow.protocol == TCP else socket.SOCK_DGRAM
        attempt.socket = client = self._open.enter_context(flow.src.socket(socket.AF_INET, kind))
        client.settimeout(0)
        if flow.source_port:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.bind(("0.0.0.0", flow.source_port))
        failed = client.connect_ex((str(flow.address), flow.port))
        if failed not in (0, errno.EINPROGRESS):
            attempt.error = OSError(failed, errno.errorcode.get(failed, "?"))
        elif flow.protocol == TCP:
            self._when(selectors.EVENT_WRITE, client, lambda: self._connected(attempt, client))
        else:
            self._when(selectors.EVENT_READ, client, lambda: self._answer(attempt, client))
            self._send_datagram(attempt)

    def _connected(self, attempt: _Attempt, client: socket.socket) -> None:
        failed = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed:
            self._give_up(attempt, client, OSError(failed, errno.errorcode.get(failed, "?")))
            return
        self._when(selectors.EVENT_READ, client, lambda: self._answer(attempt, client))
        try:
            client.send(attempt.token)
        except OSError as error:
            self._give_up(attempt, client, error)

    def _answer(self, attempt: _Attempt, client: socket.socket) -> None:
        try:
            data = client.recv(_TOKEN)
        except BlockingIOError:
            return
        except OSError as error:
            self._give_up(attempt, client, error)
            return
        if data == attempt.token:
            attempt.answered = True
            self._selector.unregister(client)
        elif not data and attempt.flow.protocol == TCP:
            self._give_up(
                attempt, client, ConnectionResetError(errno.ECONNRESET, "closed by another than the receiver")
            )

    def _give_up(self, attempt: _Attempt, client: socket.socket, error: OSError) -> None:
        self._selector.unregister(client)
        attempt.error = error

    def _send_datagram(self, attempt: _Attempt) -> None:
        flow = attempt.flow
        try:
            if flow.protocol == TCP:
                return
            if flow.protocol == UDP:
                assert attempt.socket
                attempt.socket.send(attempt.token)
                return
            raw = self._receivers.open(flow.src, flow.protocol, 0)
            raw.sendto(_raw_packet(attempt), (str(flow.address), 0))
        except OSError as error:
            if error.errno not in _TRY_AGAIN:
                attempt.error = error

    # -- the receiving side

    def _receive_at(self, host: Host, flow: Flow) -> None:
        listener = self._receivers.open(host, flow.protocol, flow.port)
        if listener in self._selector.get_map():
            return
        if flow.protocol == TCP:
            self._when(selectors.EVENT_READ, listener, lambda: self._accept(listener))
        elif flow.protocol == UDP:
            self._when(selectors.EVENT_READ, listener, lambda: self._datagrams(host, listener))
        else:
            self._when(selectors.EVENT_READ, listener, lambda: self._packets(host, listener))

    def _accept(self, listener: socket.socket) -> None:
        while True:
            connection, (sender, _) = listener.accept()
            self._open.enter_context(connection).settimeout(0)
            self._when(selectors.EVENT_READ, connection, lambda c=connection, s=sender: self._read(c, s))  # type: ignore[misc]

    def _read(self, connection: socket.socket, sender: str) -> None:
        try:
            token = connection.recv(_TOKEN)
            if attempt := self._attempts.get(token):
                attempt.arrived(sender)
                connection.send(token)
        except BlockingIOError:
            return
        except OSError:
            token = b""
        if not token:
            self._selector.unregister(connection)

    def _datagrams(self, host: Host, listener: socket.socket) -> None:
        while True:
            token, sender, local = receive_datagram(listener)
            attempt = self._attempts.get(token)
            if attempt and attempt.flow.dst is host:
                attempt.arrived(sender[0])
                with suppress(OSError):
                    answer_datagram(listener, token, sender, local)

    def _packets(self, host: Host, listener: socket.socket) -> None:
        """Raw sockets see every packet of their protocol: pick ours by the token, and requests from replies by type."""
        while True:
            packet, (sender, _) = listener.recvfrom(2048)
            body = packet[(packet[0] & 15) * 4 :]
            attempt = self._attempts.get(_token_of(body, packet[9]))
            if not attempt:
                continue
            flow = attempt.flow
            is_request = flow.protocol != ICMP or int.from_bytes(body[:2]) == flow.port
            if is_request and flow.dst is host:
                attempt.arrived(sender)
            elif not is_request and body[0] == ECHO_REPLY and flow.has_answer and flow.src is host:
                attempt.answered = True


_HEADER = {ICMP: 8, SCTP: 12 + 20 + 4}


def _raw_packet(attempt: _Attempt) -> bytes:
    flow = attempt.flow
    if flow.protocol == ICMP:
        identifier = (attempt.number + 1) & 0xFFFF
        return frames.icmp(flow.port >> 8, flow.port & 255, attempt.token, identifier << 16 | 1)
    if flow.protocol == SCTP:
        return frames.sctp_init(flow.source_port or 32768, flow.port, attempt.token)
    return attempt.token


def _token_of(body: bytes, protocol: int) -> bytes:
    header = _HEADER.get(protocol, 0)
    return body[header : header + _TOKEN]


def _allow_descriptors(number: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < number:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(number, hard) if hard >= 0 else number, hard))
