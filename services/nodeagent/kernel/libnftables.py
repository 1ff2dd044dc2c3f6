"""libnftables through ctypes, one context kept open.

Forking nft(8) costs 3 to 20 ms a change, this 0.1 to 0.8 ms. No binding is worth a dependency: it is a few functions
(libnftables(3)). Text in, text or JSON out.
"""

import contextlib
import ctypes
import json
import re
from ctypes import c_bool, c_char_p, c_int, c_uint, c_uint32, c_void_p
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
        self._context = self._new()

    def close(self) -> None:
        if self._context:
            self._library.nft_ctx_free(self._context)
            self._context = c_void_p(None)

    def commit(self, transaction: str) -> None:
        """All of it or nothing. Raises KernelRefused."""
        self._run(transaction, 0)

    def check(self, transaction: str) -> None:
        """Would the kernel take it? It does all of it, and takes it back. Raises KernelRefused."""
        self._library.nft_ctx_set_dry_run(self._context, 1)
        self._run(transaction, 0)
        self._forget()

    def base_chains(self) -> list[Any]:
        """Of all tables, as libnftables-json(5) says them; reads no rules and no elements."""
        listed = (entry.get("chain") for entry in self._list("chains", _JSON))
        return [chain for chain in listed if chain and "hook" in chain]

    def listing(self, tables: set[TableId]) -> dict[str, Any]:
        """libnftables-json(5) of these tables, those that are gone left out."""
        entries: list[Any] = []
        for table in sorted(tables):
            try:
                entries += self._list(f"table {table}", _JSON)
            except Absent:
                continue
        return {"nftables": entries}

    def rules(self, tables: set[TableId]) -> list[Any]:
        """Whole tables as libnftables-json(5), with names where there are names. Those that are gone are left out."""
        entries: list[Any] = []
        for table in sorted(tables):
            with contextlib.suppress(Absent):
                entries += json.loads(self._run(f"list table {table}", _JSON))["nftables"]
        return entries

    def text(self, tables: set[TableId]) -> str:
        """As people read it."""
        return "".join(self._run(f"list table {table}", _HANDLES | _NUMERIC) for table in sorted(tables))

    def object_text(self, table: TableId, what: str) -> str:
        """One object (`chain <name>`) as nft loads it again, within its table's braces. Raises KernelRefused."""
        kind, name = what.split(" ", 1)
        return self._run(f"list {kind} {table} {name}", _NUMERIC)

    def _list(self, what: str, flags: int) -> list[Any]:
        entries: list[Any] = json.loads(self._run(f"list {what}", flags | _HANDLES | _NUMERIC))["nftables"]
        return entries

    def _run(self, command: str, flags: int) -> str:
        self._library.nft_ctx_output_set_flags(self._context, flags)
        failed = self._library.nft_run_cmd_from_buffer(self._context, command.encode())
        output = self._library.nft_ctx_get_output_buffer(self._context) or b""
        errors = (self._library.nft_ctx_get_error_buffer(self._context) or b"").decode(errors="replace")
        if failed:
            self._forget()
            raise refusal("; ".join(dict.fromkeys(_ERROR.findall(errors))) or errors.strip() or "no reason given")
        return str(output.decode())

    def _new(self) -> c_void_p:
        context = self._library.nft_ctx_new(0)
        if not context:
            raise OSError("libnftables gives no context")
        self._library.nft_ctx_buffer_output(context)
        self._library.nft_ctx_buffer_error(context)
        return c_void_p(context)

    def _forget(self) -> None:
        """The library keeps what it was told to add in mind, also where nothing of it went in, and finds later that it is
        there already."""
        self.close()
        self._context = self._new()


def _load() -> ctypes.CDLL:
    library = ctypes.CDLL("libnftables.so.1")
    for name, result, arguments in (
        ("nft_ctx_new", c_void_p, [c_uint32]),
        ("nft_ctx_free", None, [c_void_p]),
        ("nft_ctx_set_dry_run", None, [c_void_p, c_bool]),
        ("nft_ctx_buffer_output", c_int, [c_void_p]),
        ("nft_ctx_buffer_error", c_int, [c_void_p]),
        ("nft_ctx_get_output_buffer", c_char_p, [c_void_p]),
        ("nft_ctx_get_error_buffer", c_char_p, [c_void_p]),
        ("nft_ctx_set_dry_run", None, [c_void_p, c_bool]),
        ("nft_ctx_output_set_flags", None, [c_void_p, c_uint]),
        ("nft_run_cmd_from_buffer", c_int, [c_void_p, c_char_p]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
