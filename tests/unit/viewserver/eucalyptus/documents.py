"""Documents as Eucalyptus writes them, made from networks or from a few words; and what an import makes of them."""

from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import pytest

from verge.contract.rule import PROTOCOL_NUMBERS
from viewserver.eucalyptus import gni
from viewserver.eucalyptus.broadcast import broadcast
from viewserver.eucalyptus.configuration import configuration
from viewserver.eucalyptus.rules import WORDS
from viewserver.eucalyptus.xml_text import read_xml
from viewserver.model.network import Network
from viewserver.model.updates import Applied, Refused, apply

ROOT = Path(__file__).parents[4]
EXAMPLES = ROOT / "examples"
FIXTURES = ROOT.parent / "shared" / "fixtures"
"""Documents that may not be published lie beside the project, where they are there at all."""


def fixture(name):
    path = FIXTURES / name
    if not path.exists():
        pytest.skip(f"{name} is not beside the project")
    return path.read_bytes()


# --- what an import makes of a document ---


def configure(document, network=None, prune=False):
    """The operator's document as an update of the network."""
    return configuration(document, Network() if network is None else network, [], prune=prune)


def announce(xml, network=None, prune=False, force=False):
    """Global network information as an update of the network."""
    body = xml if isinstance(xml, bytes) else xml.encode()
    info = gni.read(read_xml(body))
    return broadcast(info, Network() if network is None else network, prune=prune, force=force)


def accepted(parsed, network=None):
    outcome = apply(Network() if network is None else network, parsed)
    assert isinstance(outcome, Applied), [fault.to_wire() for fault in outcome.faults]
    return outcome.network


def refused(parsed, network=None):
    """Every fault, as (pointer, message), by pointer."""
    outcome = apply(Network() if network is None else network, parsed)
    assert isinstance(outcome, Refused), "nothing was found wrong"
    return sorted((fault.to_wire()["pointer"], fault.message) for fault in outcome.faults)


def warned(parsed):
    return sorted((fault.to_wire()["pointer"], fault.message) for fault in parsed.warnings)


# --- global network information ---


def property_(name, *values, kind=None):
    said = f' type="{kind}"' if kind else ""
    return f"<property name={quoteattr(name)}{said}>{values_(values)}</property>"


def values_(values):
    return "".join(f"<value>{escape(str(value))}</value>" for value in values)


def element(tag, text):
    return "" if text is None else f"<{tag}>{escape(str(text))}</{tag}>"


def subnet_(network, gateway):
    texts = {"subnet": network.network_address, "netmask": network.netmask, "gateway": gateway}
    parts = "".join(property_(name, text) for name, text in texts.items())
    return f'<subnet name="{network.network_address}">{parts}</subnet>'


def cluster_(name, subnet, gateway, ranges, nodes, mac_prefix="d0:0d"):
    listed = "".join(
        f"<node name={quoteattr(node)}><instanceIds>{values_(ids)}</instanceIds></node>" for node, ids in nodes.items()
    )
    return (
        f"<cluster name={quoteattr(name)}>{subnet_(subnet, gateway)}{property_('enabledCCIp', '192.0.2.20')}"
        f"{property_('macPrefix', mac_prefix)}{property_('privateIps', *ranges)}"
        f'<property name="nodes">{listed}</property></cluster>'
    )


def instance_(name, *groups, **fields):
    texts = "".join(element(field, text) for field, text in fields.items())
    return (
        f"<instance name={quoteattr(name)}>{texts}<networkInterfaces/>"
        f"<securityGroups>{values_(groups)}</securityGroups></instance>"
    )


def group_(name, *rules, owner="alice"):
    return (
        f"<securityGroup name={quoteattr(name)}>{element('ownerId', owner)}"
        f"<ingressRules>{''.join(rules)}</ingressRules><egressRules/></securityGroup>"
    )


def rule_(protocol, **fields):
    return (
        f"<rule>{element('protocol', protocol)}{''.join(element(field, text) for field, text in fields.items())}</rule>"
    )


def document(*, configuration=(), subnets=(), clusters=(), instances=(), groups=(), attributes='version="7c01e9aa"'):
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
        f"<network-data {attributes}><configuration>{''.join(configuration)}"
        f'<property name="subnets">{"".join(subnets)}</property>'
        f'<property name="clusters">{"".join(clusters)}</property></configuration><vpcs/>'
        f"<instances>{''.join(instances)}</instances><dhcpOptionSets/><internetGateways/>"
        f"<securityGroups>{''.join(groups)}</securityGroups></network-data>"
    )


def written(network, *, dialect="5.x"):
    """The document that a controller would broadcast of this network, in one of its dialects: 4.4 has neither mode nor
    version and writes empty properties, 5.x gives every property a type."""
    settings = network.settings
    kind = "simple" if dialect == "5.x" else None
    configuration = [
        *([] if dialect == "4.4" else [property_("mode", "EDGE", kind=kind)]),
        property_("enabledCLCIp", settings.metadata.host, kind=kind),
        property_("instanceDNSDomain", settings.dns_domain, kind=kind),
        property_("instanceDNSServers", *settings.dns_servers, kind=kind),
        property_("publicIps", *(f"{low}-{high}" for low, high in settings.public_ips), kind=kind),
    ]
    clusters = [
        cluster_(
            name,
            zone.subnet,
            zone.gateway,
            [f"{low}-{high}" for low, high in zone.private_ips],
            {
                node: [key for key in network.instances_at(node) if network.instance(key).node == node]
                for node, value in sorted(network.of_kind("node"))
                if value.zone == name
            },
            zone.mac_prefix or settings.mac_prefix,
        )
        for name, zone in sorted(network.of_kind("zone"))
    ]
    instances = [
        instance_(
            key,
            *value.groups,
            ownerId=value.account,
            macAddress=value.mac.upper() if dialect == "4.4" else value.mac,
            publicIp=network.elastic_ip_of.get(key, "0.0.0.0" if dialect == "5.x" else None),
            privateIp=value.private_ip,
        )
        for key, value in sorted(network.of_kind("instance"))
    ]
    groups = [
        group_(key, *(_rule_of(rule) for rule in value.ingress), owner=value.account)
        for key, value in sorted(network.of_kind("group"))
    ]
    return document(
        configuration=configuration,
        subnets=[subnet_(one, one.network_address + 1) for one in settings.subnets],
        clusters=clusters,
        instances=instances,
        groups=groups,
        attributes="" if dialect == "4.4" else 'version="7c01e9aa" applied-version=""',
    )


def _rule_of(rule):
    wire = rule.to_wire()
    number = PROTOCOL_NUMBERS.get(wire["protocol"], wire["protocol"])
    fields = {WORDS[field]: value for field, value in wire.items() if field != "protocol"}
    if number == 1:
        fields = {"icmpType": -1, "icmpCode": -1} | fields
    return rule_(number, **fields)
