"""Who answers: the gateway, the metadata service, the view servers. And the clock. Up to some seconds where nobody does."""

import ctypes
import http.client
import socket
import ssl
import struct
import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

from nodeagent.kernel.question import answers
from nodeagent.preflight.facts import Answer, Links, Reach
from nodeagent.state.host import HostFacts
from verge.contract.view import View

_CONNECT_S: Final = 1.0
_ANSWER_S: Final = 2.0
_UNSYNCHRONISED: Final = 0x40  # STA_UNSYNC, adjtimex(2)
_TIMEX_SIZE, _STATUS_AT = 208, 40


def reach(host: HostFacts, view: View | None, links: Links | None, servers: Sequence[str]) -> Reach:
    asked = [_server(url) for url in servers]
    return Reach(
        gateway=_gateway(host, view, links) if view and links else None,
        metadata=_metadata(view) if view else None,
        servers=tuple(answer for answer, _ in asked),
        clock_synchronised=_synchronised(),
        clock_ahead_s=next((ahead for _, ahead in asked if ahead is not None), None),
    )


def _gateway(host: HostFacts, view: View, links: Links) -> Answer | None:
    """By ARP, from our address in its network: without one it could not answer. Where the node is the gateway there is
    nobody to ask."""
    bridge = links.interfaces.get(host.bridge)
    own = [one.ip for one in bridge.addresses if one.ip in view.zone.subnet] if bridge else []
    gateway = view.zone.gateway
    if view.host.gateway_mode == "node" or not own or gateway in own:
        return None
    who = f"the gateway {gateway}"
    try:
        answered = answers(host.bridge, own[0], gateway)
    except OSError as failed:
        return Answer(who, f"cannot be asked on {host.bridge}: {failed.strerror}")
    return Answer(who, None if answered else f"does not answer ARP on {host.bridge}")


def _metadata(view: View) -> Answer | None:
    metadata = view.network.metadata
    if metadata is None:
        return None
    who = f"the metadata service {metadata.host}:{metadata.port}"
    try:
        socket.create_connection((str(metadata.host), metadata.port), _CONNECT_S).close()
    except OSError as failed:
        return Answer(who, f"{failed.strerror or failed}")
    return Answer(who, None)


def _server(url: str) -> tuple[Answer, float | None]:
    """And how far our clock is ahead of what it says the time is."""
    connection = _connection(url)
    try:
        connection.request("GET", "/healthz")
        said = connection.getresponse().getheader("Date")
    except (OSError, http.client.HTTPException) as failed:
        return Answer(url, f"{getattr(failed, 'strerror', None) or failed or type(failed).__name__}"), None
    finally:
        connection.close()
    try:
        ahead = time.time() - parsedate_to_datetime(said).timestamp() if said else None
    except ValueError:
        ahead = None
    return Answer(url, None), ahead


def _connection(url: str) -> http.client.HTTPConnection:
    if url.startswith("unix:"):
        return _UnixConnection(url.removeprefix("unix:"))
    parts = urlsplit(url)
    if parts.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=_ANSWER_S, context=context)
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_ANSWER_S)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("view-server", timeout=_ANSWER_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_ANSWER_S)
        self.sock.connect(self._path)


def _synchronised() -> bool | None:
    buffer = ctypes.create_string_buffer(_TIMEX_SIZE)
    if ctypes.CDLL(None).adjtimex(buffer) < 0:
        return None
    return not struct.unpack_from("=i", buffer, _STATUS_AT)[0] & _UNSYNCHRONISED
