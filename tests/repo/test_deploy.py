"""What `deploy/` installs: units that systemd takes, options that the agent has, rules that its parser takes."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from nodeagent.nft.operatorfile import commands
from nodeagent.settings import add_arguments
from nodeagent.state.ownership import IP

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd here")
def test_systemd_takes_every_unit(tmp_path):
    """Of a unit that it does not understand it says so, and ends with an error."""
    for unit in UNITS:
        text = unit.read_text().replace("/opt/verge/bin/", f"{ROOT}/.venv/bin/")
        (tmp_path / unit.name).write_text(text)
    units = sorted(map(str, tmp_path.iterdir()))
    done = subprocess.run(
        ("systemd-analyze", "verify", "--man=no", *units), capture_output=True, text=True, check=False
    )
    ours = [line for line in done.stderr.splitlines() if "verge" in line]
    assert (done.returncode, ours) == (0, [])


def test_the_units_start_what_the_package_installs():
    scripts = re.findall(r'^(verge-\S+) = "', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    started = {name for unit in UNITS for name in re.findall(r"/opt/verge/bin/(\S+)", unit.read_text())}
    assert started == set(scripts)


def test_every_variable_of_the_environment_files_is_one_that_is_read():
    import argparse

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    known = set(re.findall(r"\[(VERGE_\w+)\]", re.sub(r"\s+", " ", parser.format_help())))
    for text in ((DEPLOY / "etc/nodeagent.env").read_text(), (DEPLOY / "systemd/verge-nodeagent.service").read_text()):
        named = set(re.findall(r"^(?:Environment=)?(VERGE_\w+)=", text, re.MULTILINE))
        assert named
        assert named <= known
    server = (ROOT / "services/viewserver/__main__.py").read_text()
    text = (DEPLOY / "etc/viewserver.env").read_text() + (DEPLOY / "systemd/verge-viewserver.service").read_text()
    for name in re.findall(r"(VERGE_\w+|DATABASE_URL)=", text):
        assert f'"{name}"' in server


def test_the_examples_in_the_operators_file_are_commands_that_are_taken():
    text = (DEPLOY / "etc/hooks.nft").read_text()
    assert commands(text) == {}, "nothing is on before somebody wants it"
    examples = re.sub(r"^#(?=add )", "", text, flags=re.MULTILINE)
    assert commands(examples)[IP].count("\n") == 3
