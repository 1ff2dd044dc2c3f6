"""The operators' file of rules: nft commands, each on an `operator_…` object of our tables, and nothing else.

    add rule ip verge operator_pre ip saddr 10.0.0.9 accept
    add set bridge verge_l2 operator_macs { type ether_addr; elements = { 02:00:00:00:00:01 } }

It goes into the transaction that makes the chains, so what could change anything else (`flush ruleset`) is refused before.
`nft -f` takes it too, for rules that are to be in force now.
"""

import re
from collections.abc import Iterator, Mapping

from nodeagent.state import ownership
from nodeagent.state.ruleset import TableId

_COMMAND = re.compile(
    r"(?:add|create|insert|replace|delete|flush)\s+(?:rule|chain|set|map|element|counter|quota|limit)"
    r"\s+(ip|bridge)\s+(\S+)\s+(\S+)"
)
_WORD = re.compile(r'"[^"]*"|#[^\n]*|\\\n|.', re.DOTALL)


class OperatorFileInvalid(Exception):
    """The text has one sentence for each command that is refused."""


def commands(text: str) -> Mapping[TableId, str]:
    """By table, in order, one command a line. Raises OperatorFileInvalid."""
    found: dict[TableId, str] = {}
    faults: list[str] = []
    for line, command in _commands(text):
        match = _COMMAND.match(command)
        table = TableId(match[1], match[2]) if match else None  # type: ignore[arg-type]
        if table is None or match is None or table not in ownership.TABLES or not ownership.is_operators(match[3]):
            faults.append(
                f"line {line}: {command.split(chr(10))[0][:60]!r} is no command on an operator_… object of "
                f"{ownership.BRIDGE} or {ownership.IP}, such as: add rule {ownership.IP} {ownership.PRE} …"
            )
            continue
        found[table] = found.get(table, "") + command + "\n"
    if faults:
        raise OperatorFileInvalid("; ".join(faults))
    return found


def _commands(text: str) -> Iterator[tuple[int, str]]:
    """With the line on which each begins. One ends with its line, or with a semicolon, but not within braces."""
    line, depth, began, command = 1, 0, 1, ""
    for match in _WORD.finditer(text + "\n"):
        word = match[0]
        if word in "\n;" and not depth:
            if command.strip():
                yield began, command.strip()
            command = ""
        elif word == "\\\n":
            command += " "
        elif not word.startswith("#"):
            if not command.strip():
                began = line
            depth += (word == "{") - (word == "}")
            command += word
        line += word.count("\n")
    if command.strip():
        yield began, command.strip()
