"""Words to whoever started this process and waits for it: sd_notify(3), in ten lines, since nothing else of libsystemd is needed.

Without a supervisor (`NOTIFY_SOCKET` is not set) nothing happens, and one that does not listen holds up nothing.
"""

import os
import socket
from contextlib import suppress


def notify(state: str) -> None:
    """`READY=1`, `WATCHDOG=1`, `STOPPING=1`, `STATUS=…`, one a line."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as said:
        said.setblocking(False)  # noqa: FBT003 - the socket module's own signature
        said.sendto(state.encode(), "\0" + path[1:] if path.startswith("@") else path)
