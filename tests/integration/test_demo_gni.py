"""`python -m demo --gni FILE`, as a user runs it: the exit code is what the packets said."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lab import lacks

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def machine() -> None:
    found = lacks.missing()
    if found:
        pytest.fail("; ".join(str(lack) for lack in found))


def demo(document: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "demo", "--once", "--port", "0", "--gni", str(document), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_a_document_is_built_and_driven():
    done = demo(ROOT / "examples" / "gni-small.xml")
    assert done.returncode == 0, done.stdout + done.stderr
    held, tried = re.findall(r"(\d+) of (\d+) expectations held", done.stdout)[0]
    assert held == tried
    assert int(tried) > 20
    for kind in (
        "VM → VM, same node: not admitted",
        "VM → VM, other node: admitted",
        "VM → elastic IP, other node: admitted",
        "outside → elastic IP: admitted",
        "outside → elastic IP: not admitted",
    ):
        assert f"✓ {kind}" in done.stdout
    assert "is revoked" in done.stdout
    assert "Elastic IP 10.20.100.2 moves from i-1f0c0003" in done.stdout


@pytest.mark.slow
def test_what_is_left_out_is_said_and_named_by_the_barrier():
    done = demo(ROOT / "examples" / "gni-small.xml", "--most-nodes", "1", "--most-vms", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "left out: 1 of 2 nodes" in done.stdout
    assert "left out: 2 of 3 VMs" in done.stdout
    assert "the barrier misses 10.20.0.12, where no agent runs" in done.stdout
    assert re.search(r"✓ what it calls them +never-seen", done.stdout)


def test_a_document_that_is_none_is_refused(tmp_path):
    document = tmp_path / "network.xml"
    document.write_text("<network-data><configuration/>")
    done = demo(document)
    assert done.returncode == 1
    assert "expectations held" not in done.stdout
    assert "verge:" in done.stdout
