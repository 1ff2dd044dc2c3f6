"""The processes of a small cloud, and the cloud controller's side of the HTTP API."""

import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from demo.setting import Setting, flat
from lab.build import Lab
from lab.host import Host

BIN = Path(sys.executable).parent
PORT = 8470


class NotReady(Exception):
    """A process did not come up; the text holds the end of what it logged."""


class Process:
    """One service in one namespace: started until it says that it is ready, stopped in order or killed."""

    def __init__(self, name: str, host: Host, command: list[str], log: Path, passed: int | None = None) -> None:
        self.name = name
        self._host = host
        self._command = command
        self._log = log
        self._passed = passed
        self._running: subprocess.Popen[Any] | None = None

    def start(self, patience: float = 30.0) -> float:
        """Start it and wait for its ready line; seconds taken. Raises NotReady."""
        began = time.monotonic()
        environment: Mapping[str, str] = {
            **{key: value for key, value in os.environ.items() if not key.startswith("LISTEN_")},
            **({"LISTEN_FDS": "1"} if self._passed is not None else {}),
        }
        with self._log.open("ab") as log:
            self._running = self._host.popen(
                *self._command,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                pass_fds=() if self._passed is None else (self._passed,),
            )
        out = self._running.stdout
        assert out is not None
        seen = b""
        while b" ready " not in seen:
            left = began + patience - time.monotonic()
            ready, _, _ = select.select([out], [], [], max(0.0, left))
            chunk = os.read(out.fileno(), 4096) if ready else b""
            if not chunk:
                self.kill()
                tail = self._log.read_text(errors="replace").splitlines()[-15:]
                raise NotReady(f"{self.name} did not come up:\n" + "\n".join(tail))
            seen += chunk
        return time.monotonic() - began

    @property
    def pid(self) -> int:
        assert self._running is not None
        return self._running.pid

    def kill(self) -> None:
        """As kill -9 does."""
        if self._running is not None:
            self._running.kill()
            self._running.wait()
            self._running = None

    def stop(self) -> None:
        if self._running is not None:
            self._running.terminate()
            try:
                self._running.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
            self._running = None


class Controller:
    """A view server on the CLC's host, and the cloud controller's side of its HTTP API."""

    def __init__(self, clc: Host, directory: Path, bind: str, passed: int | None = None) -> None:
        self.directory = directory
        self.socket = directory / "view.sock"
        self.data = directory / "view"
        self.server = Process(
            "the view server",
            clc,
            [
                str(BIN / "verge-viewserver"),
                *("serve", "--data-dir", str(self.data)),
                *("--bind", f"{bind}:{PORT}", "--bind", f"unix:{self.socket}"),
            ],
            directory / "viewserver.log",
            passed,
        )
        self._http: httpx.Client | None = None

    @property
    def admin_token(self) -> str:
        return (self.data / "admin.token").read_text().strip()

    @property
    def http(self) -> httpx.Client:
        if self._http is None:
            self._http = httpx.Client(
                transport=httpx.HTTPTransport(uds=str(self.socket)),
                base_url="http://view",
                headers={"authorization": f"Bearer {self.admin_token}"},
                timeout=70,
            )
        return self._http

    def get(self, path: str, **query: Any) -> Any:
        answer = self.http.get(path, params=query)
        answer.raise_for_status()
        return answer.json()

    def post(self, operations: list[dict[str, Any]], wait: float = 20.0) -> dict[str, Any]:
        """One update, and wait until it is in force; `waited_ms` is the time from the request to the answer."""
        began = time.monotonic()
        answer = self.http.post(
            "/v1/updates", params={"wait": "applied", "timeout": wait}, json={"operations": operations}
        )
        answer.raise_for_status()
        return {**answer.json(), "waited_ms": (time.monotonic() - began) * 1000}

    def verge(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The operator's command line."""
        return subprocess.run(
            [str(BIN / "verge"), "--url", f"unix:{self.socket}", *arguments],
            env={**os.environ, "VERGE_TOKEN": self.admin_token, "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    def etags(self) -> dict[str, str]:
        return {node["node"]: node["etag"] for node in self.get("/v1/nodes")["nodes"]}

    def make_token(self, node: str, state: Path) -> None:
        """The node's credential, as a file in the state directory of its agent."""
        answer = self.http.post("/v1/tokens", json={"role": "node", "node": node, "name": f"agent of {node}"})
        answer.raise_for_status()
        token = state / "token"
        token.touch(mode=0o600)
        token.write_text(answer.json()["token"] + "\n")

    def restart_server(self) -> float:
        """After a kill: start it again; seconds until it is ready."""
        if self._http is not None:
            self._http.close()
            self._http = None
        return self.server.start()


def agent_process(
    node: str, host: Host, state: Path, clc: str, public_interface: str, options: tuple[str, ...] = ()
) -> Process:
    """The agent of one hypervisor; its log is written beside its state directory."""
    return Process(
        f"the agent of {node}",
        host,
        [
            str(BIN / "verge-nodeagent"),
            *("run", "--node", node, "--server", f"http://{clc}:{PORT}"),
            *("--token-file", str(state / "token"), "--state-dir", str(state)),
            *("--bridge", "br0", "--public-interface", public_interface, "--ports", "vn_*"),
            *options,
        ],
        state.with_name(f"{state.name}.log"),
    )


class Cloud(Controller):
    """A view server, and an agent on each hypervisor of a lab."""

    def __init__(
        self,
        lab: Lab,
        directory: Path,
        passed: int | None = None,
        agent_options: tuple[str, ...] = (),
        setting: Setting | None = None,
    ) -> None:
        """`setting` None: the flat one."""
        self.setting = setting = setting or flat()
        super().__init__(lab["clc"], directory, setting.clc, passed)
        self.lab = lab
        self.agents: dict[str, Process] = {}
        for host in lab.nodes:
            state = directory / host.name
            state.mkdir()
            self.agents[host.name] = agent_process(
                host.name, host, state, setting.clc, setting.public_interface, agent_options
            )

    def make_tokens(self) -> None:
        for name in self.agents:
            self.make_token(name, self.directory / name)

    def stop(self) -> None:
        for agent in self.agents.values():
            agent.stop()
        self.server.stop()
