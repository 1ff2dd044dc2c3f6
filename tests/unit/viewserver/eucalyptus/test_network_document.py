"""The operator's network document: what Eucalyptus takes is taken, and every fault of it is told at once."""

# ruff: noqa: E501 - one line for each case

import pytest

from tests.unit.viewserver.clouds import NETWORK, changed, cloud, put
from tests.unit.viewserver.clouds import accepted as updated
from tests.unit.viewserver.eucalyptus.documents import EXAMPLES, accepted, configure, fixture, refused, warned
from viewserver.eucalyptus.text import read_json, read_yaml

SUBNET = {"Subnet": "10.1.0.0", "Netmask": "255.255.255.0", "Gateway": "10.1.0.1"}
OTHER = {"Name": "other", "Subnet": "10.9.0.0", "Netmask": "255.255.0.0", "Gateway": "10.9.0.1"}


def document(*clusters, **keys):
    return {
        "InstanceDnsDomain": "cloud.internal",
        "InstanceDnsServers": ["10.0.0.2"],
        "PublicIps": ["203.0.113.1-203.0.113.9"],
        **({"Clusters": list(clusters)} if clusters else {}),
        **keys,
    }


def cluster(name="zone-a", **keys):
    return {"Name": name, "Subnet": SUBNET, **keys}


def zone(network, name):
    return network.to_wire()["zones"][name]


def test_a_document_becomes_settings_and_zones():
    found = accepted(
        configure(
            document(cluster(MacPrefix="D0:0E", PrivateIps=["10.1.0.10-10.1.0.99", "10.1.0.120"]), MacPrefix="d0:0f")
        )
    ).to_wire()
    assert found["zones"] == {
        "zone-a": {
            "subnet": "10.1.0.0/24",
            "gateway": "10.1.0.1",
            "private_ips": ["10.1.0.10-10.1.0.99", "10.1.0.120"],
            "mac_prefix": "d0:0e",
        }
    }
    settings = found["network"]
    assert (settings["dns_domain"], settings["dns_servers"]) == ("cloud.internal", ["10.0.0.2"])
    assert (settings["public_ips"], settings["mac_prefix"]) == (["203.0.113.1-203.0.113.9"], "d0:0f")
    assert settings["same_group_traffic"] == "allow"


@pytest.mark.parametrize(
    ("name", "zones"), [("network-flat.yaml", ["PARTI00"]), ("network-two-zones.json", ["PARTI00", "PARTI01"])]
)
def test_documents_of_real_clouds_are_taken(name, zones):
    wire, faults = (read_json if name.endswith("json") else read_yaml)(fixture(name))
    assert faults == []
    network = accepted(configure(wire))
    assert sorted(network.to_wire()["zones"]) == zones
    assert zone(network, "PARTI00")["private_ips"] == ["10.111.101.94", "10.111.101.95"]
    assert zone(network, "PARTI00")["subnet"] == "10.111.0.0/16"


def test_the_example_is_taken():
    wire, faults = read_yaml((EXAMPLES / "network-flat.yaml").read_bytes())
    assert faults == []
    assert zone(accepted(configure(wire)), "zone-1")["subnet"] == "10.20.0.0/16"
    assert configure(wire).warnings == ()


def test_the_same_document_again_changes_nothing():
    once = accepted(configure(document(cluster(), Subnets=[OTHER])))
    assert accepted(configure(document(cluster(), Subnets=[OTHER]), once), once).to_wire() == once.to_wire()


# --- what a cluster leaves unsaid ---


def test_a_pool_that_is_not_given_is_the_subnet_without_network_gateway_and_broadcast():
    assert zone(accepted(configure(document(cluster()))), "zone-a")["private_ips"] == ["10.1.0.2-10.1.0.254"]
    inside = cluster(Subnet={**SUBNET, "Gateway": "10.1.0.100"})
    assert zone(accepted(configure(document(inside))), "zone-a")["private_ips"] == [
        "10.1.0.1-10.1.0.99",
        "10.1.0.101-10.1.0.254",
    ]


def test_a_pool_that_a_cluster_does_not_give_is_the_global_one():
    network = accepted(
        configure(document(cluster(), cluster("zone-b", PrivateIps=["10.1.0.9"]), PrivateIps=["10.1.0.7"]))
    )
    assert (zone(network, "zone-a")["private_ips"], zone(network, "zone-b")["private_ips"]) == (
        ["10.1.0.7"],
        ["10.1.0.9"],
    )


@pytest.mark.parametrize(
    "said",
    [
        {"Name": "flat"},
        {"Name": "10.1.0.0", "Gateway": "10.1.0.1"},
        {"Gateway": "10.1.0.1"},
        {"Subnet": "10.1.0.0"},
        {},
        None,
    ],
    ids=str,
)
def test_a_subnet_that_a_cluster_names_or_says_in_part_is_filled_from_the_global_one(said):
    name = {} if said and said.get("Name") == "10.1.0.0" else {"Name": "flat"}
    network = accepted(configure(document(cluster(Subnet=said), Subnets=[{**name, **SUBNET}])))
    assert (zone(network, "zone-a")["subnet"], zone(network, "zone-a")["gateway"]) == ("10.1.0.0/24", "10.1.0.1")
    assert network.to_wire()["network"]["subnets"] == []


def test_subnets_that_no_cluster_uses_are_other_private_networks():
    network = accepted(
        configure(document(cluster(Subnet={"Name": "flat"}), Subnets=[OTHER, {"Name": "flat", **SUBNET}]))
    )
    assert network.to_wire()["network"]["subnets"] == ["10.9.0.0/16"]


def test_without_clusters_the_one_subnet_is_that_of_every_zone_there_is():
    network = updated(
        put("zone", "zone-c", subnet="10.9.0.0/16", gateway="10.9.0.1", private_ips=[], mac_prefix="02:01")
    ).network
    for name in ("zone-a", "zone-b"):
        network = network.without("zone", name)
    for kind in ("elastic_ip", "instance", "node"):
        for key, _ in list(network.of_kind(kind)):
            network = network.without(kind, key)
    found = accepted(configure(document(Subnets=[OTHER], PrivateIps=["10.9.0.9"]), network), network)
    assert found.to_wire()["zones"] == {
        "zone-c": {"subnet": "10.9.0.0/16", "gateway": "10.9.0.1", "private_ips": ["10.9.0.9"], "mac_prefix": "02:01"}
    }


def test_without_clusters_and_zones_the_one_subnet_becomes_a_zone_and_that_is_said():
    parsed = configure(document(Subnets=[OTHER]))
    assert list(accepted(parsed).to_wire()["zones"]) == ["default"]
    assert [pointer for pointer, _ in warned(parsed)] == ["/Clusters"]


# --- what there is already ---


def test_settings_that_the_document_cannot_speak_of_are_kept():
    before = updated(
        put("network", "network", **NETWORK, mtu=1400, private_nat="masquerade", dns_domain="old.internal")
    ).network
    keys = document(cluster(PrivateIps=["10.1.0.10-10.1.0.99"]))
    del keys["InstanceDnsDomain"]
    after = accepted(configure(keys, before), before).to_wire()["network"]
    former = before.to_wire()["network"]
    assert {name for name in after if after[name] != former[name]} == {"public_ips"}
    assert after["same_group_traffic"] == "rules", "only the first document sets it"
    assert any("same_group_traffic" in message for _, message in warned(configure(keys, before)))


def test_zones_that_the_document_does_not_name_stay_unless_pruned():
    keys = document(cluster(PrivateIps=["10.1.0.10-10.1.0.99"]))
    assert "zone-b" in accepted(configure(keys, cloud()), cloud()).to_wire()["zones"]
    assert refused(configure(keys, cloud(), prune=True), cloud()) == [
        ("/Clusters", "zone zone-b is in use by node nc-3")
    ]
    network = cloud().without("instance", "i-far").without("node", "nc-3")
    assert "zone-b" not in accepted(configure(keys, network, prune=True), network).to_wire()["zones"]


def test_a_pool_cannot_shrink_under_what_is_in_use():
    small = document(cluster(PrivateIps=["10.1.0.10-10.1.0.11"]), PublicIps=["203.0.113.2"])
    assert refused(configure(small, cloud()), cloud()) == [
        ("/Clusters/0/PrivateIps", "instance i-db holds 10.1.0.12, which the zone would not allow"),
        ("/PublicIps", "elastic IP 203.0.113.1 exists and would be outside the pool"),
    ]


# --- what is not taken, or not kept ---

FAULTY = {
    "another mode": ({"Mode": "VPCMIDO"}, "/Mode", "must be EDGE"),
    "a mode that is none": ({"Mode": ["EDGE"]}, "/Mode", "must be EDGE"),
    "a managed subnet": ({"ManagedSubnet": {"Subnet": "10.0.0.0"}}, "/ManagedSubnet", "MANAGED"),
    "an unknown key": ({"publicips": []}, "/publicips", "is not a key"),
    "an unknown key of a cluster": ({"Clusters": [cluster(Zone="x")]}, "/Clusters/0/Zone", "is not a key"),
    "an unknown key of a subnet": ({"Subnets": [{**OTHER, "Vlan": "7"}]}, "/Subnets/0/Vlan", "is not a key"),
    "no public IPs": ({"PublicIps": None}, "/PublicIps", "is missing"),
    "a public range backwards": ({"PublicIps": ["10.0.0.9-10.0.0.1"]}, "/PublicIps/0", "ends before it begins"),
    "IPv6 for DNS": ({"InstanceDnsServers": ["10.0.0.2", "2001:db8::1"]}, "/InstanceDnsServers/1", "IPv6"),
    "one DNS server without a list": ({"InstanceDnsServers": "10.0.0.2"}, "/InstanceDnsServers", "must be a list"),
    "a domain with a leading dot": ({"InstanceDnsDomain": ".internal"}, "/InstanceDnsDomain", "without a leading dot"),
    "a MAC prefix of one octet": ({"MacPrefix": "d0"}, "/MacPrefix", "two octets"),
    "a cluster's MAC prefix": ({"Clusters": [cluster(MacPrefix="x")]}, "/Clusters/0/MacPrefix", "two octets"),
    "clusters that are no list": ({"Clusters": {"Name": "zone-a"}, "Subnets": [OTHER]}, "/Clusters", "must be a list"),
    "a cluster that is no mapping": ({"Clusters": [cluster(), "zone-b"]}, "/Clusters/1", "must be a mapping"),
    "a cluster without a name": ({"Clusters": [{"Subnet": SUBNET}]}, "/Clusters/0/Name", "is missing"),
    "a cluster whose name is a number": ({"Clusters": [cluster(7)]}, "/Clusters/0/Name", "must be a string"),
    "a cluster whose name is no id": ({"Clusters": [cluster("a zone")]}, "/Clusters/0/Name", "is not an id"),
    "two clusters of one name": ({"Clusters": [cluster(), cluster()]}, "/Clusters/1/Name", "another cluster"),
    "a cluster without a subnet": ({"Clusters": [cluster(Subnet=None)]}, "/Clusters/0/Subnet", "exactly one subnet"),
    "two subnets to choose from": ({"Clusters": [cluster(Subnet=None)], "Subnets": [OTHER, {"Name": "flat", **SUBNET}]}, "/Clusters/0/Subnet", "exactly one subnet in Subnets; there are 2"),
    "a subnet by a name that is none": ({"Clusters": [cluster(Subnet={"Name": "flat"})], "Subnets": [OTHER]}, "/Clusters/0/Subnet/Name", "no subnet in Subnets is called flat"),
    "a subnet that is text": ({"Clusters": [cluster(Subnet="10.1.0.0/24")]}, "/Clusters/0/Subnet", "must be a mapping"),
    "a subnet without a netmask": ({"Subnets": [{"Subnet": "10.9.0.0", "Gateway": "10.9.0.1"}]}, "/Subnets/0/Netmask", "is missing"),
    "a netmask with a hole": ({"Subnets": [{**OTHER, "Netmask": "255.0.255.0"}]}, "/Subnets/0/Netmask", "ones, then zeros"),
    "a host mask": ({"Subnets": [{**OTHER, "Netmask": "0.0.255.255"}]}, "/Subnets/0/Netmask", "ones, then zeros"),
    "a subnet with host bits": ({"Subnets": [{**OTHER, "Subnet": "10.9.0.1"}]}, "/Subnets/0/Subnet", "the network is 10.9.0.0"),
    "two subnets of one name": ({"Subnets": [OTHER, {**SUBNET, "Name": "other"}]}, "/Subnets/1/Name", "another subnet"),
    "a gateway outside": ({"Clusters": [cluster(Subnet={**SUBNET, "Gateway": "10.2.0.1"})]}, "/Clusters/0/Subnet/Gateway", "outside the zone's subnet"),
    "a gateway that is the network": ({"Clusters": [cluster(Subnet={**SUBNET, "Gateway": "10.1.0.0"})]}, "/Clusters/0/Subnet/Gateway", "network or broadcast"),
    "a pool outside": ({"Clusters": [cluster(PrivateIps=["10.1.0.9", "10.2.0.9"])]}, "/Clusters/0/PrivateIps/1", "is not wholly inside"),
    "a global pool outside": ({"PrivateIps": ["10.2.0.9"]}, "/PrivateIps/0", "is not wholly inside"),
    "a pool with the broadcast address": ({"Clusters": [cluster(PrivateIps=["10.1.0.9-10.1.0.255"])]}, "/Clusters/0/PrivateIps/0", "network or broadcast"),
    "a pool that is no list": ({"Clusters": [cluster(PrivateIps="10.1.0.9")]}, "/Clusters/0/PrivateIps", "must be a list"),
    "no clusters and no subnet": ({"Clusters": None}, "/Subnets", "exactly one subnet in Subnets; there are none"),
    "no clusters and two subnets": ({"Clusters": [], "Subnets": [OTHER, {"Name": "flat", **SUBNET}]}, "/Subnets", "exactly one subnet"),
}  # fmt: skip


@pytest.mark.parametrize(("keys", "pointer", "message"), FAULTY.values(), ids=FAULTY.keys())
def test_what_is_wrong_is_told_where_it_stands(keys, pointer, message):
    ((found, said),) = refused(configure({**document(cluster()), **keys}))
    assert found == pointer
    assert message in said


def test_all_faults_are_told_at_once():
    keys = {
        "Mode": "MANAGED",
        "PublicIps": ["x"],
        "InstanceDnsServers": ["::1"],
        "Subnets": [{"Netmask": "y"}],
        "Clusters": [cluster(PrivateIps=["10.2.0.1"]), {}],
        "Nonsense": 1,
    }
    pointers = [pointer for pointer, _ in refused(configure(keys))]
    assert pointers == [
        "/Clusters/0/PrivateIps/0",
        "/Clusters/1/Name",
        "/InstanceDnsServers/0",
        "/Mode",
        "/Nonsense",
        "/PublicIps/0",
        "/Subnets/0/Gateway",
        "/Subnets/0/Netmask",
        "/Subnets/0/Subnet",
    ]


@pytest.mark.parametrize("nothing", [None, [], "PublicIps", 7])
def test_what_is_no_document_is_refused(nothing):
    assert refused(configure(nothing)) == [("", "must be a mapping of keys such as PublicIps")]


WARNED = {
    "a public gateway": ({"PublicGateway": "203.0.113.254"}, "/PublicGateway", "is kept nowhere"),
    "midonet": ({"Mido": {"Gateways": []}}, "/Mido", "is ignored"),
    "no DNS server": ({"InstanceDnsServers": None}, "/InstanceDnsServers", "names no DNS server"),
    "the gateway in a pool": ({"Clusters": [cluster(PrivateIps=["10.1.0.1-10.1.0.9"])]}, "/Clusters/0/PrivateIps", "has the gateway"),
    "a pool of two clusters": ({"Clusters": [cluster(PrivateIps=["10.1.0.5-10.1.0.9"]), cluster("zone-b", PrivateIps=["10.1.0.4", "10.1.0.9"])]}, "/Clusters/0/PrivateIps", "10.1.0.9 is in the pool of zone zone-a and in the pool of zone zone-b"),
    "a pool that is public too": ({"PublicIps": ["10.1.0.7"], "Clusters": [cluster(PrivateIps=["10.1.0.5-10.1.0.9"])]}, "/Clusters/0/PrivateIps", "10.1.0.7 is in the pool of zone zone-a and in PublicIps"),
}  # fmt: skip


@pytest.mark.parametrize(("keys", "pointer", "message"), WARNED.values(), ids=WARNED.keys())
def test_what_is_taken_otherwise_is_said(keys, pointer, message):
    parsed = configure({**document(cluster()), **keys})
    accepted(parsed)
    ((found, said),) = warned(parsed)
    assert found == pointer
    assert message in said


def test_a_long_pool_is_joined_and_means_the_same():
    ranges = [f"10.1.0.{number}" for number in range(2, 200)] + [f"10.1.0.{number}" for number in range(150, 254)]
    network = accepted(
        configure(document(cluster(PrivateIps=ranges), PublicIps=[f"203.0.113.{n}" for n in range(1, 255)] * 2))
    )
    assert network.to_wire()["network"]["public_ips"] == ["203.0.113.1-203.0.113.254"]
    assert zone(network, "zone-a")["private_ips"] == ["10.1.0.2-10.1.0.253"]


def test_a_zone_takes_the_mac_prefix_of_its_cluster():
    before = updated(changed("zone-a", mac_prefix="02:02")).network
    after = accepted(configure(document(cluster(PrivateIps=["10.1.0.10-10.1.0.99"])), before), before)
    assert zone(after, "zone-a")["mac_prefix"] is None, "a cluster without a MacPrefix has the network's"
