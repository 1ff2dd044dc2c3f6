"""The table before the agent's first start: no port that matches the pattern passes a frame, either way, and nothing else is
touched.

It is the agent's own bridge table with less in it, under the same name and with the same hooks. So the agent's first
transaction makes it into what it wants, and no moment is between: there are not two tables of which one must go. It needs
neither br_netfilter nor connection tracking.
"""

from nodeagent.desired import antispoof
from nodeagent.state.rule import DROP, Field, equals, rule
from nodeagent.state.ruleset import Chain, Table


def table(ports: str) -> Table:
    return Table(
        chains={
            "prerouting": Chain((rule(equals(Field.IIFNAME, ports), DROP),), antispoof.PREROUTING),
            "postrouting": Chain((rule(equals(Field.OIFNAME, ports), DROP),), antispoof.POSTROUTING),
        }
    )
