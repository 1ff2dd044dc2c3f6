"""Row 17 of the outcomes at length: whoever holds an elastic IP, or nobody, it is never a hypervisor's own services."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "kind", [("flat", "impersonate"), ("flat", "proxy"), ("two", "node"), ("two", "router")], ids="-".join
)
def test_no_hypervisor_answers_during_a_hundred_moves(kind: tuple[str, str]) -> None:
    in_lab = (sys.executable, "-m", "lab.enter", "--", sys.executable, "-m", "tests.soak.elastic_moves", *kind)
    done = subprocess.run(in_lab, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "100 moves" in done.stdout
