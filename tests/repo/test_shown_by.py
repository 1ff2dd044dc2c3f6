"""What the documents say a test shows, a test of that name is there for."""

from __future__ import annotations

import ast
import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOME = "tests/dataplane"
"""Where files are that are named without a directory."""
NAMED = re.compile(r"`((?:tests/[\w/*]+|test_[\w*]+|…)(?:\.py)?(?:/)?)(?:::([\w…:]+))?`")


def defined_in(path: Path) -> set[str]:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, functions)}


def missing(text: str) -> list[str]:
    found, before = [], ""
    for name, test in NAMED.findall(text):
        place = before if name == "…" else name
        before = place
        path = place if place.startswith("tests/") else f"{HOME}/{place}"
        exact = [one for ending in ("", ".py") for one in ROOT.glob(path.removesuffix(".py") + ending)]
        if not exact:  # a file, or a directory
            found.append(place)
        elif test:
            pattern = test.replace("…::", "").replace("…", "*")
            if not any(fnmatchcase(known, pattern) for one in exact for known in defined_in(one)):
                found.append(f"{place}::{test}")
    return found


@pytest.mark.parametrize("document", ["edge-mode.md", "dataplane.md"])
def test_every_test_that_is_named_is_there(document: str) -> None:
    text = (ROOT / "docs" / document).read_text()
    assert len(NAMED.findall(text)) > 20
    assert not missing(text)


def test_one_that_is_not_there_is_found() -> None:
    assert missing("`test_groups::test_cidr_rules` `…::test_cid…` `tests/unit`") == []
    assert missing("`test_groups::test_nothing_of_the_kind` `test_nowhere`") == [
        "test_groups::test_nothing_of_the_kind",
        "test_nowhere",
    ]
