"""A network with everything real: the view server's process with its Postgres, and an agent's on each hypervisor."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from demo.cloud import Cloud
from lab.build import Lab
from tests.networks.real import plug
from tests.networks.words import Network
from tests.oracle.objects import Operation

PATIENCE = 30


class Live:
    """`cloud` holds the processes; what is here is how a test speaks to them."""

    def __init__(self, network: Network, lab: Lab, cloud: Cloud) -> None:
        self.network = network
        self.lab = lab
        self.cloud = cloud

    def post(self, operations: Iterable[Operation]) -> dict[str, Any]:
        """One update, in force on every node that it affects when this returns."""
        answer = self.cloud.post(list(operations), wait=PATIENCE)
        assert answer["converged"], answer
        return answer

    def offer(self, operations: Iterable[Operation]) -> bool:
        """One update, not waited for; False where it is refused."""
        answer = self.cloud.http.post("/v1/updates", json={"operations": list(operations)})
        if answer.status_code in (409, 422):
            return False
        answer.raise_for_status()
        return True

    def settled(self) -> None:
        """Returns when no address is held back any more, and every node has applied what it is to enforce now. A grant is a
        revision of its own, which nobody asked for: so the head is asked for again until it stays."""
        deadline = time.monotonic() + PATIENCE
        head, settled = -1, False
        while not settled:
            assert time.monotonic() < deadline, self.cloud.get("/v1/convergence")
            before, head = head, self.cloud.get("/v1/convergence")["revision"]
            waiting = self.cloud.get("/v1/convergence", revision=head, wait=PATIENCE)
            fences = self.cloud.get("/v1/fences")["fences"]
            settled = head == before and not fences and waiting["converged"] and self._all_converged()

    def _all_converged(self) -> bool:
        return all(node["state"] == "converged" for node in self.cloud.get("/v1/nodes")["nodes"])

    def digests(self) -> dict[str, str]:
        """Node → the part of its view's ETag that says what is in it, whatever the path that led there."""
        return {node: etag.strip('"').partition("-")[2] for node, etag in self.cloud.etags().items()}

    def agent(self, node: str, path: str) -> Any:
        """What the agent answers on its own API."""
        return self._ask(node, path).json()

    def metric(self, node: str, sample: str) -> float:
        """Such as `name_total{label="value"}`, of the agent's metrics."""
        lines = self._ask(node, "/metrics").text.splitlines()
        return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(sample + " "))

    def _ask(self, node: str, path: str) -> httpx.Response:
        socket = self.cloud.directory / node / "agent.sock"
        with httpx.Client(
            transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://agent", timeout=10
        ) as client:
            answer = client.get(path)
        answer.raise_for_status()
        return answer

    def rulesets(self) -> dict[str, str]:
        """Node → the desired ruleset as its agent prints it. The kernel must hold it."""
        for node in self.cloud.agents:
            plan = self.agent(node, "/v1/plan")
            assert plan["empty"], plan
        return {node: self.agent(node, "/v1/ruleset")["desired"] for node in self.cloud.agents}


@contextmanager
def live(network: Network, *, deltas: bool = True) -> Iterator[Live]:
    """Everything is up; the cloud has said nothing yet. Without `deltas` the agents ask for whole views only."""
    with ExitStack() as undo:
        directory = Path(tempfile.mkdtemp(prefix="verge-"))
        undo.callback(shutil.rmtree, directory, ignore_errors=True)
        directory.chmod(0o755)  # Postgres runs as another user
        lab = undo.enter_context(Lab(network.topology))
        plug(lab, network)
        cloud = Cloud(lab, directory, passed=None, agent_options=() if deltas else ("--deltas", "off"))
        undo.callback(cloud.stop)
        cloud.server.start()
        cloud.make_tokens()
        for agent in cloud.agents.values():
            agent.start()
        yield Live(network, lab, cloud)
