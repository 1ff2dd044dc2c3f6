"""Which replica hears which node, for all replicas to know.

Three tables more, and nothing that running code uses is changed. Replicas of before claim no nodes: while old and new ones
run side by side, the new ones take a node that polls an old one for silent, as these take each other's.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TIME = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "replicas",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("seen_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replicas")),
    )
    op.create_table(
        "presence_head",
        sa.Column("one", sa.Boolean, nullable=False, server_default=sa.text("true")),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_presence_head")),
        sa.CheckConstraint("one", name=op.f("ck_presence_head_one")),
    )
    op.execute("INSERT INTO presence_head (seq) VALUES (0)")
    op.create_table(
        "presence",
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("replica", sa.Text, nullable=False),
        sa.Column("connected", sa.Boolean, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("node", name=op.f("pk_presence")),
    )
    op.create_index(op.f("ix_presence_seq"), "presence", ["seq"])


def downgrade() -> None:
    for table in ("presence", "presence_head", "replicas"):
        op.drop_table(table)
