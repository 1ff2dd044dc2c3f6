"""The tables. `migrations/` makes them; a test compares the two."""

from sqlalchemy import (
    ARRAY,
    TIMESTAMP,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Sequence,
    Table,
    Text,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, ExcludeConstraint

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_TIME = TIMESTAMP(timezone=True)


def _unique_among_instances(field: str) -> ExcludeConstraint:
    """A second line of defence behind the model's own check. A constraint, not an index, because only that can wait
    for the commit: one update may swap the addresses of two instances."""
    return ExcludeConstraint(
        (literal_column(f"(value ->> '{field}')"), "="),
        using="btree",
        where=text("kind = 'instance'"),
        deferrable=True,
        initially="DEFERRED",
        name=f"ex_objects_{field}",
    )


head = Table(
    "head",
    metadata,
    # One row. Whoever writes the network holds its lock until the commit: that is what makes revisions gapless and
    # their order the order of commits, which no sequence does.
    Column("one", Boolean, CheckConstraint("one", name="one"), primary_key=True, server_default=text("true")),
    Column("epoch", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("lineage", JSONB),
)

objects = Table(
    "objects",
    metadata,
    Column("kind", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("value", JSONB, nullable=False),
    Column("revision", BigInteger, nullable=False),
    PrimaryKeyConstraint("kind", "id"),
    _unique_among_instances("mac"),
    _unique_among_instances("private_ip"),
)

changes = Table(
    "changes",
    metadata,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("at", _TIME, nullable=False),
    Column("actor", Text, nullable=False),
    Column("operations", JSONB, nullable=False),
    Column("affected", ARRAY(Text), nullable=False),
    Column("caused_by", BigInteger),
)

node_versions = Table(
    "node_versions",
    metadata,
    Column("node", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("actor", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("body_digest", LargeBinary, nullable=False),
    Column("answer", JSONB, nullable=False),
    Column("at", _TIME, nullable=False, server_default=text("clock_timestamp()"), index=True),
    PrimaryKeyConstraint("actor", "key"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("node", Text),
    Column("name", Text),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("created_at", _TIME, nullable=False, server_default=text("clock_timestamp()")),
    Column("revoked_at", _TIME),  # kept, since change records name their actor by token
    CheckConstraint("(role = 'node') = (node IS NOT NULL)", name="node"),
)

report_head = Table(
    "report_head",
    metadata,
    Column("one", Boolean, CheckConstraint("one", name="one"), primary_key=True, server_default=text("true")),
    Column("seq", BigInteger, nullable=False),
)

reports = Table(
    "reports",
    metadata,
    Column("node", Text, primary_key=True),
    Column("epoch", BigInteger),
    Column("applied_version", BigInteger),
    Column("applied_digest", Text),
    Column("attempted_epoch", BigInteger),
    Column("attempted_version", BigInteger),
    Column("attempted_digest", Text),
    Column("state", Text, nullable=False),
    Column("report", JSONB, nullable=False),
    Column("sequence", BigInteger),
    Column("boot_id", Text),
    Column("seen_at", _TIME, nullable=False),
    Column("seq", BigInteger, nullable=False, index=True),
)

applied = Table(
    # Written by the version of the code before `enforced`, whose rows a trigger copies there while such replicas still run.
    "applied",
    metadata,
    Column("node", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("at", _TIME, nullable=False),
    Column("timings", JSONB, nullable=False),
    PrimaryKeyConstraint("node", "epoch", "version"),
)

settings = Table(
    "settings",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", JSONB, nullable=False),
)

# --- what happened: partitioned by time (`records.partitions`), appended to, and dropped when old ---

_BY_TIME = "RANGE (at)"

answered = Table(
    "answered",
    metadata,
    # A node was told a version of its view: when the answer was written.
    Column("node", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("at", _TIME, nullable=False),
    Index(None, "node", "at"),
    postgresql_partition_by=_BY_TIME,
)

enforced = Table(
    "enforced",
    metadata,
    # A node told something new of what it enforces: another version, another failure, a rejection, or first timings.
    Column("node", Text, nullable=False),
    Column("epoch", BigInteger),
    Column("version", BigInteger),
    Column("at", _TIME, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempted_epoch", BigInteger),
    Column("attempted", BigInteger),
    Column("failures", JSONB, nullable=False),
    Column("timings", JSONB, nullable=False),
    Index(None, "node", "at"),
    Index("ix_enforced_rejected", "attempted", postgresql_where=text("state = 'rejected'")),
    postgresql_partition_by=_BY_TIME,
)

summaries = Table(
    "summaries",
    metadata,
    # Of one change: what stays when the detail goes. The values behind the percentiles are kept while a node is missing.
    Column("revision", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("at", _TIME, nullable=False),
    Column("actor", Text, nullable=False),
    Column("caused_by", BigInteger),
    Column("operations", Integer, nullable=False),
    Column("objects", ARRAY(Text), nullable=False),
    Column("affected", Integer, nullable=False),
    Column("missing", ARRAY(Text), nullable=False),
    Column("applied_ms", ARRAY(Double), nullable=False),
    Column("told_ms", ARRAY(Double), nullable=False),
    Column("stages_ms", JSONB, nullable=False),
    Column("marks", JSONB, nullable=False),
    Column("exceptions", ARRAY(Text), nullable=False),
    Column("rejections", Integer, nullable=False),
    Column("updated_at", _TIME, nullable=False),
    PrimaryKeyConstraint("revision", "epoch", "at"),
    Index("ix_summaries_open", "revision", postgresql_where=text("missing <> '{}'")),
    postgresql_partition_by=_BY_TIME,
)

samples = Table(
    "samples",
    metadata,
    # The whole cloud's lag at a moment, by whichever replica was first to say.
    Column("at", _TIME, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("nodes", Integer, nullable=False),
    Column("behind", Integer, nullable=False),
    Column("silent", Integer, nullable=False),
    Column("rejected", Integer, nullable=False),
    Column("degraded", Integer, nullable=False),
    Column("converged", Integer, nullable=False),
    Column("lag_s", Double, nullable=False),
    PrimaryKeyConstraint("at"),
    postgresql_partition_by=_BY_TIME,
)

happening_ids = Sequence("happening_ids", metadata=metadata)

happenings = Table(
    "happenings",
    metadata,
    Column("id", BigInteger, nullable=False, server_default=happening_ids.next_value()),
    Column("at", _TIME, nullable=False),
    Column("kind", Text, nullable=False),
    Column("node", Text),
    Column("what", Text, nullable=False),
    Column("culprit", Text),
    Column("revision", BigInteger),
    Column("more", JSONB, nullable=False),
    Index(None, "id"),
    Index(None, "node", "id"),
    postgresql_partition_by=_BY_TIME,
)

silences = Table(
    "silences",
    metadata,
    # Nodes whose silence was told, and whose return was not yet.
    Column("node", Text, primary_key=True),
    Column("since", _TIME, nullable=False),
)

replicas = Table(
    "replicas",
    metadata,
    # Those that run, and those that have just died and are not buried yet.
    Column("id", Text, primary_key=True),
    Column("started_at", _TIME, nullable=False),
    Column("seen_at", _TIME, nullable=False),
)

presence_head = Table(
    "presence_head",
    metadata,
    Column("one", Boolean, CheckConstraint("one", name="one"), primary_key=True, server_default=text("true")),
    Column("seq", BigInteger, nullable=False),
)

presence = Table(
    "presence",
    metadata,
    # Of each node that was ever heard of, which replica heard it last, and whether it still does. Written when that changes.
    Column("node", Text, primary_key=True),
    Column("replica", Text, nullable=False),
    Column("connected", Boolean, nullable=False),
    Column("at", _TIME, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Index(None, "seq"),
)
