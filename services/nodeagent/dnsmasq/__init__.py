"""DHCP for the instances of this node, by dnsmasq(8): its files, its process, its leases.

I/O: files below the agent's state directory, one process, a datagram to it, and what /proc says. Decides nothing:
`desired.dhcp` says who gets what. All of it is for one thread at a time, in whose network namespace dnsmasq runs.

    text       what stands in the files, and the one packet we send (pure)
    files      written by rename, so that dnsmasq never reads half of one
    process    started, found again after a kill -9 of the agent, told to read again, ended
    account    whom it runs as
    sharing    who else answers on its port, or would
    server     all of that in the order of a pass

    DnsmasqFailed       no DHCP now; the text says why and what to do
    └─ PortTaken        somebody has the port
"""


class DnsmasqFailed(Exception):
    pass
