"""What the kernel can do, and how it is set."""

import ctypes
import os
from pathlib import Path
from typing import Final

from nodeagent.desired import settings
from nodeagent.preflight.facts import Kernel, Setting
from nodeagent.preflight.judging.kernel import NEEDED
from nodeagent.startup import capable
from nodeagent.state.host import HostFacts
from verge.contract.view import View

_SYSCTLS: Final = Path("/proc/sys")


def kernel(host: HostFacts, view: View | None) -> Kernel:
    """Half a millisecond. Raises OSError."""
    wanted = (*NEEDED, *(one.name for one in settings.sysctls(host, view))) if view else NEEDED
    most = _read("net/netfilter/nf_conntrack_max")
    return Kernel(
        capable=capable(),
        library=_loadable(),
        settings={
            name: Setting(value, os.access(_SYSCTLS / name, os.W_OK, effective_ids=True))
            for name in wanted
            if (value := _read(name)) is not None
        },
        most_flows=int(most) if most else None,
    )


def _read(name: str) -> str | None:
    try:
        return (_SYSCTLS / name).read_text().strip()
    except OSError:
        return None


def _loadable() -> bool:
    try:
        ctypes.CDLL("libnftables.so.1")
    except OSError:
        return False
    return True
