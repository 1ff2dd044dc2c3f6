"""What happened: per node and change, summaries, lag, happenings; partitioned by time.

Nothing that running code uses is changed. What it writes into `applied` a trigger copies into `enforced`, which the new code
reads; `applied` goes in a later migration, when no such code is left.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TIME = sa.TIMESTAMP(timezone=True)
_BY_TIME = {"postgresql_partition_by": "RANGE (at)"}
_PARTITIONED = ("answered", "enforced", "summaries", "samples", "happenings")

_COPY = """
CREATE FUNCTION applied_to_enforced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO enforced (node, epoch, version, at, state, failures, timings)
    VALUES (NEW.node, NEW.epoch, NEW.version, NEW.at, 'applied', '[]', NEW.timings);
    RETURN NULL;
END $$
"""
# The trigger first: its lock keeps running replicas from writing a row between the copy and the trigger.
_TRIGGER = """
CREATE TRIGGER applied_to_enforced AFTER INSERT ON applied FOR EACH ROW EXECUTE FUNCTION applied_to_enforced()
"""
_FILL = """
INSERT INTO enforced (node, epoch, version, at, state, failures, timings)
SELECT node, epoch, version, at, 'applied', '[]', timings FROM applied WHERE at > clock_timestamp() - interval '1 day'
"""


def upgrade() -> None:
    op.create_table(
        "answered",
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        **_BY_TIME,
    )
    op.create_index(op.f("ix_answered_node_at"), "answered", ["node", "at"])
    op.create_table(
        "enforced",
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger),
        sa.Column("version", sa.BigInteger),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempted_epoch", sa.BigInteger),
        sa.Column("attempted", sa.BigInteger),
        sa.Column("failures", JSONB, nullable=False),
        sa.Column("timings", JSONB, nullable=False),
        **_BY_TIME,
    )
    op.create_index(op.f("ix_enforced_node_at"), "enforced", ["node", "at"])
    op.create_index("ix_enforced_rejected", "enforced", ["attempted"], postgresql_where=sa.text("state = 'rejected'"))
    op.create_table(
        "summaries",
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("caused_by", sa.BigInteger),
        sa.Column("operations", sa.Integer, nullable=False),
        sa.Column("objects", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("affected", sa.Integer, nullable=False),
        sa.Column("missing", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("applied_ms", sa.ARRAY(sa.Double), nullable=False),
        sa.Column("told_ms", sa.ARRAY(sa.Double), nullable=False),
        sa.Column("stages_ms", JSONB, nullable=False),
        sa.Column("marks", JSONB, nullable=False),
        sa.Column("exceptions", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("rejections", sa.Integer, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("revision", "epoch", "at", name=op.f("pk_summaries")),
        **_BY_TIME,
    )
    op.create_index("ix_summaries_open", "summaries", ["revision"], postgresql_where=sa.text("missing <> '{}'"))
    op.create_table(
        "samples",
        sa.Column("at", _TIME, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("nodes", sa.Integer, nullable=False),
        sa.Column("behind", sa.Integer, nullable=False),
        sa.Column("silent", sa.Integer, nullable=False),
        sa.Column("rejected", sa.Integer, nullable=False),
        sa.Column("degraded", sa.Integer, nullable=False),
        sa.Column("converged", sa.Integer, nullable=False),
        sa.Column("lag_s", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("at", name=op.f("pk_samples")),
        **_BY_TIME,
    )
    op.execute("CREATE SEQUENCE happening_ids")
    op.create_table(
        "happenings",
        sa.Column("id", sa.BigInteger, nullable=False, server_default=sa.text("nextval('happening_ids')")),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("node", sa.Text),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("culprit", sa.Text),
        sa.Column("revision", sa.BigInteger),
        sa.Column("more", JSONB, nullable=False),
        **_BY_TIME,
    )
    op.create_index(op.f("ix_happenings_id"), "happenings", ["id"])
    op.create_index(op.f("ix_happenings_node_id"), "happenings", ["node", "id"])
    op.create_table(
        "silences",
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("since", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("node", name=op.f("pk_silences")),
    )
    for table in _PARTITIONED:  # where a row goes for whose time no partition was made: none is ever refused
        op.execute(f"CREATE TABLE {table}_rest PARTITION OF {table} DEFAULT")
    op.execute(_COPY)
    op.execute(_TRIGGER)
    op.execute(_FILL)


def downgrade() -> None:
    op.execute("DROP TRIGGER applied_to_enforced ON applied")
    op.execute("DROP FUNCTION applied_to_enforced()")
    op.drop_table("silences")
    for table in reversed(_PARTITIONED):
        op.drop_table(table)
    op.execute("DROP SEQUENCE happening_ids")
