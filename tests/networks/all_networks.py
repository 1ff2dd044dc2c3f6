"""Every named network."""

from __future__ import annotations

from typing import Final

from tests.networks.elastic import ELASTIC, MASQUERADED
from tests.networks.flat import FLAT
from tests.networks.flat_variants import EGRESS, HOSTS, SAME_GROUP, TWO_ZONES
from tests.networks.words import Network

NETWORKS: Final[tuple[Network, ...]] = (FLAT, TWO_ZONES, SAME_GROUP, EGRESS, HOSTS, ELASTIC, MASQUERADED)
