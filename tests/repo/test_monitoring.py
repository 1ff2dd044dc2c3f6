"""The alerts and the board ask for series that there are.

That the documents name exactly what the services expose is tested against real scrapes (`test_metrics`, `test_agent_metrics`);
here every name and label of the alerts and the board is looked for in the documents.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "verge.rules.yml"
TRIED = ROOT / "deploy" / "prometheus" / "verge.rules.test.yml"
BOARD = ROOT / "deploy" / "grafana" / "verge.json"
OF_PROMETHEUS = {"up": {"job", "instance"}}
OF_TARGETS = {"job", "instance", "le"}


def documented():
    """By name: its type and its labels."""
    found = {}
    for document in ("metrics.md", "metrics-agent.md"):
        text = (ROOT / "docs" / document).read_text()
        for name, labels, kind in re.findall(r"^\| `(\w+)(?:\{([\w,]+)\})?` \| (\w+) \|", text, re.MULTILINE):
            endings = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
            found |= {name + ending: set(labels.split(",")) - {""} | OF_TARGETS for ending in endings}
    return found | OF_PROMETHEUS


def expressions():
    alerts = [rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    panels = json.loads(BOARD.read_text())["panels"]
    return alerts + [target["expr"] for panel in panels for target in panel.get("targets", ())]


@pytest.mark.parametrize("expression", expressions())
def test_it_asks_for_what_there_is(expression):
    series = documented()
    used = re.findall(r"\b((?:verge|process)_\w+|up)\b(?:\{([^}]*)\})?", expression)
    assert used, expression
    for name, matchers in used:
        assert name in series, f"no such series: {name}"
        for label in re.findall(r"(\w+)\s*[=!]", matchers):
            assert label in series[name], f"{name} has no label {label}"
    grouped = [label for labels in re.findall(r"by \(([^)]*)\)", expression) for label in labels.split(", ")]
    assert set(grouped) <= set().union(*(series[name] for name, _ in used))


def test_every_alert_is_tried():
    alerts = {rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
    assert alerts == set(re.findall(r'alertname="(\w+)"', TRIED.read_text()))


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed: make check-alerts")
def test_prometheus_takes_the_alerts():
    done = subprocess.run(
        ("promtool", "test", "rules", str(TRIED)), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
