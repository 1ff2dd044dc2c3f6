"""Named networks as data, and who may reach whom in each of them, stated by hand.

    words        how the data is written: rules, instances, tables of who reaches whom
    flat, …      the networks; `NETWORKS` in `all_networks` has every one
    generated    random networks, from a source of chance that the caller has
    compiled     a network's views, by the view server's own code, without its processes
    traced       a packet walked through the rulesets that those views mean, without a kernel
    real         the same with a kernel: a lab, the views enforced in it, and the packets
    live         the same with the real processes: a view server and an agent on each hypervisor
    traffic      flows that go on while something is done to the cloud

A new network is one file: its topology, its operations, its table. Every test of named networks then takes it up.
"""
