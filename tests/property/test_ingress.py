"""An instance loses ingress from exactly where it was let in before an update and is not afterwards, says the oracle."""

from ipaddress import IPv4Address, IPv4Network

from hypothesis import given, settings

from tests.oracle.message import Message
from tests.oracle.objects import Cloud
from tests.oracle.verdict import may_get
from tests.property.random_network import histories, walk
from viewserver.model.ingress import losses

OUTSIDE = ("8.8.8.8", "10.200.0.1")
MESSAGES = [
    Message.read(one) for one in ("tcp 22", "tcp 80", "udp 22", "udp 23", "icmp 8", "icmp 3/4", "ip 132", "ip 50")
]
NUMBERS = {"icmp": 1, "tcp": 6, "udp": 17}


def as_oracle(network):
    wire = network.to_wire()
    return Cloud(
        wire["network"] or {}, *(wire[f"{kind}s"] for kind in ("zone", "node", "group", "instance", "elastic_ip"))
    )


def addresses(cloud):
    """Address to the placed instance that is meant to have it."""
    found = {one["private_ip"]: key for key, one in cloud.instances.items()}
    found |= {key: one["instance"] for key, one in cloud.elastic_ips.items() if one["instance"]}
    return {address: key for address, key in found.items() if cloud.instances[key]["node"]}


def is_named(loss, source, message):
    """Does the loss, as an answer tells it, speak of this source and message?"""
    for one in loss.to_wire()["lost"]:
        protocol = one["protocol"]
        number = NUMBERS.get(protocol, protocol)
        fits = (
            protocol == "all"
            or number == message.protocol
            or (protocol == "others" and message.protocol not in {NUMBERS.get(each, each) for each in one["except"]})
        )
        if "from_port" in one and not one["from_port"] <= message.first <= one["to_port"]:
            fits = False
        if fits and any(IPv4Address(source) in IPv4Network(net) for net in one["sources"]):
            return True
    return False


@settings(max_examples=40)
@given(histories)
def test_what_is_lost_is_what_the_oracle_no_longer_lets_in(history):
    for network, outcome in walk(history):
        before, after = as_oracle(network), as_oracle(outcome.network)
        found = {
            one.instance: one for one in losses(network, outcome.network, [(o.kind, o.id) for o in outcome.changed])
        }
        then, now = addresses(before), addresses(after)
        sources = [*OUTSIDE, *(address for address, key in then.items() if now.get(address) == key)]
        for key, value in before.instances.items():
            if value["node"] is None:
                assert key not in found
                continue
            expected = {
                (source, message)
                for source in sources
                for message in MESSAGES
                if may_get(before, source, key, message)
                and not (key in after.instances and may_get(after, source, key, message))
            }
            loss = found.get(key)
            told = {
                (source, message)
                for source in sources
                for message in MESSAGES
                if loss is not None and is_named(loss, source, message)
            }
            assert told == expected
            if loss is None:
                assert key in after.instances
                assert after.instances[key]["node"] is not None
