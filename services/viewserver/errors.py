"""What the use cases refuse, in their own words; `api.problems` knows which HTTP status each becomes.

RequestError
├── Malformed        the body is not what it should be: every fault, with its place
├── InUse            well-formed, but it takes away what others need
├── TooWide          it reaches further than it was told that it may
├── HeadMoved        If-Match names another revision than the head
├── KeyReused        the idempotency key came with another body before
├── UnknownObject    there is no such thing (any more)
├── Forbidden / Unauthenticated
├── Contradiction    a report that cannot be true
├── TooLarge
├── UnknownMedia     the body is of a type that is not taken here
└── NotReady         nothing is wrong with the request; the server cannot serve it now
"""

from viewserver.model.faults import Fault


class RequestError(Exception):
    """A request that is not carried out; the text says why."""


class Malformed(RequestError):
    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__(f"{len(faults)} fault{'s' if len(faults) > 1 else ''} in the request; nothing of it was kept")
        self.faults = faults


class InUse(Malformed):
    pass


class HeadMoved(RequestError):
    pass


class TooWide(RequestError):
    pass


class KeyReused(RequestError):
    pass


class UnknownObject(RequestError):
    pass


class Unauthenticated(RequestError):
    pass


class Forbidden(RequestError):
    pass


class Contradiction(RequestError):
    pass


class TooLarge(RequestError):
    pass


class UnknownMedia(RequestError):
    pass


class NotReady(RequestError):
    pass
