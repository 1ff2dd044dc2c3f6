"""What the bytes of an answer say."""

import orjson

from verge.contract.delta import apply
from verge.contract.view import View, ViewInvalid


def read_view(body: bytes) -> View | ViewInvalid:
    """Of a whole view."""
    try:
        return View.parse(orjson.loads(body))
    except orjson.JSONDecodeError as wrong:
        return ViewInvalid("", f"this is not JSON: {wrong}")
    except ViewInvalid as wrong:
        return wrong


def read_delta(body: bytes, base: View) -> View | ViewInvalid:
    """The view that a delta leads to from `base`, sharing with it all that the delta leaves alone."""
    try:
        return apply(base, orjson.loads(body))
    except orjson.JSONDecodeError as wrong:
        return ViewInvalid("", f"this is not JSON: {wrong}")
    except ViewInvalid as wrong:
        return wrong
