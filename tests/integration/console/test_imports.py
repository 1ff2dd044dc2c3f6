"""`verge import`: the documents of a Eucalyptus cloud, and a whole model, into an empty network and out again."""

import json
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.viewserver.serving import serving

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest_asyncio.fixture
async def cloud(database_url, tmp_path):
    """Without a network."""
    async with serving(database_url, tmp_path) as found:
        yield found


async def test_a_network_document_is_shown_first_and_then_taken(cloud, verge):
    path = EXAMPLES / "network-flat.yaml"
    assert (await verge("import", "network", path, "--dry-run")).out.startswith("would follow revision 0")
    assert (await cloud.model())["network"] is None
    found = await verge("import", "network", path, "--wait=0")
    assert found.code == 0, found.err
    assert found.out.startswith("revision 1 committed; affects no node\nrevision 1 is in force")
    assert ["zone-1", "10.20.0.0/16", "10.20.0.1", "10.20.200.1-10.20.200.250", "0", "0"] in (
        await verge("network")
    ).rows
    again = await verge("import", "network", path)
    assert again.out == "nothing changed: at revision 1 the network is as asked\n"


async def test_faults_of_a_network_document_are_named(cloud, verge):
    path = verge.directory / "network.json"
    path.write_text(json.dumps({"PublicIps": ["10.0.0.9-10.0.0.1"], "Clusters": [{"Name": "a", "PrivateIps": ["x"]}]}))
    found = await verge("import", "network", path)
    assert (found.code, found.out) == (2, "")
    answer = (await cloud.admin.put("/v1/network", content=path.read_bytes())).json()
    assert found.err.splitlines()[1:] == [f"{one['pointer']}: {one['message']}" for one in answer["errors"]]
    assert len(answer["errors"]) > 1


async def test_a_cloud_comes_in_as_xml_and_goes_out_and_in_as_json(cloud, verge):
    found = await verge("import", "gni", EXAMPLES / "gni-small.xml")
    assert found.code == 0, found.err
    assert found.out == "revision 1 committed; affects 2 nodes: 10.20.0.11, 10.20.0.12\n"
    assert [row[0] for row in (await verge("nodes")).rows[1:]] == ["10.20.0.11", "10.20.0.12"]

    model = verge.directory / "model.json"
    model.write_text((await verge("model")).out)
    assert (await verge("import", "model", model)).out.startswith("nothing changed")
    smaller = json.loads(model.read_text())
    gone = next(iter(smaller["elastic_ips"]))
    del smaller["elastic_ips"][gone]
    model.write_text(json.dumps(smaller))
    assert (await verge("import", "model", model)).code == 0
    assert gone not in (await cloud.model())["elastic_ips"]


@pytest.mark.parametrize("text", ["<network-data>", "<other/>"])
async def test_xml_that_is_no_such_document_is_refused(cloud, verge, text):
    path = verge.directory / "gni.xml"
    path.write_text(text)
    found = await verge("import", "gni", path)
    assert found.code == 2
    assert found.err.startswith("verge: refused: ")
    assert (await cloud.model())["revision"] == 0
