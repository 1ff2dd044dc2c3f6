"""Hypervisors and VMs made of network namespaces, with real kernel stacks and real packets.

The demo, the data-plane tests and the benchmarks build their clouds here. Linux and the standard library only; it calls
the `ip` and `nft` binaries, and imports nothing of the product, so that it judges it from outside.

    enter      a private place: network, mounts and processes that vanish together; made of `namespaces`
    lacks      what this machine must have for that, and what to do where it has not
    host       one namespace: a router, a hypervisor, a VM
    topology   named networks as data, more of them in `routed`; `build` realises them and plugs VMs in
    probes     who reaches whom: many `flows` tried at the same time, in one `batch`, with `listeners`
    session    one established flow, either side sending
    wire       raw frames sent and seen; `frames` builds and reads them
"""
