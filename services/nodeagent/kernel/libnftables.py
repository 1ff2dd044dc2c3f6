"""libnftables through ctypes, one context kept open.

Forking nft(8) costs 3 to 20 ms a change, this 0.1 to 0.8 ms. No binding is worth a dependency: it is seven functions
(libnftables(3)). Text in, text or JSON out.
"""

import ctypes
import json
import re
from ctypes import c_char_p, c_int, c_uint, c_uint32, c_void_p
from typing import Any, Final

from nodeagent.kernel import Absent, refusal
from nodeagent.state.ruleset import TableId

_HANDLES: Final = 1 << 3
_JSON: Final = 1 << 4
_NUMERIC: Final = 0b1111 << 7
"""nft_ctx_output_set_flags, libnftables.h"""

_ERROR = re.compile(r"^.*?Error: (.*)$", re.MULTILINE)


class Libnftables:
    """Raises OSError where the library is not installed (Debian: libnftables1)."""

    def __init__(self) -> None:
        self._library = _load()
        context = self._library.nft_ctx_new(0)
        if not context:
            raise OSError("libnftables gives no context")
        self._context = c_void_p(context)
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)

    def close(self) -> None:
        if self._context:
            self._library.nft_ctx_free(self._context)
            self._context = c_void_p(None)

    def commit(self, transaction: str) -> None:
        """All of it or nothing. Raises KernelRefused."""
        self._run(transaction, 0)

    def tables(self) -> set[TableId]:
        listed = self._list("tables", _JSON)
        return {
            TableId(body["family"], body["name"]) for entry in listed for kind, body in entry.items() if kind == "table"
        }

    def listing(self, tables: set[TableId]) -> dict[str, Any]:
        """libnftables-json(5) of these tables, those that are gone left out."""
        entries: list[Any] = []
        for table in sorted(tables):
            try:
                entries += self._list(f"table {table}", _JSON)
            except Absent:
                continue
        return {"nftables": entries}

    def text(self, tables: set[TableId]) -> str:
        """As people read it."""
        return "".join(self._run(f"list table {table}", _HANDLES | _NUMERIC) for table in sorted(tables))

    def _list(self, what: str, flags: int) -> list[Any]:
        entries: list[Any] = json.loads(self._run(f"list {what}", flags | _HANDLES | _NUMERIC))["nftables"]
        return entries

    def _run(self, command: str, flags: int) -> str:
        self._library.nft_ctx_output_set_flags(self._context, flags)
        failed = self._library.nft_run_cmd_from_buffer(self._context, command.encode())
        output = self._library.nft_ctx_get_output_buffer(self._context) or b""
        errors = (self._library.nft_ctx_get_error_buffer(self._context) or b"").decode(errors="replace")
        if failed:
            raise refusal("; ".join(dict.fromkeys(_ERROR.findall(errors))) or errors.strip() or "no reason given")
        return str(output.decode())


def _load() -> ctypes.CDLL:
    library = ctypes.CDLL("libnftables.so.1")
    for name, result, arguments in (
        ("nft_ctx_new", c_void_p, [c_uint32]),
        ("nft_ctx_free", None, [c_void_p]),
        ("nft_ctx_buffer_output", c_int, [c_void_p]),
        ("nft_ctx_buffer_error", c_int, [c_void_p]),
        ("nft_ctx_get_output_buffer", c_char_p, [c_void_p]),
        ("nft_ctx_get_error_buffer", c_char_p, [c_void_p]),
        ("nft_ctx_output_set_flags", None, [c_void_p, c_uint]),
        ("nft_run_cmd_from_buffer", c_int, [c_void_p, c_char_p]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
