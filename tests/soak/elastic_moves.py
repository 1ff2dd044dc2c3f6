"""An elastic IP moves a hundred times between two hypervisors that both listen on its port, under floods to both of them.

python -m lab.enter -- python -m tests.soak.elastic_moves flat impersonate
"""

from __future__ import annotations

import socket
import sys
from contextlib import ExitStack

from lab.build import Vm
from lab.frames import Frame
from lab.host import Host
from lab.wire import capture
from tests.dataplane.place import Place, place
from tests.dataplane.test_elastic_moves import Counter, Flood, asked

MOVES = 100
PORT = 80


def main() -> None:
    kind = (sys.argv[1], sys.argv[2])
    with place(kind) as at, ExitStack() as open_:
        services = {}
        for node in at.lab.nodes:
            services[node.name] = Counter(node, PORT)
            open_.callback(services[node.name].close)
            connect(at.lab["router"], at.address(node.name))
            assert services[node.name].hits() == [at.address(node.name)], "it is up, and is counted"
        elastic = at.elastic(1)
        holders = {"nc-1": at.a, "nc-2": at.e}

        def arrived(frame: Frame) -> bool:
            return frame.dport == PORT

        heard = {
            name: open_.enter_context(capture(vm.host, "eth0", arrived, incoming=True)) for name, vm in holders.items()
        }
        floods = [Flood(at, elastic, PORT, node) for node in at.lab.nodes]
        for flood in floods:
            flood.start()
            open_.callback(flood.end)
        move(at, elastic, holders)
        for name, captured in heard.items():
            assert captured.wait_for(), f"the flood never reached the instance on {name}"
        for flood in floods:
            flood.end()
        sent = sum(flood.sent for flood in floods)
        for node in at.lab.nodes:
            connect(at.lab["router"], at.address(node.name))
            hits = services[node.name].hits()
            assert hits == [at.address(node.name)], f"{node.name} itself answered: {hits}, of {sent} SYNs"
    print(f"{'-'.join(kind)}: {MOVES} moves, {sent} SYNs, none answered by a hypervisor")


def move(at: Place, elastic: str, holders: dict[str, Vm]) -> None:
    """Withdraw, then grant; asked for now and then, it is answered by its node alone."""
    names = list(holders)
    for number in range(MOVES):
        old, new = names[number % 2], names[(number + 1) % 2]
        at.cloud.elastic.pop(elastic)
        at.cloud.enforce(old)
        if number % 10 == 0:
            assert asked(at, elastic) == [], "withdrawn, and not yet granted"
        at.cloud.elastic[elastic] = holders[new].interface
        at.cloud.enforce(new)
        if number % 10 == 0:
            assert asked(at, elastic) == [at.lab[new].mac(at.public_interface)]


def connect(client: Host, address: str) -> None:
    with client.socket(socket.AF_INET, socket.SOCK_STREAM) as opened:
        opened.settimeout(5)
        opened.connect((address, PORT))


if __name__ == "__main__":
    main()
