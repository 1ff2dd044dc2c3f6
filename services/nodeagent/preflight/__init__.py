"""Is this host fit to be a node? Every requirement with what was found, what is needed and how to mend it.

Facts are gathered by reading and by trying, and change nothing; judging them is pure. What `failing` says keeps new views
out, since they could not be true here: bridged packets would pass unjudged, or nothing that is allowed would arrive. A
`warning` keeps nothing out. What Verge sets by itself is never asked for.

    facts       what was found (pure)
    packets     what a foreign chain would do to a packet of ours (pure)
    legacy      the tables of iptables-legacy, read as such chains (pure)
    judging/    facts, and what the view wants → checks (pure)
    gather/     I/O: netlink, libnftables in its dry run, files below /proc and /etc, a few packets
    preflight   what is gathered when
    text        the table that people read (pure)

May use `kernel` for what it asks the kernel; nothing here opens or closes anything to a packet.
"""
