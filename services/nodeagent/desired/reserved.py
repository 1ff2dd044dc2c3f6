"""Link-local addresses that mean the node an instance is on, whichever that is (RFC 3927 leaves their use to the link)."""

from ipaddress import IPv4Address
from typing import Final

METADATA: Final = IPv4Address("169.254.169.254")
"""The metadata service, as in EC2."""

IDENTIFIER: Final = IPv4Address("169.254.67.67")
"""The DHCP server identifier (option 54) everywhere.

Not the gateway's address, which a real router may own: dnsmasq can only be what an interface of its host is, and a host
that holds its own router's address, even unrouted and on a link that is down, takes the router's packets for forged ones
and is cut off from it (tried).
"""
