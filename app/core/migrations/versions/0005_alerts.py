"""Alerts: their life, their history, silences, and what is still to be told."""

import sqlalchemy as sa
from alembic import op

from app.core.utc_datetime import UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "gengfu_alert_instance",
        sa.Column("fingerprint", sa.String(16), primary_key=True),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("rule_hash", sa.String(16), nullable=False),
        sa.Column("alertname", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("annotations", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("level", sa.String(10), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("threshold", sa.Float(), nullable=True),
        sa.Column("samples", sa.BigInteger(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("pending_since", UtcDateTime(), nullable=False),
        sa.Column("fired_at", UtcDateTime(), nullable=True),
        sa.Column("resolved_at", UtcDateTime(), nullable=True),
        sa.Column("resolve_reason", sa.Text(), nullable=True),
        sa.Column("last_bad_at", UtcDateTime(), nullable=False),
        sa.Column("last_seen_at", UtcDateTime(), nullable=False),
        sa.Column("good", sa.Integer(), nullable=False),
        sa.Column("recent", sa.String(64), nullable=False),
        sa.Column("episode", sa.Integer(), nullable=False),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.Column("flapping_since", UtcDateTime(), nullable=True),
        sa.Column("hold_s", sa.Float(), nullable=False),
        sa.Column("acked_at", UtcDateTime(), nullable=True),
        sa.Column("acked_by", sa.Text(), nullable=True),
        sa.Column("ack_until", UtcDateTime(), nullable=True),
        sa.Column("ack_level", sa.String(10), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
    )
    op.create_index("ix_gengfu_alert_instance_state", "gengfu_alert_instance", ["state"])
    op.create_index("ix_gengfu_alert_instance_rule", "gengfu_alert_instance", ["rule"])
    op.create_table(
        "gengfu_alert_event",
        sa.Column("id", _KEY, primary_key=True, autoincrement=True),
        sa.Column("fingerprint", sa.String(16), nullable=False),
        sa.Column("episode", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("event", sa.String(12), nullable=False),
        sa.Column("level", sa.String(10), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("by_whom", sa.Text(), nullable=True),
        sa.Column("comment", sa.Text(), nullable=True),
    )
    op.create_index("ix_gengfu_alert_event_fingerprint_at", "gengfu_alert_event", ["fingerprint", "at"])
    op.create_index("ix_gengfu_alert_event_at", "gengfu_alert_event", ["at"])
    op.create_table(
        "gengfu_silence",
        sa.Column("id", sa.String(12), primary_key=True),
        sa.Column("matchers", sa.JSON(), nullable=False),
        sa.Column("starts_at", UtcDateTime(), nullable=False),
        sa.Column("ends_at", UtcDateTime(), nullable=False),
        sa.Column("recurrence", sa.JSON(), nullable=True),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
    )
    op.create_index("ix_gengfu_silence_ends_at", "gengfu_silence", ["ends_at"])
    op.create_table(
        "gengfu_notify_group",
        sa.Column("channel", sa.String(100), primary_key=True),
        sa.Column("group_key", sa.String(200), primary_key=True),
        sa.Column("group_labels", sa.JSON(), nullable=False),
        sa.Column("next_at", UtcDateTime(), nullable=True),
        sa.Column("last_sent_at", UtcDateTime(), nullable=True),
        sa.Column("told", sa.JSON(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
    )
    op.create_index("ix_gengfu_notify_group_next_at", "gengfu_notify_group", ["next_at"])
    op.create_table(
        "gengfu_alert_outbox",
        sa.Column("id", _KEY, primary_key=True, autoincrement=True),
        sa.Column("channel", sa.String(100), nullable=False),
        sa.Column("group_key", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("level", sa.String(10), nullable=False),
        sa.Column("dedupe_key", sa.String(200), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("next_at", UtcDateTime(), nullable=False),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("lease_owner", sa.String(64), nullable=True),
        sa.Column("sent_at", UtcDateTime(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.UniqueConstraint("dedupe_key", name="uq_gengfu_alert_outbox_dedupe_key"),
    )
    op.create_index("ix_gengfu_alert_outbox_state_next_at", "gengfu_alert_outbox", ["state", "next_at"])
    op.create_index("ix_gengfu_alert_outbox_order", "gengfu_alert_outbox", ["channel", "group_key", "state", "id"])


def downgrade() -> None:
    for name in ("alert_outbox", "notify_group", "silence", "alert_event", "alert_instance"):
        op.drop_table(f"gengfu_{name}")
