"""The version that the agent reports is the distribution's."""

import tomllib
from pathlib import Path

from nodeagent import VERSION


def test_the_version_is_the_projects():
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION
