"""Every named network."""

from __future__ import annotations

from typing import Final

from tests.networks.elastic import ELASTIC, MASQUERADED
from tests.networks.flat import FLAT
from tests.networks.flat_variants import EGRESS, HOSTS, SAME_GROUP, TWO_ZONES
from tests.networks.private_only import PRIVATE_ONLY
from tests.networks.routed_zones import ROUTED_ZONES
from tests.networks.separate import SEPARATE
from tests.networks.shared_subnet import SHARED_SUBNET
from tests.networks.words import Network, in_modes

NETWORKS: Final[tuple[Network, ...]] = (
    *(FLAT, TWO_ZONES, SAME_GROUP, EGRESS, HOSTS, ELASTIC, MASQUERADED),
    *in_modes(EGRESS, "proxy"),
    *in_modes(ELASTIC, "proxy"),
    *SHARED_SUBNET,
    *SEPARATE,
    *ROUTED_ZONES,
    *PRIVATE_ONLY,
)
