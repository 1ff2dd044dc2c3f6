"""openapi/nodeagent.json is what `verge-nodeagent openapi` prints now."""

from pathlib import Path

from nodeagent.__main__ import main

COMMITTED = Path(__file__).parents[2] / "openapi" / "nodeagent.json"


def test_the_committed_description_is_not_stale(capsys):
    assert main(["openapi"]) == 0
    assert COMMITTED.read_text() == capsys.readouterr().out, "run: verge-nodeagent openapi > openapi/nodeagent.json"
