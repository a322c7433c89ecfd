"""Samples of measured figures over time."""

import sqlalchemy as sa
from alembic import op

from app.core.utc_datetime import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "gengfu_metric_sample",
        sa.Column("series", sa.String(300), primary_key=True),
        sa.Column("at", UtcDateTime(), primary_key=True),
        sa.Column("value", sa.Float(), nullable=False),
    )
    op.create_index("ix_gengfu_metric_sample_at", "gengfu_metric_sample", ["at"])


def downgrade() -> None:
    op.drop_table("gengfu_metric_sample")
