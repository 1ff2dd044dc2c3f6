"""The figures as files: JSON, a Markdown table, and a plot of cost against size."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

_WIDTH, _HEIGHT, _EDGE = 640, 400, 60
_LINES = (
    ("answered_ms", "last answered", "#1f77b4"),
    ("stored_ms", "all reported", "#d62728"),
    ("floor_ms", "floor", "#7f7f7f"),
)


def write(told: dict[str, Any], directory: Path) -> None:
    """fleet.json, fleet.md and, where fleets of several sizes were measured, fleet.svg."""
    directory.mkdir(exist_ok=True)
    (directory / "fleet.json").write_text(json.dumps(told, indent=1) + "\n")
    (directory / "fleet.md").write_text(table(told))
    rows = told["parts"].get("fan", {}).get("details", {}).values()
    everyone = sorted((row for row in rows if row["parked"] == row["touched"]), key=lambda row: row["parked"])
    if len(everyone) > 1:
        (directory / "fleet.svg").write_text(plot(everyone))


def table(told: dict[str, Any]) -> str:
    lines = ["# The view server, measured", "", f"`{told['command']}`", ""]
    lines += [f"* {name}: {value}" for name, value in told["machine"].items()]
    lines += ["", "| figure | measured | promised | |", "|---|---|---|---|"]
    for part in told["parts"].values():
        for one in part["figures"]:
            bound = (
                f"≤ {one['at_most']:g}" if "at_most" in one else f"≥ {one['at_least']:g}" if "at_least" in one else ""
            )
            mark = "" if not bound else "✓" if one["met"] else "✗"
            lines.append(f"| {one['name']} | {one['value']:.3g} {one['unit']} | {bound} | {mark} |")
    fans = told["parts"].get("fan", {}).get("details", {})
    if fans:
        lines += ["", "Milliseconds, p50 / p99 / max; processor time for one change, in milliseconds.", ""]
        lines += [
            "| | answered | stored | commit | floor | server | Postgres | agents | bytes |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for name, row in fans.items():
            times = [_marks(row[key]) for key in ("answered_ms", "stored_ms", "commit_ms", "floor_ms")]
            costs = [
                f"{row[key]:g}" for key in ("server_cpu_ms", "postgres_cpu_ms", "agents_cpu_ms", "bytes_per_answer")
            ]
            lines.append("| " + " | ".join([name, *times, *costs]) + " |")
    for name, part in told["parts"].items():
        if name != "fan":
            lines += ["", f"## {name}", ""]
            lines += [
                f"* {what}: " + ", ".join(f"{key} {value}" for key, value in row.items())
                for what, row in part["details"].items()
            ]
    return "\n".join(lines) + "\n"


def _marks(row: dict[str, float]) -> str:
    return " / ".join(f"{row[name]:.3g}" for name in ("p50", "p99", "max"))


def plot(rows: list[dict[str, Any]]) -> str:
    """Milliseconds against agents, both logarithmic."""
    sizes = [row["parked"] for row in rows]
    values = [row[key]["p50"] for row in rows for key, _, _ in _LINES]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))

    def x(size: float) -> float:
        first, last = math.log10(sizes[0]), math.log10(sizes[-1])
        return _EDGE + (math.log10(size) - first) / (last - first) * (_WIDTH - 2 * _EDGE)

    def y(value: float) -> float:
        return _HEIGHT - _EDGE - (math.log10(value) - low) / (high - low) * (_HEIGHT - 2 * _EDGE)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_EDGE}" y="24">a change that touches every node: milliseconds (p50) by parked agents</text>',
    ]
    for power in range(low, high + 1):
        at = y(10**power)
        parts.append(f'<line x1="{_EDGE}" x2="{_WIDTH - _EDGE}" y1="{at:.0f}" y2="{at:.0f}" stroke="#ddd"/>')
        parts.append(f'<text x="{_EDGE - 8}" y="{at + 4:.0f}" text-anchor="end">{10**power:g}</text>')
    parts += [
        f'<text x="{x(size):.0f}" y="{_HEIGHT - _EDGE + 20}" text-anchor="middle">{size:,}</text>' for size in sizes
    ]
    for number, (key, label, colour) in enumerate(_LINES):
        points = " ".join(f"{x(row['parked']):.1f},{y(row[key]['p50']):.1f}" for row in rows)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{_EDGE + 12}" y="{_EDGE + 16 * number}" fill="{colour}">{label}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
