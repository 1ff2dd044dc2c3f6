"""The rooms of DESIGN.md, as the imports really are; the contracts stand in pyproject.toml."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOTS = ("services", "lab", "demo", "bench", "migrations", "tests")
FILES = sorted(path for root in ROOTS for path in (ROOT / root).rglob("*.py") if ".venv" not in path.parts)
PRODUCT = [path for path in FILES if path.relative_to(ROOT).parts[0] in ("services", "lab", "demo")]
MOST_LINES = 400


def name(path):
    return str(path.relative_to(ROOT))


def test_every_import_keeps_to_its_room():
    linter = Path(sys.executable).with_name("lint-imports")
    found = subprocess.run([linter, "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_no_room_of_the_product_imports_a_test():
    offenders = [
        f"{name(path)}:{node.lineno}"
        for path in PRODUCT
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for module in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names])
        if module.partition(".")[0] in ("tests", "bench", "pytest", "hypothesis")
    ]
    assert not offenders


@pytest.mark.parametrize("path", [path for path in PRODUCT if path.name == "__init__.py"], ids=name)
def test_every_package_says_why_it_exists(path):
    assert ast.get_docstring(ast.parse(path.read_text())), "an __init__.py says why the package exists"


def test_every_directory_with_code_is_a_package():
    assert not [name(path.parent) for path in PRODUCT if not (path.parent / "__init__.py").exists()]


@pytest.mark.parametrize("path", [path for path in PRODUCT if path.name != "__init__.py"], ids=name)
def test_every_module_states_its_promise(path):
    assert ast.get_docstring(ast.parse(path.read_text())), "a module begins with what it promises"


def test_no_file_is_too_long_to_be_read():
    lengths = {name(path): len(path.read_text().splitlines()) for path in FILES}
    assert not {path: lines for path, lines in lengths.items() if lines > MOST_LINES}
