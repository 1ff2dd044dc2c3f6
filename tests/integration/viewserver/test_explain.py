"""`GET /v1/explain`: the verdict, and whether both nodes do what it says, as they report."""

import pytest
import pytest_asyncio

from tests.integration.viewserver.serving import serving, until
from tests.unit.viewserver.clouds import changed
from viewserver.store.changes import prune

NODES = ("nc-1", "nc-2", "nc-3")
APP = {"from": "i-web", "to": "i-db", "port": 8080}


@pytest.fixture
def opened():
    """Of sg-app, so that i-far may come in too."""
    rule = {"protocol": "tcp", "from_port": 22, "to_port": 22, "cidr": "10.2.0.0/24"}
    return changed("sg-app", ingress=[rule])


@pytest_asyncio.fixture
async def cloud(database_url, tmp_path):
    async with serving(database_url, tmp_path, silence_grace_s=3600) as found:
        await found.cloud()
        yield found


async def ask(cloud, expect=200, client=None, **params):
    answer = await (client or cloud.admin).get("/v1/explain", params=params)
    assert answer.status_code == expect, answer.text
    return answer.json()


def share(found, role):
    return next(one for one in found["nodes"] if one["role"] == role)


async def test_allowed_and_in_force_at_both_ends(cloud):
    await cloud.apply(*NODES)
    found = await ask(cloud, **APP)
    assert (found["verdict"], found["in_force"], found["now"]) == ("allowed", True, "allowed")
    assert (found["since"], found["since_exact"]) == (1, True)
    assert found["deciding"]["rule"]["text"] == "tcp 8080 from sg-web"
    assert found["deciding"]["rule"]["rule"] == {
        "protocol": "tcp",
        "from_port": 8080,
        "to_port": 8080,
        "group": "sg-web",
    }
    assert found["summary"] == "allowed since revision 1, in force on nc-1 and nc-2"
    assert [(one["node"], one["role"], one["enforces"]) for one in found["nodes"]] == [
        ("nc-1", "source", "passes"),
        ("nc-2", "destination", "passes"),
    ]
    assert {(one["kind"], one["id"]): one["revision"] for one in found["facts"]}["group", "sg-app"] == 1


async def test_a_node_that_is_behind_does_what_its_view_says(cloud, opened):
    await cloud.apply(*NODES)
    await cloud.update(opened)
    asked = {"from": "i-far", "to": "i-db", "port": 22}
    found = await ask(cloud, **asked)
    assert (found["verdict"], found["in_force"], found["now"], found["since"]) == ("allowed", False, "denied", 2)
    assert "not in force: nc-2 still on 1, " in found["summary"]
    assert "no rule of i-db's groups lets tcp 22" in found["summary"]
    assert share(found, "source")["in_force"]

    revoked = await ask(cloud, **APP)  # by the same change
    assert (revoked["verdict"], revoked["in_force"], revoked["now"]) == ("denied", False, "allowed")

    await cloud.apply("nc-2")
    found = await ask(cloud, **asked)
    assert (found["in_force"], found["now"]) == (True, "allowed")
    assert (await ask(cloud, **APP))["in_force"]


async def test_being_behind_in_other_matters_does_not_count(cloud):
    await cloud.apply(*NODES)
    await cloud.update(changed("i-web", account="bob"))
    found = await ask(cloud, **APP)
    assert (found["verdict"], found["in_force"], found["since"]) == ("allowed", True, 1)
    assert share(found, "source")["applied_version"] == 1
    assert share(found, "source")["version"] == 2


async def test_a_node_that_was_never_seen(cloud):
    await cloud.apply("nc-1")
    found = await ask(cloud, **APP)
    assert (found["in_force"], found["now"]) == (False, "unknown")
    assert share(found, "destination")["reasons"] == ["no agent of this name has ever reported"]


async def test_a_silent_node_is_believed_nothing(database_url, tmp_path):
    async with serving(database_url, tmp_path, silence_grace_s=0.0, start_grace_s=0.0) as cloud:
        await cloud.cloud()
        await cloud.apply(*NODES)
        found = await ask(cloud, **APP)
    assert (found["in_force"], found["now"]) == (False, "unknown")
    assert "not heard of since" in found["summary"]


async def test_quarantined_closed_and_waiting(cloud):
    await cloud.apply("nc-1")
    etag = (await cloud.view("nc-2")).headers["etag"]
    failure = {"object": "instances/i-db", "stage": "ruleset", "reason": "its interface is an uplink"}
    await cloud.report("nc-2", etag, "degraded", failures=[failure], instances={"i-db": "quarantined"})
    found = await ask(cloud, **APP)
    assert (found["verdict"], found["in_force"], found["now"]) == ("allowed", False, "denied")
    assert "nc-2 i-db is closed there: its interface is an uplink" in found["summary"]

    await cloud.report("nc-2", etag, instances={"i-db": "waiting-for-interface"})
    found = await ask(cloud, **APP)
    assert (found["in_force"], found["now"]) == (False, "denied")
    assert "nc-2 waiting for interface vn_i-db" in found["summary"]

    failure = {"object": "groups/sg-app", "stage": "ruleset", "reason": "too many"}
    await cloud.report("nc-2", etag, "degraded", failures=[failure], instances={"i-db": "ready"})
    found = await ask(cloud, **APP)
    assert (found["in_force"], found["now"]) == (False, "denied")
    assert (await ask(cloud, **APP | {"to": "i-app"}))["in_force"]  # nc-1's


async def test_a_rejected_view_leaves_the_one_before_in_force(cloud, opened):
    await cloud.apply(*NODES)
    before = (await cloud.view("nc-2")).headers["etag"]
    await cloud.update(opened)
    after = (await cloud.view("nc-2")).headers["etag"]
    failure = {"object": "host/br0", "stage": "preflight", "reason": "no bridge"}
    await cloud.report("nc-2", before, "rejected", attempted={"etag": after}, failures=[failure])
    found = await ask(cloud, **{"from": "i-far", "to": "i-db", "port": 22})
    assert (found["in_force"], found["now"]) == (False, "denied")
    assert "it rejected 2: host/br0: no bridge" in found["summary"]
    assert (await ask(cloud, **APP))["now"] == "allowed"


async def test_an_address_in_a_fence_names_who_must_give_it_up(cloud):
    await cloud.apply(*NODES)
    await cloud.update({"op": "put", "kind": "elastic_ip", "id": "203.0.113.1", "value": {"instance": "i-far"}})
    asked = {"from": "198.51.100.7", "to": "203.0.113.1", "port": 80}
    found = await ask(cloud, **asked)
    assert (found["verdict"], found["in_force"]) == ("denied", False)
    former = share(found, "former")
    assert (former["node"], former["in_force"]) == ("nc-1", False)
    assert former["reasons"] == [
        "it had 203.0.113.1, and has not reported that it gave it up (withdrawn at revision 2)"
    ]

    await cloud.apply("nc-1")
    await cloud.apply("nc-3")
    await until(lambda: cloud.replica.held.revision == 3, "the grant")
    await cloud.apply("nc-3")
    found = await ask(cloud, **asked)
    assert (found["verdict"], found["in_force"], found["since"]) == ("allowed", True, 3)


async def test_as_it_was_at_a_revision(cloud, opened):
    await cloud.update(opened)
    assert (await ask(cloud, **APP))["verdict"] == "denied"
    found = await ask(cloud, **APP, revision=1)
    assert (found["verdict"], found["revision"]) == ("allowed", 1)
    assert "nodes" not in found
    await ask(cloud, **APP, revision=3, expect=404)


async def test_since_follows_groups_that_were_left(cloud, opened):
    """i-db may be reached by sg-app's rule, then by another group's; and only by the earlier one has it always been so."""
    await cloud.update(changed("sg-idle", ingress=[{"protocol": "all", "group": "sg-web"}]))
    await cloud.update(changed("i-db", groups=["sg-app", "sg-idle"]))
    await cloud.update(changed("i-db", groups=["sg-idle"]))
    await cloud.update(opened)
    found = await ask(cloud, **APP)
    assert (found["verdict"], found["since"], found["since_exact"]) == ("allowed", 1, True)
    assert (await ask(cloud, **APP | {"port": 9}))["since"] == 3


async def test_faults_say_what_and_where(cloud):
    body = await ask(cloud, expect=422, **{"from": "i-none", "to": "2001:db8::1", "port": 22})
    assert [one["pointer"] for one in body["errors"]] == ["/query/from", "/query/to"]
    assert body["errors"][0]["message"] == "'i-none' is no instance, no node and no IPv4 address"
    body = await ask(cloud, expect=422, **{"from": "i-web", "to": "i-db", "protocol": "sctp"})
    assert body["errors"][0]["pointer"] == "/query/protocol"
    body = await ask(cloud, expect=422, **{"from": "i-web", "to": "i-db"})
    assert body["errors"][0]["pointer"] == "/query/port"
    await ask(cloud, expect=422, to="i-db", port=22)


async def test_who_may_ask(cloud):
    await ask(cloud, client=await cloud.as_("operator"), **APP)
    await ask(cloud, client=await cloud.as_("cloud"), expect=403, **APP)
    await ask(cloud, client=await cloud.as_("node", "nc-1"), expect=403, **APP)


async def test_older_than_what_is_in_memory_it_is_that_revision_or_before(cloud, database_url, tmp_path):
    """A replica that starts when the records of the first changes are gone."""
    await cloud.update(changed("i-far", account="bob"))
    await cloud.update(changed("i-far", account="carol"))
    async with cloud.application.server.database.begin() as conn:
        await prune(conn, 2)
    async with serving(database_url, tmp_path, admin_token=cloud.admin_token) as later:
        found = await ask(later, **APP)
    assert (found["verdict"], found["since"], found["since_exact"]) == ("allowed", 1, False)
    assert found["summary"].startswith("allowed since revision 1 or before")
