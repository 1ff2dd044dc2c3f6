"""The agent: follow the view, realise it, tell what came of it, look after it. One task for each, until told to stop."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

from nodeagent import VERSION
from nodeagent.checkpoint import Checkpoint
from nodeagent.enforcement import Enforcement
from nodeagent.journal import Journal
from nodeagent.kernel.watch import RulesetWatch
from nodeagent.passes import Passes
from nodeagent.preflight.preflight import Preflight
from nodeagent.session import Current, Enforced, Offered, Retry, Session, Unreachable
from nodeagent.session.choice import in_order
from nodeagent.settings import Settings
from verge.supervisor import notify

if TYPE_CHECKING:
    from nodeagent.viewclient import ViewClient

_FIRST_S, _AGAIN_S, _EXAMINE_S = 1.0, 30.0, 300.0
"""Until the first preflight, after a pass that failed, and in peace."""
_dice = random.SystemRandom().random


@dataclass(slots=True)
class Agent:
    settings: Settings
    journal: Journal
    passes: Passes
    session: Session
    news: asyncio.Event
    """There is a report to send."""
    client: "ViewClient | None" = None
    """None: there is no server; views are handed over by hand."""
    started_at: float = field(default_factory=time.monotonic)

    async def start(self) -> None:
        """Enforce what the disk holds; nobody has been asked yet."""
        await self.passes.start()
        if self.settings.servers and self.settings.token_file:
            from nodeagent.viewclient import ViewClient  # only now: httpx takes a tenth of a second to import

            self.client = ViewClient(self.settings.node, self.settings.token_file)
        held = self.passes.held
        self.session.held, self.session.view = (held.etag, held.view) if held else (None, None)
        self.session.seen = self.passes.seen

    async def run(self, stop: asyncio.Event) -> None:
        """After `start()`: until `stop`. What is in the kernel stays in force."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.look()), group.create_task(self.examine())]
            if self.client:
                tasks += [group.create_task(self.follow(self.client)), group.create_task(self.report(self.client))]
            await stop.wait()
            for task in tasks:
                task.cancel()

    async def follow(self, client: "ViewClient") -> None:
        """Ask, realise what is new, ask again. Ends by cancellation only."""
        while True:
            standing = (self.session.standing, self.session.problem)
            request = self.session.next_view_request(time.monotonic())
            try:
                answer = await client.view(request)
            except Unreachable as reason:
                step: Offered | Current | Retry = self.session.unreachable(str(reason), _dice())
            else:
                step = self.session.answered(answer, time.monotonic(), _dice())
            if (self.session.standing, self.session.problem) != standing:
                self.say_standing(request.server)
            match step:
                case Offered():
                    await self.passes.take(step, self.session.seen)
                case Current(pause_s=pause):
                    await asyncio.sleep(pause)
                case Retry(delay_s=delay):
                    self.news.set()  # a view refused for its content is to be reported
                    await asyncio.sleep(delay)

    async def report(self, client: "ViewClient") -> None:
        """Send the newest report there is; again, later or elsewhere, until it was taken."""
        said = None
        while True:
            await self.news.wait()
            self.news.clear()
            while request := self.session.next_report():
                try:
                    status, detail = await client.report(request)
                except Unreachable as reason:
                    status, detail = None, str(reason)
                delay = self.session.report_answered(request.report, status, _dice())
                problem = detail if status is None or status >= 300 else None
                if problem != said:
                    said = problem
                    event = "reports-taken" if problem is None else "report-not-taken"
                    self.journal.say(event, server=request.server, status=status, reason=problem)
                if delay is not None:
                    await asyncio.sleep(delay)

    async def look(self) -> None:
        """Each second, and at once when somebody has touched our tables: drift, ports that came or went, a rejected view's
        next attempt. As long as looking took it is not done again: whoever fights with us gets half of one processor. Who
        watches over the agent hears of each look: one that hangs is an agent that hangs."""
        said = None
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.passes.suspects.stirred.wait(), 1)
            notify("WATCHDOG=1")
            problem, began = None, time.monotonic()
            try:
                await self.passes.look(began)
            except Exception as failed:  # a host that cannot be looked at now may be looked at in a second
                problem = repr(failed)
            if problem != said:
                said = problem
                self.journal.say("look-failed" if problem else "look-succeeded", reason=problem)
            await asyncio.sleep(min(time.monotonic() - began, 1.0))

    async def examine(self) -> None:
        """The whole preflight: behind the first view, every few minutes, and after a pass that failed."""
        said = None
        pause = _FIRST_S
        while True:
            await asyncio.sleep(pause)
            problem = None
            try:
                await self.passes.examine()
            except Exception as failed:  # a fault of ours is no reason to stop enforcing
                problem = repr(failed)
            if problem != said:
                said = problem
                self.journal.say("preflight-failed" if problem else "preflight-succeeded", reason=problem)
            outcome = self.passes.outcome
            pause = _AGAIN_S if outcome and outcome.state == "rejected" else _EXAMINE_S

    def say_standing(self, server: str) -> None:
        seen = str(self.session.seen) if self.session.seen else None
        self.journal.say(f"server-{self.session.standing}", server=server, revision=seen, reason=self.session.problem)


def assemble(
    settings: Settings,
    make: Callable[[int], Enforcement],
    watch: RulesetWatch | None = None,
    preflight: Preflight | None = None,
) -> Agent:
    """Every part in its place, nothing started."""
    journal = Journal(settings.node)
    session = Session(
        node=settings.node,
        servers=in_order(settings.servers, settings.node) or ("",),
        agent_version=VERSION,
        boot_id=str(uuid4()),
        deltas=settings.deltas,
    )
    news = asyncio.Event()

    def tell(came: Enforced) -> None:
        session.enforced(came)
        news.set()

    passes = Passes(make, Checkpoint(settings.state_dir, settings.node), journal, tell, watch, preflight)
    return Agent(settings, journal, passes, session, news)
