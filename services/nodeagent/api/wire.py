"""The bodies of the local API's answers."""

from typing import Literal, get_args

from pydantic import BaseModel, Field

from nodeagent.session import Standing

State = Literal["starting", "closed", "applied", "degraded", "rejected", "pinned"]
STATES: tuple[str, ...] = get_args(State)
SELF_TESTS: tuple[str, ...] = ("off", "not-made", "passed", "leaks", "loses", "unable")
Readiness = Literal["ready", "waiting-for-interface", "prepared", "quarantined"]


class Version(BaseModel):
    etag: str
    epoch: int
    version: int
    digest: str


class Failure(BaseModel):
    object: str
    stage: str
    reason: str


class Check(BaseModel):
    check: str
    ok: bool
    severity: Literal["failing", "warning"]
    """If not ok: `failing` keeps new views out, `warning` does not."""
    found: str
    needed: str
    remedy: str
    """A command for a shell wherever one will do."""


class Preflight(BaseModel):
    ok: bool
    """Nothing is failing; there may be warnings."""
    checks: list[Check]
    """What is wrong first."""


class Drift(BaseModel):
    at: str
    what: str
    culprit: str | None
    repaired_ms: float


class Pinned(BaseModel):
    digest: str
    instances: int


class Server(BaseModel):
    url: str | None
    """None: this agent has no server; its views are handed over by hand."""
    standing: Standing | None
    problem: str | None
    revision: str | None
    """`<epoch>.<revision>` that the server was last seen at."""
    stale_s: float | None
    """The server's own word that what it serves is old."""


class Agent(BaseModel):
    version: str
    up_s: float


class Dhcp(BaseModel):
    state: Literal["idle", "serving", "failed"]
    """`idle`: there is no instance to serve, so nothing runs."""
    pid: int | None
    """Of dnsmasq."""
    hosts: int
    """Instances that get an address when they ask."""
    user: str | None
    """That dnsmasq runs as."""
    starts: int
    """How often this agent has started dnsmasq; taking over a running one is none."""
    problem: str | None


class SelfTest(BaseModel):
    state: Literal["off", "not-made", "passed", "leaks", "loses", "unable"]
    """`leaks`: something passed that must not. `loses`: what is allowed did not pass. `unable`: it could not be made, so
    nothing is known. `not-made`: nothing was applied yet."""
    reason: str | None
    at: str | None
    took_ms: float | None


class Status(BaseModel):
    node: str
    agent: Agent
    state: State
    """`closed`: no view is known, and no port passes anything."""
    held: Version | None
    """The newest view received and found sound."""
    applied: Version | None
    """In force in the kernel."""
    attempted: Version | None
    """Held, but not in force: rejected, or set aside for a pinned view."""
    refused: Version | None
    """Offered by the server, but not what its ETag says."""
    pinned: Pinned | None
    failures: list[Failure]
    instances: dict[str, Readiness]
    server: Server
    view_age_s: float | None
    """Since the server last confirmed or moved the view."""
    timings_ms: dict[str, float]
    """Of the newest pass."""
    checkpoint_problem: str | None
    dhcp: Dhcp | None
    """None: before the first pass."""
    self_test: SelfTest
    """The newest packets that were to show that the kernel enforces."""
    generation: int
    drift: list[Drift]
    """What others changed and this agent repaired, the latest few."""


class Plan(BaseModel):
    empty: bool
    steps: list[str]


class Pass(BaseModel):
    state: Literal["applied", "degraded", "rejected"]
    failures: list[Failure]
    instances: dict[str, Readiness]
    changes: int
    timings_ms: dict[str, float]


class Ruleset(BaseModel):
    desired: str
    observed: str


class Count(BaseModel):
    packets: int
    bytes: int
    """Of IP packets, without Ethernet."""


class Directions(BaseModel):
    """Seen from the instance."""

    incoming: Count = Field(serialization_alias="in", validation_alias="in")
    out: Count


class Traffic(BaseModel):
    """Packets that passed since the instance came to this node. `inside` is to and from the private ranges and elastic IPs
    of the cloud, `outside` all else."""

    inside: Directions
    outside: Directions


class Instance(BaseModel):
    id: str
    readiness: Readiness
    ready: bool
    traffic: Traffic | None
    """None: nothing is counted, as for one that is quarantined."""


class Instances(BaseModel):
    instances: list[Instance]
    """By id."""


class Health(BaseModel):
    ok: bool
    reason: str | None = None
