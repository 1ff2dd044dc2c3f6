"""Global network information: every dialect of it, what EDGE took and we would refuse, and what is refused all the same."""

# ruff: noqa: E501 - one line for each case

from ipaddress import IPv4Network

import pytest

from tests.unit.viewserver.clouds import NETWORK, changed, cloud, put
from tests.unit.viewserver.clouds import accepted as updated
from tests.unit.viewserver.eucalyptus.documents import (
    EXAMPLES,
    accepted,
    announce,
    cluster_,
    document,
    fixture,
    group_,
    instance_,
    property_,
    refused,
    rule_,
    subnet_,
    warned,
)

NODE = "192.0.2.1"
CONFIGURATION = {
    "mode": ["EDGE"],
    "enabledCLCIp": ["10.0.0.3"],
    "instanceDNSDomain": ["cloud.internal"],
    "instanceDNSServers": ["10.0.0.2"],
    "publicIps": ["203.0.113.1-203.0.113.9"],
}
IN_CONFIGURATION = "/network-data/configuration"
CLUSTER = f"{IN_CONFIGURATION}/property[@name='clusters']/cluster[@name='zone-a']"
INSTANCE = "/network-data/instances/instance[@name='i-1']"
RULE = "/network-data/securityGroups/securityGroup[@name='sg-1']/ingressRules/rule[1]"


def vm(name, number, *groups, **fields):
    texts = {
        "ownerId": "alice",
        "macAddress": f"d0:0d:00:00:00:{number:02x}",
        "privateIp": f"10.1.0.{number}",
        **fields,
    }
    return instance_(name, *(groups or ["sg-1"]), **{field: text for field, text in texts.items() if text is not None})


def flat(
    *instances, groups=None, nodes=None, ranges=("10.1.0.10-10.1.0.99",), clusters=None, subnets=(), **configuration
):
    """A document of one zone, one node and one group; what is named instead replaces it."""
    names = [one.split('"')[1] for one in instances]
    nodes = {NODE: names} if nodes is None else nodes
    subnet = IPv4Network("10.1.0.0/24")
    return document(
        configuration=[property_(name, *values) for name, values in {**CONFIGURATION, **configuration}.items()],
        subnets=subnets,
        clusters=[cluster_("zone-a", subnet, "10.1.0.1", ranges, nodes)] if clusters is None else clusters,
        instances=instances,
        groups=[group_("sg-1")] if groups is None else groups,
    )


def test_a_document_becomes_a_network():
    xml = flat(vm("i-1", 10, publicIp="203.0.113.1"), vm("i-2", 11, "sg-2", "sg-1"), groups=[group_("sg-1", rule_(6, fromPort=22, toPort=22, groupId="sg-2", groupOwnerId="bob")), group_("sg-2", owner="bob")], subnets=[subnet_(IPv4Network("10.1.0.0/24"), "10.1.0.1"), subnet_(IPv4Network("10.9.0.0/16"), "10.9.0.1")])  # fmt: skip
    found = accepted(announce(xml)).to_wire()
    settings = found.pop("network")
    assert settings["metadata"] == {"host": "10.0.0.3", "port": 8773, "identity": "elastic"}
    assert (settings["dns_servers"], settings["dns_domain"]) == (["10.0.0.2"], "cloud.internal")
    assert (settings["public_ips"], settings["subnets"]) == (["203.0.113.1-203.0.113.9"], ["10.9.0.0/16"])
    assert settings["same_group_traffic"] == "allow"
    assert found == {
        "zones": {"zone-a": {"subnet": "10.1.0.0/24", "gateway": "10.1.0.1", "private_ips": ["10.1.0.10-10.1.0.99"], "mac_prefix": "d0:0d"}},
        "nodes": {NODE: {"zone": "zone-a", "address": NODE, "gateway_mode": None}},
        "groups": {
            "sg-1": {"name": "sg-1", "account": "alice", "ingress": [{"protocol": "tcp", "from_port": 22, "to_port": 22, "group": "sg-2"}], "egress": None},
            "sg-2": {"name": "sg-2", "account": "bob", "ingress": [], "egress": None},
        },
        "instances": {
            "i-1": {"node": NODE, "mac": "d0:0d:00:00:00:0a", "private_ip": "10.1.0.10", "groups": ["sg-1"], "account": "alice", "zone": None, "interface": "vn_i-1", "migrating_to": None},
            "i-2": {"node": NODE, "mac": "d0:0d:00:00:00:0b", "private_ip": "10.1.0.11", "groups": ["sg-1", "sg-2"], "account": "alice", "zone": None, "interface": "vn_i-2", "migrating_to": None},
        },
        "elastic_ips": {"203.0.113.1": {"instance": "i-1"}},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "counts", "warnings"),
    [
        ("gni-clc-4.4.xml", (1, 1, 1, 1, 1), 1),
        ("gni-edge-rules.xml", (1, 2, 3, 2, 1), 0),
        ("gni-two-zones-120.xml", (2, 11, 12, 120, 60), 0),
    ],
)
def test_documents_of_real_clouds_are_taken(name, counts, warnings):
    parsed = announce(fixture(name))
    network = accepted(parsed)
    assert tuple(len(found) for section, found in network.to_wire().items() if section != "network") == counts
    assert len(parsed.warnings) == warnings
    assert accepted(announce(fixture(name), network), network).to_wire() == network.to_wire()


def test_the_example_is_taken():
    parsed = announce((EXAMPLES / "gni-small.xml").read_bytes())
    assert sorted(accepted(parsed).to_wire()["instances"]) == ["i-1f0c0001", "i-1f0c0002", "i-1f0c0003"]
    assert parsed.warnings == ()


@pytest.mark.parametrize(
    "dialect",
    [
        lambda xml: xml.replace("<property name", '<property type="simple" name'),
        lambda xml: xml.replace('<property name="mode"><value>EDGE</value></property>', "").replace(
            ' version="7c01e9aa"', ""
        ),
        lambda xml: xml.replace("<value>", "\n  <value>\n    ").replace("</value>", "\n  </value>"),
        lambda xml: xml.replace("<ingressRules></ingressRules>", "<ingressRules/>"),
        lambda xml: xml.replace("<networkInterfaces/>", "<vpc/><subnet/><networkInterfaces/>"),
        lambda xml: xml.replace("<privateIp>", "<publicIp>0.0.0.0</publicIp><privateIp>"),
        lambda xml: xml.replace("<egressRules/>", "<rules/>"),
        lambda xml: "\ufeff" + xml,
    ],
    ids=["typed", "4.4", "indented", "no rules", "empty vpc", "no public IP", "4.0, no rules", "BOM"],
)
def test_every_dialect_says_the_same(dialect):
    xml = flat(vm("i-1", 10))
    assert dialect(xml) != xml
    parsed = announce(dialect(xml))
    assert accepted(parsed).to_wire() == accepted(announce(xml)).to_wire()
    assert parsed.warnings == ()


# --- what there is already ---


def test_what_the_document_cannot_say_is_kept():
    before = updated(
        put("network", "network", **NETWORK | {"metadata": {"host": "10.0.0.9", "port": 80, "identity": "private"}}, mtu=1400, same_group_traffic="rules"),
        put("node", NODE, zone="zone-a", address=NODE, gateway_mode="node"),
        changed("nc-1", address="192.0.2.101"),
        changed("i-web", node=NODE, interface="eth7"),
        changed("sg-web", name="web servers"),
    ).network  # fmt: skip
    xml = flat(vm("i-web", 10, "sg-web"), groups=[group_("sg-web")], ranges=["10.1.0.10-10.1.0.99"])
    parsed = announce(xml, before)
    after = accepted(parsed, before).to_wire()
    assert after["network"]["metadata"] == {"host": "10.0.0.3", "port": 80, "identity": "private"}
    assert after["network"]["mtu"] == 1400
    assert after["network"]["same_group_traffic"] == "allow"
    assert ("", "same_group_traffic becomes 'allow': in EDGE, members of a group reach each other") in warned(parsed)
    assert after["nodes"][NODE]["gateway_mode"] == "node"
    assert after["instances"]["i-web"]["interface"] == "eth7"
    assert after["groups"]["sg-web"]["name"] == "web servers"


def test_a_migration_goes_on_until_the_document_shows_the_instance_where_it_was_going():
    """Eucalyptus tells its nodes of no migration, but of where an instance is in the end."""
    two = {NODE: ["i-1"], "192.0.2.2": []}
    network = accepted(announce(flat(vm("i-1", 10), nodes=two)))
    value = network.to_wire()["instances"]["i-1"]
    network = updated(put("instance", "i-1", **value | {"migrating_to": "192.0.2.2"}), network=network).network
    network = accepted(announce(flat(vm("i-1", 10), nodes=two), network), network)
    assert network.instance("i-1").migrating_to == "192.0.2.2"
    moved = {NODE: [], "192.0.2.2": ["i-1"]}
    network = accepted(announce(flat(vm("i-1", 10), nodes=moved), network), network)
    assert (network.instance("i-1").node, network.instance("i-1").migrating_to) == ("192.0.2.2", None)


def test_instances_groups_and_elastic_ips_that_are_missing_are_deleted_but_no_zones_and_nodes():
    network = updated(changed("nc-1", address="192.0.2.101")).network
    after = accepted(announce(flat(vm("i-1", 20)), network), network).to_wire()
    assert {section: sorted(found) for section, found in after.items() if section != "network"} == {
        "zones": ["zone-a", "zone-b"],
        "nodes": [NODE, "nc-1", "nc-2", "nc-3"],
        "groups": ["sg-1"],
        "instances": ["i-1"],
        "elastic_ips": [],
    }
    pruned = accepted(announce(flat(vm("i-1", 20)), network, prune=True), network).to_wire()
    assert (list(pruned["zones"]), list(pruned["nodes"])) == (["zone-a"], [NODE])


def test_an_instance_that_no_node_lists_stays_where_it_is_if_the_document_does_not_know_that_node():
    network = updated(changed("nc-1", address="192.0.2.101")).network
    xml = flat(vm("i-far", 13, privateIp="10.2.0.13"), vm("i-db", 12), nodes={NODE: []})
    parsed = announce(xml, network)
    after = accepted(parsed, network)
    assert (after.instance("i-far").node, after.instance("i-db").node) == ("nc-3", "nc-2")
    said = [message for _, message in warned(parsed) if "it stays on" in message]
    assert said == [
        f"is on no node of the document; it stays on {node}, which the document does not know"
        for node in ("nc-2", "nc-3")
    ]


def test_an_instance_that_its_own_node_no_longer_lists_is_not_placed():
    network = accepted(announce(flat(vm("i-1", 10))))
    parsed = announce(flat(vm("i-1", 10), nodes={NODE: []}), network)
    instance = accepted(parsed, network).instance("i-1")
    assert (instance.node, instance.zone) == (None, "zone-a")
    assert warned(parsed) == [(INSTANCE, "is on no node of the document; it is kept in zone zone-a, without a node")]


def test_an_unplaced_instance_is_in_the_zone_whose_pool_has_its_address():
    subnet = IPv4Network("10.1.0.0/24")
    clusters = [cluster_(f"zone-{name}", subnet, "10.1.0.1", [f"10.1.0.{low}-10.1.0.{low + 9}"], {}) for name, low in (("a", 10), ("b", 20))]  # fmt: skip
    network = accepted(announce(flat(vm("i-1", 21), vm("i-2", 12), vm("i-3", 99), clusters=clusters)))
    assert [network.instance(f"i-{number}").zone for number in (1, 2, 3)] == ["zone-b", "zone-a", "zone-a"]


MANY = [vm(f"i-{number}", number, privateIp=f"10.1.{number // 200}.{10 + number % 200}") for number in range(30, 230)]


@pytest.mark.parametrize(("lost", "force", "goes"), [(20, False, True), (21, False, False), (21, True, True)])
def test_many_instances_do_not_go_by_mistake(lost, force, goes):
    subnet, nodes = IPv4Network("10.1.0.0/16"), {NODE: [one.split('"')[1] for one in MANY]}

    def of(instances):
        return flat(*instances, clusters=[cluster_("zone-a", subnet, "10.1.0.1", ["10.1.0.10-10.1.9.9"], nodes)])

    network = accepted(announce(of(MANY)))
    parsed = announce(of(MANY[lost:]), network, force=force)
    if goes:
        assert sum(1 for _ in accepted(parsed, network).of_kind("instance")) == 200 - lost
    else:
        ((pointer, message),) = refused(parsed, network)
        assert pointer == "/network-data/instances"
        assert message.startswith("21 of 200 instances would be removed (i-")
        assert "and 1 more" in message


def test_few_of_many_go():
    subnet = IPv4Network("10.1.0.0/16")
    clusters = [cluster_("zone-a", subnet, "10.1.0.1", ["10.1.0.10-10.1.9.9"], {})]
    network = accepted(announce(flat(*MANY, clusters=clusters)))
    assert accepted(announce(flat(*MANY[:-19], clusters=clusters), network), network).instance("i-229") is None


# --- what EDGE took and we would refuse ---

MAPPED = {
    "an instance outside its pool": (flat(vm("i-1", 150)), [("zones", "zone-a", "private_ips", ["10.1.0.10-10.1.0.99", "10.1.0.150"])], f"{CLUSTER}/property[@name='privateIps']", "is widened by what instances have outside it: 10.1.0.150 (i-1)"),
    "an elastic IP outside the pool": (flat(vm("i-1", 10, publicIp="203.0.113.77")), [("elastic_ips", "203.0.113.77", "instance", "i-1")], f"{IN_CONFIGURATION}/property[@name='publicIps']", "is widened by 203.0.113.77"),
    "an instance with a group that is not": (flat(vm("i-1", 10, "sg-1", "sg-9")), [("instances", "i-1", "groups", ["sg-1"])], f"{INSTANCE}/securityGroups", "security group sg-9 is not in the document"),
    "an instance without groups": (flat(instance_("i-1", ownerId="alice", macAddress="d0:0d:00:00:00:01", privateIp="10.1.0.10")), [("instances", "i-1", "groups", [])], f"{INSTANCE}/securityGroups", "has none"),
    "an instance without MAC": (flat(vm("i-0A0b0c0d", 10, macAddress=None)), [("instances", "i-0A0b0c0d", "mac", "d0:0d:0a:0b:0c:0d")], "/network-data/instances/instance[@name='i-0A0b0c0d']/macAddress", "it is taken to be d0:0d:0a:0b:0c:0d"),
    "a node with an instance that is not": (flat(nodes={NODE: ["i-9"]}), [("nodes", NODE, "address", NODE)], f"{CLUSTER}/property[@name='nodes']/node[@name='{NODE}']/instanceIds", "instance i-9 is described nowhere"),
    "a rule for a group that is not": (flat(groups=[group_("sg-1", rule_(6, fromPort=1, toPort=2, groupId="sg-9"), rule_(17, cidr="0.0.0.0/0"))]), [("groups", "sg-1", "ingress", [{"protocol": "udp", "from_port": 0, "to_port": 65535, "cidr": "0.0.0.0/0"}])], RULE, "is left out: security group sg-9"),
    "host bits": (flat(groups=[group_("sg-1", rule_(132, cidr="10.9.9.9/16"))]), [("groups", "sg-1", "ingress", [{"protocol": 132, "cidr": "10.9.0.0/16"}])], f"{RULE}/cidr", "is kept as 10.9.0.0/16"),
    "a port where there are none": (flat(groups=[group_("sg-1", rule_(132, fromPort=7, cidr="10.9.0.0/16"))]), [("groups", "sg-1", "ingress", [{"protocol": 132, "cidr": "10.9.0.0/16"}])], f"{RULE}/fromPort", "protocol 132 has none"),
    "a type where there is none": (flat(groups=[group_("sg-1", rule_(6, fromPort=0, toPort=0, icmpType=8, cidr="10.9.0.0/16"))]), [("groups", "sg-1", "ingress", [{"protocol": "tcp", "from_port": 0, "to_port": 0, "cidr": "10.9.0.0/16"}])], f"{RULE}/icmpType", "protocol 6 has none"),
    "a code of any type": (flat(groups=[group_("sg-1", rule_(1, icmpType=-1, icmpCode=4, cidr="10.9.0.0/16"))]), [("groups", "sg-1", "ingress", [{"protocol": "icmp", "cidr": "10.9.0.0/16"}])], f"{RULE}/icmpCode", "with any type"),
    "egress rules": (flat(groups=[group_("sg-1").replace("<egressRules/>", f"<egressRules>{rule_(6, cidr='0.0.0.0/0')}</egressRules>")]), [("groups", "sg-1", "egress", None)], "/network-data/securityGroups/securityGroup[@name='sg-1']/egressRules", "EDGE never enforced egress rules"),
    "a public gateway": (flat(publicGateway=["203.0.113.254"]), [], f"{IN_CONFIGURATION}/property[@name='publicGateway']", "is kept nowhere"),
    "no controller": (flat(enabledCLCIp=["0.0.0.0"]), [], f"{IN_CONFIGURATION}/property[@name='enabledCLCIp']", "names no controller"),
    "no DNS server": (flat(instanceDNSServers=[]), [], f"{IN_CONFIGURATION}/property[@name='instanceDNSServers']", "names no DNS server"),
    "an unknown property": (flat(vlans=["7"]), [], f"{IN_CONFIGURATION}/property[@name='vlans']", "is unknown"),
    "an unknown element, many times": (flat(vm("i-1", 10, hostname="a"), vm("i-2", 11, hostname="b")), [], f"{INSTANCE}/hostname", "is ignored here and wherever else"),
}  # fmt: skip


@pytest.mark.parametrize(("xml", "became", "pointer", "message"), MAPPED.values(), ids=MAPPED.keys())
def test_what_is_taken_otherwise_is_said(xml, became, pointer, message):
    parsed = announce(xml)
    network = accepted(parsed)
    for section, key, field, value in became:
        assert network.to_wire()[section][key][field] == value
    ((found, said),) = warned(parsed)
    assert found == pointer
    assert message in said
    again = accepted(announce(xml, network), network)
    assert again.to_wire() == network.to_wire()


# --- what is refused ---

TWO_ZONES = [cluster_(name, IPv4Network(net), net[:-4] + "1", [net[:-4] + "10-" + net[:-4] + "99"], nodes) for name, net, nodes in (("zone-a", "10.1.0.0/24", {NODE: ["i-1"]}), ("zone-b", "10.2.0.0/24", {NODE: []}))]  # fmt: skip
NODE_AT = f"{CLUSTER}/property[@name='nodes']/node[@name='{{}}']"

FAULTY = {
    "another mode": (flat(mode=["VPCMIDO"]), f"{IN_CONFIGURATION}/property[@name='mode']", "must be EDGE"),
    "a VPC": (flat().replace("<vpcs/>", "<vpcs><vpc name='v'/></vpcs>"), "/network-data/vpcs", "no VPC"),
    "an instance in a VPC": (flat(vm("i-1", 10)).replace("<networkInterfaces/>", "<vpc>vpc-1</vpc>"), f"{INSTANCE}/vpc", "no VPC"),
    "no configuration": ("<network-data><instances/><securityGroups/></network-data>", "/network-data/configuration", "is missing"),
    "no instances": (flat().replace("<instances></instances>", ""), "/network-data/instances", "is missing"),
    "another document": ("<html/>", "/html", "is no global network information"),
    "a node with a host's name": (flat(nodes={"nc-1.example": []}), NODE_AT.format("nc-1.example") + "/@name", "is no IPv4 address, and no node of this name is known"),
    "a node in two zones": (flat(vm("i-1", 10), clusters=TWO_ZONES), NODE_AT.format(NODE).replace("zone-a", "zone-b") + "/@name", "stands in the document twice"),
    "an instance on two nodes": (flat(vm("i-1", 10), nodes={NODE: ["i-1"], "192.0.2.2": ["i-1"]}), NODE_AT.format("192.0.2.2") + "/instanceIds", f"instance i-1 is on node {NODE} too"),
    "an instance twice": (flat(vm("i-1", 10), vm("i-1", 11), nodes={NODE: ["i-1"]}), INSTANCE, "stands in the document twice"),
    "a group twice": (flat(groups=[group_("sg-1"), group_("sg-1")]), "/network-data/securityGroups/securityGroup[@name='sg-1']", "twice"),
    "a group without a name": (flat(groups=[group_("sg-1"), group_("")]), "/network-data/securityGroups/securityGroup[2]/@name", "is missing"),
    "a group without an owner": (flat(groups=[group_("sg-1", owner=None)]), "/network-data/securityGroups/securityGroup[@name='sg-1']/ownerId", "is missing"),
    "an instance without a name": (flat(vm("", 10), nodes={}), "/network-data/instances/instance[1]/@name", "is missing"),
    "an instance whose name is no id": (flat(vm("i 1", 10)), "/network-data/instances/instance[@name='i 1']", "is not an id"),
    "an instance without an address": (flat(vm("i-1", 10, privateIp=None)), f"{INSTANCE}/privateIp", "is missing"),
    "an address of zeros": (flat(vm("i-1", 10, privateIp="0.0.0.0")), f"{INSTANCE}/privateIp", "is missing"),
    "an instance without an owner": (flat(vm("i-1", 10, ownerId=None)), f"{INSTANCE}/ownerId", "is missing"),
    "an instance without MAC whose id gives none": (flat(vm("i-1", 10, macAddress=None)), f"{INSTANCE}/macAddress", "is missing"),
    "a MAC that is none": (flat(vm("i-1", 10, macAddress="d0:0d")), f"{INSTANCE}/macAddress", "is not a MAC address"),
    "a private IP twice": (flat(vm("i-1", 10), vm("i-2", 11, privateIp="10.1.0.10")), None, "10.1.0.10 is instance i-"),
    "a MAC twice": (flat(vm("i-1", 10), vm("i-2", 11, macAddress="d0:0d:00:00:00:0A")), None, "d0:0d:00:00:00:0a is instance i-"),
    "two ports of one name": (flat(vm("i-0123456789", 10), vm("i-0123456799", 11)), None, "vn_i-01234567 is instance i-"),
    "an elastic IP twice": (flat(vm("i-1", 10, publicIp="203.0.113.1"), vm("i-2", 11, publicIp="203.0.113.1")), "/network-data/instances/instance[@name='i-2']/publicIp", "is the public IP of instance i-1 too"),
    "an elastic IP that is none": (flat(vm("i-1", 10, publicIp="x")), f"{INSTANCE}/publicIp", "is not an IPv4 address"),
    "an address in no zone": (flat(vm("i-1", 10, privateIp="10.2.0.10"), nodes={NODE: []}), INSTANCE, "its address is in no zone's subnet"),
    "an address outside the zone's subnet": (flat(vm("i-1", 10, privateIp="10.2.0.10")), f"{INSTANCE}/privateIp", "is not in the pool of zone zone-a"),
    "the gateway's address": (flat(vm("i-1", 10, privateIp="10.1.0.1")), f"{INSTANCE}/privateIp", "is the gateway of zone zone-a"),
    "a pool outside the zone's subnet": (flat(ranges=["10.1.0.9", "10.2.0.9"]), f"{CLUSTER}/property[@name='privateIps']/value[2]", "is not wholly inside"),
    "a pool that is none": (flat(ranges=["10.1.0.9-"]), f"{CLUSTER}/property[@name='privateIps']/value[1]", "is not an IPv4 address"),
    "a subnet with a hole": (flat().replace("255.255.255.0", "255.0.255.0"), f"{CLUSTER}/subnet[@name='10.1.0.0']", "ones, then zeros"),
    "a cluster without a subnet": (flat(clusters=["<cluster name='zone-a'/>"]), CLUSTER, "has no subnet"),
    "a gateway outside": (flat().replace("<value>10.1.0.1</value>", "<value>10.2.0.1</value>"), f"{CLUSTER}/subnet[@name='10.1.0.0']/property[@name='gateway']", "outside the zone's subnet"),
    "IPv6 for DNS": (flat(instanceDNSServers=["10.0.0.2", "2001:db8::1"]), f"{IN_CONFIGURATION}/property[@name='instanceDNSServers']/value[2]", "IPv6"),
    "a property twice": (flat().replace("</configuration>", property_("mode", "EDGE") + "</configuration>"), f"{IN_CONFIGURATION}/property[@name='mode']", "stands twice"),
    "an address twice": (flat(vm("i-1", 10)).replace("<privateIp>", "<privateIp>10.1.0.9</privateIp><privateIp>"), f"{INSTANCE}/privateIp", "stands twice"),
    "rules as Eucalyptus 4.0 wrote them": (flat(groups=[group_("sg-1").replace("<egressRules/>", "<rules><value>-P tcp -p 22-22</value></rules>")]), "/network-data/securityGroups/securityGroup[@name='sg-1']/rules", "command-line strings"),
    "a rule without a protocol": (flat(groups=[group_("sg-1", rule_(None, cidr="0.0.0.0/0"))]), f"{RULE}/protocol", "is missing"),
    "a rule for nobody": (flat(groups=[group_("sg-1", rule_(6))]), RULE, "needs a cidr or a group"),
    "a port too high": (flat(groups=[group_("sg-1", rule_(17, fromPort=1, toPort=70000, cidr="0.0.0.0/0"))]), f"{RULE}/toPort", "must be 0..65535"),
    "a port that is none": (flat(groups=[group_("sg-1", rule_(17, fromPort="ssh", toPort=1, cidr="0.0.0.0/0"))]), f"{RULE}/fromPort", "must be an integer"),
    "IPv6 in a rule": (flat(groups=[group_("sg-1", rule_(6, cidr="::/0"))]), f"{RULE}/cidr", "IPv6"),
    "the second rule": (flat(groups=[group_("sg-1", rule_(6, cidr="0.0.0.0/0"), rule_(300, cidr="0.0.0.0/0"))]), RULE[:-2] + "2]/protocol", "must be -1..255"),
}  # fmt: skip


@pytest.mark.parametrize(("xml", "pointer", "message"), FAULTY.values(), ids=FAULTY.keys())
def test_what_is_wrong_is_told_where_it_stands(xml, pointer, message):
    found = refused(announce(xml))
    if pointer is not None:
        assert [at for at, _ in found] == [pointer]
    assert all(message in said for _, said in found)


def test_a_rule_is_found_though_one_before_it_was_left_out():
    xml = flat(groups=[group_("sg-1", rule_(6, groupId="sg-9"), rule_(17, fromPort=9, toPort=1, cidr="0.0.0.0/0"))])
    assert refused(announce(xml)) == [(RULE[:-2] + "2]/fromPort", "9 is above to_port 1")]


def test_all_faults_are_told_at_once():
    xml = flat(
        vm("i-1", 10, macAddress="x", publicIp="y"),
        vm("i-2", 11, privateIp="10.2.0.1"),
        mode=["MANAGED"],
        groups=[group_("sg-1", rule_(6, fromPort="a", toPort=1, cidr="b"))],
        ranges=["z"],
    )
    assert [pointer for pointer, _ in refused(announce(xml))] == [
        f"{CLUSTER}/property[@name='privateIps']/value[1]",
        f"{IN_CONFIGURATION}/property[@name='mode']",
        f"{INSTANCE}/macAddress",
        f"{INSTANCE}/publicIp",
        f"{RULE}/cidr",
        f"{RULE}/fromPort",
    ]


def test_a_node_may_be_known_by_another_name_than_its_address():
    network = cloud()
    parsed = announce(flat(vm("i-web", 10), nodes={"192.0.2.1": ["i-web"]}), network)
    after = accepted(parsed, network)
    assert sorted(after.to_wire()["nodes"]) == ["nc-1", "nc-2", "nc-3"]
    assert after.instance("i-web").node == "nc-1"
    assert any(message.endswith("192.0.2.1 is nc-1") for _, message in warned(parsed))


def test_a_node_of_a_name_that_is_known_may_be_named_so():
    network = cloud()
    after = accepted(announce(flat(vm("i-web", 10), nodes={"nc-1": ["i-web"]}), network), network)
    assert (str(after.node("nc-1").address), after.instance("i-web").node) == ("192.0.2.1", "nc-1")
