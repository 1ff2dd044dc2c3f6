"""The preflight as people read it: one line a check, and under what is wrong what to do."""

from collections.abc import Iterator

from verge.contract.report import Check

_WORDS = {"failing": "FAILING", "warning": "warning"}


def table(checks: tuple[Check, ...]) -> str:
    width = max((len(one.check) for one in checks), default=0)
    return "\n".join(line for one in checks for line in _lines(one, width)) + f"\n\n{summary(checks)}\n"


def summary(checks: tuple[Check, ...]) -> str:
    failing = sum(one.blocks for one in checks)
    warnings = sum(not one.ok for one in checks) - failing
    fine = len(checks) - failing - warnings
    verdict = "no new view goes in until what is failing is mended" if failing else "fit to be a node"
    return f"{fine} ok, {_counted(warnings, 'warning')}, {failing} failing: {verdict}"


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _lines(one: Check, width: int) -> Iterator[str]:
    yield f"{'ok' if one.ok else _WORDS[one.severity]:<8} {one.check:<{width}}  {one.found}"
    if not one.ok:
        margin = " " * (9 + width)
        yield f"{margin}  needed: {one.needed}"
        yield f"{margin}  remedy: {one.remedy}"
