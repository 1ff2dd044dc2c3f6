"""The network, its change records, reports, credentials."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, ExcludeConstraint

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TIME = sa.TIMESTAMP(timezone=True)


def _unique_among_instances(field: str) -> ExcludeConstraint:
    return ExcludeConstraint(
        (sa.literal_column(f"(value ->> '{field}')"), "="),
        using="btree",
        where=sa.text("kind = 'instance'"),
        deferrable=True,
        initially="DEFERRED",
        name=f"ex_objects_{field}",
    )


def _one_row(table: str) -> tuple[sa.Column[bool], sa.CheckConstraint, sa.PrimaryKeyConstraint]:
    return (
        sa.Column("one", sa.Boolean, nullable=False, server_default=sa.text("true")),
        sa.CheckConstraint("one", name=op.f(f"ck_{table}_one")),
        sa.PrimaryKeyConstraint("one", name=op.f(f"pk_{table}")),
    )


def upgrade() -> None:
    op.create_table(
        "head",
        *_one_row("head"),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("lineage", JSONB),
    )
    op.execute("INSERT INTO head (epoch, revision) VALUES (1, 0)")
    op.create_table(
        "objects",
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("value", JSONB, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("kind", "id", name=op.f("pk_objects")),
        _unique_among_instances("mac"),
        _unique_among_instances("private_ip"),
    )
    op.create_table(
        "changes",
        sa.Column("revision", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("operations", JSONB, nullable=False),
        sa.Column("affected", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("caused_by", sa.BigInteger),
        sa.PrimaryKeyConstraint("revision", name=op.f("pk_changes")),
    )
    op.create_table(
        "node_versions",
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("node", name=op.f("pk_node_versions")),
    )
    op.create_table(
        "idempotency",
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("body_digest", sa.LargeBinary, nullable=False),
        sa.Column("answer", JSONB, nullable=False),
        sa.Column("at", _TIME, nullable=False, server_default=sa.text("clock_timestamp()")),
        sa.PrimaryKeyConstraint("actor", "key", name=op.f("pk_idempotency")),
    )
    op.create_index(op.f("ix_idempotency_at"), "idempotency", ["at"])
    op.create_table(
        "tokens",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("node", sa.Text),
        sa.Column("name", sa.Text),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("created_at", _TIME, nullable=False, server_default=sa.text("clock_timestamp()")),
        sa.Column("revoked_at", _TIME),
        sa.CheckConstraint("(role = 'node') = (node IS NOT NULL)", name=op.f("ck_tokens_node")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("hash", name=op.f("uq_tokens_hash")),
    )
    op.create_table("report_head", *_one_row("report_head"), sa.Column("seq", sa.BigInteger, nullable=False))
    op.execute("INSERT INTO report_head (seq) VALUES (0)")
    op.create_table(
        "reports",
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger),
        sa.Column("applied_version", sa.BigInteger),
        sa.Column("applied_digest", sa.Text),
        sa.Column("attempted_epoch", sa.BigInteger),
        sa.Column("attempted_version", sa.BigInteger),
        sa.Column("attempted_digest", sa.Text),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("report", JSONB, nullable=False),
        sa.Column("sequence", sa.BigInteger),
        sa.Column("boot_id", sa.Text),
        sa.Column("seen_at", _TIME, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("node", name=op.f("pk_reports")),
    )
    op.create_index(op.f("ix_reports_seq"), "reports", ["seq"])
    op.create_table(
        "applied",
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("timings", JSONB, nullable=False),
        sa.PrimaryKeyConstraint("node", "epoch", "version", name=op.f("pk_applied")),
    )
    op.create_table(
        "settings",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("value", JSONB, nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_settings")),
    )


def downgrade() -> None:
    for table in (
        "settings", "applied", "reports", "report_head", "tokens",
        "idempotency", "node_versions", "changes", "objects", "head",
    ):  # fmt: skip
        op.drop_table(table)
