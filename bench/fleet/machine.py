"""What the figures were measured on, and what a process costs."""

from __future__ import annotations

import os
import platform
import resource
from pathlib import Path
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")


def raise_descriptor_limit() -> int:
    """Up to what the system allows; how many descriptors this process may hold."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def description() -> dict[str, Any]:
    model = next(
        (line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 1024
    return {
        "processor": f"{os.cpu_count()} x {model}",
        "memory_mb": memory,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "descriptors": raise_descriptor_limit(),
        "load_before": round(os.getloadavg()[0], 1),
    }


def resident_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def cpu_s(pid: int) -> float:
    """Of one process, user and system, its ended threads included."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def descendants(pid: int) -> list[int]:
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [int(child), *descendants(int(child))]
    return found
