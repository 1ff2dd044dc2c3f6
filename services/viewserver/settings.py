"""How a view server is run: flags, else environment, else defaults."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    binds: tuple[str, ...] = ("127.0.0.1:8470",)
    """`host:port` (port 0 picks a free one) or `unix:PATH`. Sockets handed over by LISTEN_FDS are served beside them."""
    data_dir: Path = Path("data")
    """The embedded Postgres, the token key and the first admin token."""
    database_url: str | None = None
    """None: run an embedded Postgres in `data_dir`."""
    token_key: str | None = None
    """Hex; replicas that share a database share it. None: `data_dir/token.key`, made on first start."""
    max_body_bytes: int = 32 * 1024 * 1024
    """The largest request body that is read; over it 413."""
    max_operations: int = 10_000
    max_wait_s: float = 60.0
    detail_hours: float = 24.0
    """How long it is kept when each node was told and had applied a change; an hour at least."""
    detail_mb: int = 4096
    """How much of Postgres's disk that may take: the oldest goes first, but never the last hour's."""
    records_days: float = 30.0
    """How long summaries of changes, the cloud's lag and happenings are kept."""
    silence_grace_s: float = 2.0
    """A node without an open request for so long is silent."""
    start_grace_s: float = 10.0
    """After a start, agents have so long to come back before they count as silent."""
    max_connections: int | None = None
    """More are answered 503. None: as many as there are file descriptors for."""
    drain_s: float = 0.0
    """After SIGTERM, `/readyz` says 503 for so long before polls are answered and connections closed: time for a balancer
    to send new ones elsewhere. Agents that know several replicas need none."""
