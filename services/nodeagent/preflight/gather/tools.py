"""Programs beside the agent, asked for their version once in its life: it costs a process each."""

import os
import shutil
import subprocess
from functools import cache
from typing import Final

from nodeagent.preflight.facts import Tools

_PATH: Final = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
_ANSWER_S: Final = 5.0


def installed(program: str) -> str | None:
    """Its path."""
    return shutil.which(program, path=_PATH)


def tools() -> Tools:
    nft, dnsmasq = installed("nft"), installed("dnsmasq")
    return Tools(_version(nft) if nft else None, _version(dnsmasq) if dnsmasq else None)


@cache
def _version(path: str) -> str | None:
    """The first word that begins with a digit; a `v` before it does not count."""
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=_ANSWER_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = (word.removeprefix("v") for word in said.stdout.split())
    return next((word for word in words if word[:1].isdigit()), None)
