"""Runs by rule, archived rows, and files that are moved aside."""

import sqlalchemy as sa
from alembic import op

from app.core.utc_datetime import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "gengfu_rule_run",
        sa.Column("run_id", sa.String(32), primary_key=True),
        sa.Column("rule", sa.String(100), primary_key=True),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("cutoff", UtcDateTime(), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("expired", sa.BigInteger(), nullable=True),
        sa.Column("table_rows", sa.BigInteger(), nullable=True),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("children", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("columns_seen", sa.String(64), nullable=True),
        sa.Column("rule_seen", sa.JSON(), nullable=True),
        sa.Column("reasons", sa.JSON(), nullable=True),
        sa.Column("approved_at", UtcDateTime(), nullable=True),
        sa.Column("approved_by", sa.String(200), nullable=True),
        sa.Column("approval_used_by", sa.String(32), nullable=True),
    )
    op.create_index("ix_gengfu_rule_run_rule_started_at", "gengfu_rule_run", ["rule", "started_at"])
    op.create_table(
        "gengfu_archived_row",
        sa.Column("id", _KEY, primary_key=True, autoincrement=True),
        sa.Column("run_id", sa.String(32), nullable=False),
        sa.Column("rule", sa.String(100), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("is_child", sa.Integer(), nullable=False),
        sa.Column("rows", sa.Text(), nullable=False),
        sa.Column("row_count", sa.Integer(), nullable=False),
        sa.Column("archived_at", UtcDateTime(), nullable=False),
        sa.Column("purge_at", UtcDateTime(), nullable=False),
    )
    for column in ("run_id", "purge_at"):
        op.create_index(f"ix_gengfu_archived_row_{column}", "gengfu_archived_row", [column])
    op.add_column("gengfu_file_outbox", sa.Column("rule", sa.String(100), nullable=True))
    op.add_column("gengfu_file_outbox", sa.Column("reason", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("gengfu_file_outbox", "reason")
    op.drop_column("gengfu_file_outbox", "rule")
    for name in ("gengfu_archived_row", "gengfu_rule_run"):
        op.drop_table(name)
