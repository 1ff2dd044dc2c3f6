"""How the story is told: a line for what is done, a line for each thing tried, and whether it was as expected."""

import os
import sys
import time

_COLOURED = sys.stdout.isatty() and "NO_COLOR" not in os.environ
_CODES = {"bold": "1", "dim": "2", "green": "32", "red": "31", "cyan": "36"}


def paint(text: str, *styles: str) -> str:
    if not _COLOURED or not styles:
        return text
    return f"\x1b[{';'.join(_CODES[style] for style in styles)}m{text}\x1b[0m"


class Screen:
    def __init__(self) -> None:
        self._began = time.monotonic()
        self._steps = 0
        self.held = 0
        self.broken: list[str] = []

    def say(self, text: str = "", *styles: str) -> None:
        print(paint(text, *styles), flush=True)

    def step(self, title: str) -> None:
        self._steps += 1
        self.say()
        clock = paint(f"{time.monotonic() - self._began:5.1f} s", "dim")
        self.say(f"{clock}  {paint(f'{self._steps}. {title}', 'bold')}")

    def note(self, text: str) -> None:
        self.say(f"         {text}", "dim")

    def fact(self, text: str) -> None:
        self.say(f"         {paint(text, 'cyan')}")

    def outcome(self, what: str, expected: str, found: str) -> None:
        """One thing that was tried."""
        held = expected == found
        if held:
            self.held += 1
        else:
            self.broken.append(f"step {self._steps}: {what}: expected {expected}, found {found}")
        mark = paint("✓", "green") if held else paint("✗", "red", "bold")
        said = expected if held else f"expected {expected}, found {paint(found, 'red', 'bold')}"
        self.say(f"       {mark} {what:<58} {said}")

    def seconds(self) -> float:
        return time.monotonic() - self._began
