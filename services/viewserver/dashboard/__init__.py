"""The operator's page: plain HTML, CSS and ES modules, served as they are. No build step, and nothing from other hosts;
`assets/vendor` holds what is not ours, with its license.

The page asks the API like any other client, with the token that its reader pastes. Every URL in it is relative, so it works
behind a path prefix.
"""

from pathlib import Path
from typing import Final

ASSETS: Final = Path(__file__).parent / "assets"
PAGE: Final = ASSETS / "index.html"

HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
}
"""The page holds a token: nothing but its own files may run in it, and nothing may be sent elsewhere."""
