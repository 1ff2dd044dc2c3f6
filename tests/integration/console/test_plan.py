"""`verge apply`: objects by difference, what a plan says, and updates that reach too far."""

import yaml

from tests.unit.viewserver.clouds import changed, value_of

WEB = value_of("sg-web")
CLOSED = {"groups": {"sg-web": {**WEB, "ingress": []}}}


def written(verge, document, name="part.yaml"):
    path = verge.directory / name
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return path


async def test_a_part_is_applied_by_difference_and_pruned_when_told(cloud, verge):
    app = value_of("i-app") | {"groups": []}
    part = written(verge, {"instances": {"i-app": app}, "elastic_ips": {"203.0.113.2": None}})
    before = await cloud.model()
    first = await verge("apply", part)
    assert (first.code, first.out) == (0, "revision 2 committed; affects 1 node: nc-1\n")
    after = await cloud.model()
    assert after["instances"]["i-app"]["groups"] == []
    assert after["instances"].keys() == before["instances"].keys()
    assert after["elastic_ips"].keys() == {"203.0.113.1"}
    again = await verge.process("apply", "-", stdin=part.read_bytes())
    assert (again.code, again.out) == (0, "nothing changed: at revision 2 the network is as asked\n")

    pruning = written(verge, {"elastic_ips": {}})
    assert (await verge("apply", pruning)).out.startswith("nothing changed")
    assert (await verge("apply", pruning, "--prune")).code == 0
    pruned = await cloud.model()
    assert (pruned["elastic_ips"], pruned["instances"]) == ({}, after["instances"])
    odd = await verge("apply", verge.file(changed("i-app")), "--prune")
    assert (odd.code, odd.err.count("\n")) == (2, 1)


async def test_a_plan_names_objects_losses_and_views_and_keeps_nothing(cloud, verge):
    part = written(verge, CLOSED)
    plan = await verge("apply", part, "--plan")
    assert plan.code == 0
    assert plan.out.startswith("would follow revision 1, and affect 3 nodes of 3\n~ group sg-web\n")
    assert "    ingress: - tcp 80 from 0.0.0.0/0\n3 instances of 4 would lose ingress\n" in plan.out
    assert ["i-web", "nc-1"] in [row[:2] for row in plan.rows]
    assert "tcp 80 from 0.0.0.0/0" in next(line for line in plan.out.splitlines() if line.startswith("i-web"))
    assert "view of nc-2\n  set     groups: sg-web\n" in plan.out
    assert "--if-match 1 makes sure" in plan.err
    assert (await cloud.model())["revision"] == 1
    as_json = await verge("apply", part, "--plan", "--json")
    assert {one["instance"] for one in as_json.json["losing_ingress"]} == {"i-web", "i-db", "i-far"}

    await cloud.update(changed("i-app", account="bob"))
    stale = await verge("apply", part, "--if-match", "1")
    assert (stale.code, stale.err) == (2, "verge: refused: the head is at revision 2, not 1\n")
    assert (await verge("apply", part, "--if-match", "2")).code == 0


async def test_what_reaches_too_far_is_refused_unless_forced(cloud, verge):
    part = written(verge, CLOSED)
    over = await verge("apply", part, "--plan", "--max-loss", "2", "--max-nodes", "10%")
    assert over.code == 2
    assert "too far: 3 of 3 nodes would be affected; the limit is 0\n" in over.out
    assert "too far: 3 of 4 instances would lose ingress; the limit is 2\n" in over.out
    refused = await verge("apply", part, "--max-loss", "2")
    message = "verge: refused: 3 of 4 instances would lose ingress; the limit is 2\n"
    assert (refused.code, refused.out, refused.err) == (2, "", message)
    operations = await verge("apply", verge.file(changed("sg-web", ingress=[])), "--max-loss", "2")
    assert (operations.code, operations.err) == (2, message)
    assert (await cloud.model())["revision"] == 1
    assert (await verge("apply", part, "--max-loss", "2", "--force")).code == 0


async def test_faults_in_yaml_have_their_line(cloud, verge):
    text = """\
groups:
  sg-web:
    name: web
    account: alice
    ingress:
      - {protocol: tcp, from_port: 80, to_port: 80, cidr: 0.0.0.0/0}
      - protocol: tcp
        cidr: 10.0.0.1/8
instances:
  i-x: {node: nc-9}
"""
    path = written(verge, text)
    found = await verge("apply", path)
    assert (found.code, found.out) == (2, "")
    faults = found.err.splitlines()[1:]
    assert next(one for one in faults if "/ingress/1/cidr" in one).startswith(
        f"{path}:8:9: /groups/sg-web/ingress/1/cidr: "
    )
    assert next(one for one in faults if "/i-x/mac" in one).startswith(f"{path}:10:3: /instances/i-x/mac: is missing")
    piped = await verge.process("apply", "-", stdin=text.encode())
    assert any(line.startswith("standard input:8:9: ") for line in piped.err.splitlines())
    assert (await cloud.model())["revision"] == 1
