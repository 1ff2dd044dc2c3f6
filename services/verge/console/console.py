"""What every command is handed: the server, and where to print."""

import json
import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from verge.console.outcome import Exit
from verge.console.server import Server


@dataclass(frozen=True, slots=True)
class Console:
    server: Server
    json: bool
    """One JSON document on standard output instead of text."""
    colour: bool
    live: bool
    """Standard error is a terminal: progress may be drawn over itself."""

    def show(self, document: Any, text: str) -> None:
        if self.json:
            self.document(document)
        else:
            print(text)

    @staticmethod
    def document(document: Any) -> None:
        """Escapes what is not ASCII: the same JSON in every locale, and nothing a terminal obeys."""
        print(json.dumps(document, indent=2))

    @staticmethod
    def remark(text: str) -> None:
        """To a person reading along, never part of the answer."""
        print(text, file=sys.stderr)


Command = Callable[[Namespace, Console], Exit]
