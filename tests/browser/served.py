"""A view server as a process on one port, stopped and started again while a page is open; and who changes its network."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]


class Served:
    def __init__(self, data_dir):
        self.data_dir = data_dir
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.child = None
        self.tokens = {}

    def start(self):
        own = ("DATABASE_URL", "VERGE_TOKEN_KEY")
        environment = {name: one for name, one in os.environ.items() if name not in own}
        environment["PYTHONPATH"] = f"{ROOT / 'services'}:{ROOT}"
        with (self.data_dir / "stderr").open("ab") as log:
            self.child = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "viewserver",
                    "serve",
                    "--bind",
                    f"127.0.0.1:{self.port}",
                    "--data-dir",
                    str(self.data_dir),
                ],
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
            )
        line = self.child.stdout.readline().decode()
        assert re.fullmatch(r"verge-viewserver ready \S+\n", line), (self.data_dir / "stderr").read_text()[-2000:]
        if "admin" not in self.tokens:
            self.tokens["admin"] = (self.data_dir / "admin.token").read_text().strip()
        return self

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        assert self.child.wait(30) == 0

    def ask(self, method, path, token="admin", **more):
        headers = {"authorization": f"Bearer {self.tokens[token]}"}
        with httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False) as client:
            answer = client.request(method, path, **more)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def token(self, role, node=None, name=None):
        key = node or role
        if key not in self.tokens:
            wanted = {"role": role, "node": node, "name": name}
            self.tokens[key] = self.ask("POST", "/v1/tokens", json={k: v for k, v in wanted.items() if v})["token"]
        return self.tokens[key]

    def update(self, *operations, wait=True):
        """As the cloud; with `wait`, in force on every affected node."""
        self.token("cloud", name="clc")
        params = {"wait": "applied", "timeout": 20} if wait else {}
        answer = self.ask("POST", "/v1/updates", "cloud", json={"operations": list(operations)}, params=params)
        assert not wait or answer["converged"], json.dumps(answer)
        return answer["revision"]


def put(kind, key, **value):
    return {"op": "put", "kind": kind, "id": key, "value": value}


def group(key, *ports):
    rules = [{"protocol": "tcp", "from_port": one, "to_port": one, "cidr": "0.0.0.0/0"} for one in ports]
    return put("group", key, name=key, account="alice", ingress=rules)


def instance(key, node, number, *groups):
    mac = "d0:0d:00:00:" + number.to_bytes(2).hex(":")
    address = f"10.1.{number // 200}.{10 + number % 200}"
    return put("instance", key, node=node, mac=mac, private_ip=address, groups=list(groups), account="alice")


def cloud(*nodes):
    """One zone; on each node one instance of sg-web."""
    return [
        put("network", "network", dns_servers=["10.0.0.2"], public_ips=["203.0.113.1-203.0.113.9"]),
        put("zone", "zone-a", subnet="10.1.0.0/16", gateway="10.1.0.1", private_ips=["10.1.0.10-10.1.9.250"]),
        group("sg-web", 80),
        *(
            put("node", node, zone="zone-a", address=f"192.0.{2 + i // 200}.{1 + i % 200}")
            for i, node in enumerate(nodes)
        ),
        *(instance(f"i-{i:08x}", node, i + 1, "sg-web") for i, node in enumerate(nodes)),
    ]
