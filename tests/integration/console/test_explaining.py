"""`verge explain`: in words, as JSON, and by its exit code."""

NODES = ("nc-1", "nc-2", "nc-3")
APP = ("i-web", "i-db", "tcp", 8080)


async def test_allowed_in_words(cloud, verge):
    await cloud.apply(*NODES)
    found = await verge("explain", *APP)
    assert (found.code, found.err) == (0, "")
    lines = found.out.splitlines()
    assert lines[0] == "allowed: i-web (nc-1) → i-db (nc-2) tcp 8080"
    known = dict(line.split("  ", 1) for line in lines if "  " in line)
    assert known["rule"].strip() == "tcp 8080 from sg-web (ingress of sg-app)"
    assert known["by"].strip() == "i-web (10.1.0.10) is in sg-web → tcp 8080 from sg-web → i-db is in sg-app"
    assert known["seen as"].strip() == "10.1.0.10"
    assert known["since"].strip() == "revision 1"
    assert known["in force"].strip() == "yes"
    assert [row[:4] for row in found.rows if row[:1] == ["4"]] == [["4", "nc-2", "ingress", "passes"]]
    assert [row[:4] for row in found.rows if row[:1] == ["nc-2"]] == [["nc-2", "destination", "passes", "yes"]]


async def test_denied_is_1_and_tells_what_nearly_matched(cloud, verge):
    await cloud.apply(*NODES)
    found = await verge("explain", "i-app", *APP[1:])
    assert found.code == 1
    assert found.out.startswith("denied: i-app (nc-1) → i-db (nc-2) tcp 8080\n")
    row = next(row for row in found.rows if row[:1] == ["sg-app"])
    assert " ".join(row) == "sg-app tcp 8080 from sg-web i-app is not in sg-web"


async def test_not_in_force_is_5_and_says_where_and_why(cloud, verge):
    await cloud.apply("nc-1")
    found = await verge("explain", *APP)
    assert found.code == 5
    row = next(row for row in found.rows if row[:1] == ["nc-2"])
    assert row[1:5] == ["destination", "unknown", "no", "never-seen"]
    assert " ".join(row).endswith("no agent of this name has ever reported")


async def test_icmp_protocols_and_elastic_ips(cloud, verge):
    await cloud.apply(*NODES)
    assert (await verge("explain", "i-web", "i-db", "icmp")).out.startswith(
        "denied: i-web (nc-1) → i-db (nc-2) icmp 8/0"
    )
    assert " icmp 3/4\n" in (await verge("explain", "i-web", "i-db", "icmp", "3/4")).out
    assert " protocol 132\n" in (await verge("explain", "i-web", "i-db", "132")).out
    found = await verge("explain", "198.51.100.7", "203.0.113.1", "tcp", 80)
    assert found.code == 0
    assert "203.0.113.1 is i-web's: it goes on to 10.1.0.10" in found.out


async def test_as_json_it_is_the_servers_answer(cloud, verge):
    await cloud.apply(*NODES)
    found = await verge("--json", "explain", *APP)
    params = {"from": "i-web", "to": "i-db", "protocol": "tcp", "port": 8080}
    answer = (await cloud.admin.get("/v1/explain", params=params)).json()
    assert found.code == 0
    assert found.json == answer


async def test_as_it_was_meant(cloud, verge):
    await cloud.update({"op": "delete", "kind": "instance", "id": "i-app"})
    found = await verge("explain", "i-app", "i-db", "tcp", 80, "--revision", 1)
    assert found.code == 0
    assert "in force" not in found.out
    found = await verge("explain", "i-app", "i-db", "tcp", 80)
    assert found.code == 2
    assert "/query/from: 'i-app' is no instance" in found.err


async def test_what_cannot_be_asked(cloud, verge):
    for arguments, why in (
        (("tcp",), "tcp has ports"),
        (("tcp", "3/4"), "an ICMP type and code"),
        (("sctp",), "is no protocol"),
        (("tcp", "ssh"), "neither a port nor an ICMP type"),
        (("tcp", "70000"), "/query/port"),
    ):
        found = await verge("explain", "i-web", "i-db", *arguments)
        assert found.code == 2
        assert why in found.err
