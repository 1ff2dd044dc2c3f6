"""How a command ends: its exit code, and what kept it from doing what was asked. The text of an error is one line.

ConsoleError
├── Misused        what was asked cannot be asked: a bad file, URL or token text            exit 2
├── Refused        the server understood and said no; `faults` has every one                exit 2
├── Unauthorised   no token, an unknown one, or one whose role may not do this              exit 4
├── Unreachable    no usable answer: nobody listens, or the server cannot serve it now      exit 4
└── Deadline       what was waited for had not even begun                                   exit 3
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar


class Exit(IntEnum):
    OK = 0
    NO = 1
    """Asked whether the network has converged, or whether a packet may pass: no."""
    REFUSED = 2
    """Also argparse's own, for wrong usage."""
    DEADLINE = 3
    UNREACHABLE = 4
    PENDING = 5
    """Asked whether a packet may pass: the nodes do not all do yet what is meant."""
    INTERRUPTED = 130
    """As shells count it: 128 + SIGINT."""


@dataclass(frozen=True, slots=True)
class Fault:
    pointer: str
    """A JSON pointer (RFC 6901) into what was sent."""
    message: str
    place: str | None = None
    """FILE:LINE:COLUMN, where that is known."""


class ConsoleError(Exception):
    exit: ClassVar[Exit] = Exit.REFUSED


class Misused(ConsoleError):
    pass


class Refused(ConsoleError):
    def __init__(self, status: int, detail: str, faults: tuple[Fault, ...] = (), problem: Any = None) -> None:
        super().__init__(detail)
        self.status = status
        self.faults = faults
        self.problem = problem
        """The server's answer: application/problem+json (RFC 9457)."""


class Unauthorised(ConsoleError):
    exit = Exit.UNREACHABLE


class Unreachable(ConsoleError):
    exit = Exit.UNREACHABLE

    def __init__(self, text: str, *, received: bool = True) -> None:
        super().__init__(text)
        self.received = received
        """The server may have got the request, and done what it asks."""


class Deadline(ConsoleError):
    exit = Exit.DEADLINE
