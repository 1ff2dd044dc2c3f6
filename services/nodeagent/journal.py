"""Log lines: one on standard error for each change of state, as `time event key=value …` (logfmt)."""

import sys
from datetime import UTC, datetime

import orjson

Value = str | int | float | None


class Journal:
    """Says what happened, always with the node's name. Never raises: a log that nobody can read stops no agent."""

    def __init__(self, node: str) -> None:
        self._node = node

    def say(self, event: str, **facts: Value) -> None:
        """`event` is a hyphenated word for a tool to match; values with spaces are quoted as JSON; None is left out."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        pairs = "".join(f" {name}={_text(value)}" for name, value in facts.items() if value is not None)
        try:
            sys.stderr.write(f"{now} {event} node={self._node}{pairs}\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            return


def _text(value: Value) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    text = str(value)
    return text if text and not any(mark in text for mark in ' "=\n\t') else orjson.dumps(text).decode()
