"""A view as text: read into values, refused with a pointer, and the digest that both sides must agree on for ever."""

import json
from hashlib import sha256

import pytest

from verge.contract.digest import canonical, fold, leaf
from verge.contract.members import Members
from verge.contract.rule import Rule
from verge.contract.view import View, ViewInvalid, format_range, parse_ranges

WIRE = {
    "schema": 1,
    "node": "nc-1",
    "host": {"address": "192.0.2.1", "gateway_mode": "impersonate"},
    "network": {
        "dns_servers": ["10.0.0.2"],
        "dns_domain": "eucalyptus.internal",
        "metadata": {"host": "10.0.0.3", "port": 8773, "identity": "elastic"},
        "public_ips": ["203.0.113.1-203.0.113.9"],
        "private_ranges": ["10.1.0.10-10.1.0.99"],
        "mtu": None,
        "additional_protocols": [132],
        "same_group_traffic": "rules",
        "private_nat": "none",
        "revoke": "cut",
        "vm_to_host": "deny",
        "host_to_vm": "allow",
        "address_lease_s": 0,
    },
    "zone": {"name": "zone-a", "subnet": "10.1.0.0/24", "gateway": "10.1.0.1", "private_ips": [], "mac_prefix": None},
    "instances": {
        "i-web": {
            "node": "nc-1",
            "mac": "d0:0d:00:00:00:0a",
            "private_ip": "10.1.0.10",
            "groups": ["sg-web"],
            "account": "alice",
            "zone": None,
            "interface": "vn_i-web",
            "migrating_to": None,
            "elastic_ip": "203.0.113.1",
        }
    },
    "groups": {
        "sg-web": {
            "name": "web",
            "account": "alice",
            "ingress": [{"protocol": "tcp", "from_port": 80, "to_port": 80, "group": "sg-web"}],
            "egress": None,
        }
    },
    "members": {"sg-web": ["10.1.0.10", "203.0.113.1"]},
}
DIGEST = "91a40312d90d265e997932ab0c7bd0fb"


def spoiled(path, value):
    """WIRE with this in that place; ... takes it out."""

    def put(into, steps):
        step, *rest = steps
        into = dict(into)
        if rest:
            into[step] = put(into[step], rest)
        elif value is ...:
            del into[step]
        else:
            into[step] = value
        return into

    return put(WIRE, path.strip("/").split("/"))


def test_the_digest_of_a_view_does_not_change_with_the_code():
    """An agent of today and a server of tomorrow compare it; change it with the schema number only."""
    assert View.parse(WIRE).digest == DIGEST


def test_the_digest_is_what_its_description_says():
    """Written anew from the docstrings of `digest`, `members` and `view`, with nothing of theirs."""

    def leaf_of(value):
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return sha256(b"\0" + text.encode()).digest()

    def fold_of(named):
        parts = (len(key.encode()).to_bytes(4, "big") + key.encode() + named[key] for key in sorted(named))
        return sha256(b"\1" + b"".join(parts)).digest()

    def members_of(addresses):
        blocks = {}
        for address in addresses:
            *prefix, low = (int(octet) for octet in address.split("."))
            blocks.setdefault(bytes(prefix), []).append(low)
        return fold_of({one.hex(): sha256(b"\0" + one + bytes(sorted(low))).digest() for one, low in blocks.items()})

    parts = {name: leaf_of(WIRE[name]) for name in ("schema", "node", "host", "network", "zone")}
    parts |= {name: fold_of({key: leaf_of(one) for key, one in WIRE[name].items()}) for name in ("instances", "groups")}
    parts["members"] = fold_of({key: members_of(one) for key, one in WIRE["members"].items()})
    assert fold_of(parts).hex()[:32] == DIGEST


def test_a_field_that_this_code_does_not_know_counts_for_the_digest():
    newer = View.parse(spoiled("/network/new_field", [1]))
    assert newer.digest != DIGEST
    assert newer.network == View.parse(WIRE).network


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/schema", 2),
        ("/node", ""),
        ("/node", ...),
        ("/host", None),
        ("/network", {}),
        ("/zone", []),
        ("/instances", ...),
        ("/instances/i-web", {}),
        ("/groups", []),
        ("/groups/sg-web", {"ingress": [{}], "egress": None}),
        ("/members", "x"),
        ("/members/sg-web", ["10.0.0.256"]),
        ("/members/sg-web", [7]),
        ("/members/sg-web", None),
    ],
)
def test_what_cannot_be_read_is_refused_where_it_is(path, value):
    with pytest.raises(ViewInvalid) as refused:
        View.parse(spoiled(path, value))
    assert refused.value.pointer == path


def test_canonical_json_is_one_text():
    assert canonical({"b": [1, True, None], "a": "é"}) == '{"a":"é","b":[1,true,null]}'.encode()
    assert leaf(1).hex() == "2215e8ac4e2b871c2a48189e79738c956c081e23ac2f2415bf77da199dfd920c"
    assert (
        fold([("a", leaf(1)), ("b", leaf(2))]).hex()
        == "593d0602b9867dec0a76c9647137381c7b189b76c5e47aa39d48eb14388e5179"
    )
    assert (
        Members.parse(["10.0.0.1", "10.0.1.1"]).digest.hex()
        == "d685b8994ce183c4a952e0dfed86224efef227680d3e3600404e365d8aef138d"
    )


@pytest.mark.parametrize(
    ("text", "pairs"),
    [("10.0.0.5", ["10.0.0.5"]), ("10.0.0.5-10.0.0.9", ["10.0.0.5-10.0.0.9"]), ("10.0.0.5-10.0.0.5", ["10.0.0.5"])],
)
def test_a_range_has_one_text(text, pairs):
    assert [format_range(pair) for pair in parse_ranges([text])] == pairs


@pytest.mark.parametrize("text", ["", "-", "10.0.0.5-", "10.0.0.9-10.0.0.5", "10.0.0.5-x", "10.0.0.0/24"])
def test_what_is_no_range(text):
    with pytest.raises(ValueError):
        parse_ranges([text])


RULES = [
    {"protocol": "all", "cidr": "0.0.0.0/0"},
    {"protocol": "icmp", "icmp_type": 0, "icmp_code": 0, "cidr": "10.0.0.0/8"},
    {"protocol": "icmp", "icmp_type": 3, "cidr": "10.0.0.0/8"},
    {"protocol": "tcp", "from_port": 0, "to_port": 0, "group": "sg-1"},
    {"protocol": "udp", "from_port": 0, "to_port": 65535, "group": "sg-1"},
    {"protocol": 132, "group": "sg-1"},
    {"protocol": 0, "group": "sg-1"},
]


@pytest.mark.parametrize("wire", RULES)
def test_a_rule_in_its_normal_form_comes_back_as_it_was(wire):
    assert Rule.from_wire(wire).to_wire() == wire


def test_rules_have_a_total_order():
    rules = [Rule.from_wire(wire) for wire in RULES]
    assert len({rule.order for rule in rules}) == len(rules)
    assert sorted(rules, key=lambda rule: rule.order) == sorted([*reversed(rules)], key=lambda rule: rule.order)
