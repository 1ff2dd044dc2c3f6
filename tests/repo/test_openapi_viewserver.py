"""openapi/viewserver.json is what `verge-viewserver openapi` prints now, and describes every route there is."""

import json
from pathlib import Path

from viewserver.__main__ import main
from viewserver.app import create_routes

COMMITTED = Path(__file__).parents[2] / "openapi" / "viewserver.json"


def test_the_committed_description_is_not_stale(capsys):
    assert main(["openapi"]) == 0
    assert COMMITTED.read_text() == capsys.readouterr().out, "run: make openapi"


def test_every_reference_leads_somewhere():
    document = json.loads(COMMITTED.read_text())

    def references(value):
        if isinstance(value, dict):
            yield from (found for key, found in value.items() if key == "$ref")
            for found in value.values():
                yield from references(found)
        elif isinstance(value, list):
            for found in value:
                yield from references(found)

    for reference in set(references(document)):
        place = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def test_every_operation_says_what_it_does_and_who_may():
    for path, operations in create_routes().openapi()["paths"].items():
        for method, operation in operations.items():
            assert operation.get("summary"), f"{method} {path}"
            open_to_all = operation.get("security") == []
            assert open_to_all == (path in ("/healthz", "/readyz")), f"{method} {path}"
