"""What is wrong with a request, and where: a JSON pointer (RFC 6901) and a message for a person."""

from dataclasses import dataclass

from pydantic import ValidationError

Pointer = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    pointer: Pointer
    message: str
    in_use: bool = False
    """The request is well-formed but takes away what others need: 409, where everything else is 422."""
    about: str | None = None
    """The item of the list pointed at that it is about."""

    def to_wire(self) -> dict[str, str]:
        return {"pointer": _sayable(pointer_text(self.pointer)), "message": _sayable(self.message)}


def pointer_text(pointer: Pointer) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in pointer)


def _sayable(text: str) -> str:
    """Half a surrogate, which YAML may quote into a key, has no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


MOST_SAID = 500
"""Characters of a message that may quote what was sent."""

_PLAIN = {
    "missing": "is missing",
    "unexpected_keyword_argument": "is not a known field",
    "extra_forbidden": "is not a known field",
    "tuple_type": "must be a list",
    "dataclass_type": "must be an object",
    "model_type": "must be an object",
    "dataclass_exact_type": "must be an object",
    "string_type": "must be a string",
    "int_type": "must be an integer",
}


def as_faults(error: ValidationError, at: Pointer) -> list[Fault]:
    """Every fault pydantic found, in the words of this product."""
    faults = []
    for found in error.errors(include_url=False, include_input=False, include_context=True):
        message = _PLAIN.get(found["type"], found["msg"]).removeprefix("Value error, ")
        if found["type"] in ("literal_error", "enum"):
            message = f"must be {found.get('ctx', {}).get('expected')}"
        faults.append(Fault((*at, *found["loc"]), message[:MOST_SAID]))
    return faults
