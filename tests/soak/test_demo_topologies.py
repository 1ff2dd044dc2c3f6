"""The demo's story on every topology, and in every gateway mode somewhere: the exit code is what the packets said."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETTINGS = [
    ("flat", "router"),
    ("flat", "proxy"),
    ("shared-subnet", "impersonate"),
    ("two-networks", "impersonate"),
    ("two-networks", "node"),
    ("routed-zones", "impersonate"),
    ("routed-zones", "router"),
    ("private-only", "impersonate"),
    ("private-only", "node"),
]


def demo(topology: str, mode: str) -> subprocess.CompletedProcess[str]:
    options = ("--once", "--port", "0", "--topology", topology, "--gateway-mode", mode)
    return subprocess.run(
        [sys.executable, "-m", "demo", *options], cwd=ROOT, capture_output=True, text=True, timeout=180, check=False
    )


@pytest.mark.parametrize("setting", SETTINGS, ids="-".join)
def test_every_expectation_holds(setting: tuple[str, str]) -> None:
    done = demo(*setting)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"gateway mode {setting[1]}" in done.stdout
    held, tried = re.findall(r"(\d+) of (\d+) expectations held", done.stdout)[0]
    assert held == tried
    assert int(tried) > 50
    # what cannot be shown is said
    assert ("Not shown here" in done.stdout) == (setting[0] == "private-only")


def test_what_cannot_be_is_refused_with_the_reason() -> None:
    done = demo("shared-subnet", "node")
    assert done.returncode == 2
    assert "they cannot have its address" in done.stderr
