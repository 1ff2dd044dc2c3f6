"""Simulated node agents: each long-polls its view and reports it, as the contract says, or does as it is told.

They run in a thread of their own, so that a test can drive the browser meanwhile.
"""

import asyncio
import contextlib
import threading

import httpx


class Agents:
    def __init__(self, served):
        self.served = served
        self.obeys = {}
        """By node: what it reports instead of success; "nothing" for a node that polls and applies nothing."""
        self._tasks = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def start(self, *nodes):
        for node in nodes:
            token = self.served.token("node", node)
            self._tasks[node] = asyncio.run_coroutine_threadsafe(self._run(node, token), self._loop)

    def silence(self, *nodes):
        """They end, as by a power cut."""
        for node in nodes:
            self._tasks.pop(node).cancel()

    def close(self):
        async def all_gone():
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(all_gone(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _run(self, node, token):
        headers = {"authorization": f"Bearer {token}"}
        sequence, held, applied = 0, None, None
        async with httpx.AsyncClient(base_url=self.served.url, headers=headers, timeout=70, trust_env=False) as client:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    asked = {"Prefer": "wait=30"} | ({"If-None-Match": held} if held else {})
                    answer = await client.get(f"/v1/nodes/{node}/view", headers=asked)
                    if answer.status_code == 200:
                        held, sequence = answer.headers["etag"], sequence + 1
                        told = self.obeys.get(node, {"state": "applied"})
                        if told == "nothing":
                            continue
                        applied = applied if told["state"] == "rejected" else held
                        body = {
                            "applied": {"etag": applied} if applied else None,
                            "attempted": {"etag": held},
                            "sequence": sequence,
                            "agent": {"version": "1", "boot_id": "boot"},
                            "timings_ms": {"fetch": 1.2, "plan": 2.1, "apply": 6.4, "verify": 0.9},
                            "instances": dict.fromkeys(answer.json()["instances"], "ready"),
                            **told,
                        }
                        stored = await client.put(f"/v1/nodes/{node}/report", json=body)
                        if stored.status_code == 204:
                            continue
                        held = None
                    elif answer.status_code == 304:
                        continue
                await asyncio.sleep(0.2)  # a server that is away, or does not know us yet
