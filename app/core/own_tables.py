"""The program's own tables (prefix `gengfu_`). They stand in the database whose rows they account for."""

from sqlalchemy import BigInteger, Column, Date, Float, Index, Integer, MetaData, String, Table, Text

from app.core.storable import StorableJson, StorableText
from app.core.utc_datetime import UtcDateTime

metadata = MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "uq": "uq_%(table_name)s_%(column_0_N_name)s"}
)

# SQLite only numbers rows by itself for a column that is exactly INTEGER.
_KEY = BigInteger().with_variant(Integer(), "sqlite")

run = Table(
    "gengfu_run",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("job", String(100), nullable=False),
    Column("slot", UtcDateTime, nullable=True),  # the instant the schedule meant; none for manual runs
    Column("trigger", String(20), nullable=False),  # schedule | manual | shell
    Column("attempt", Integer, nullable=False),
    Column("queue", String(100), nullable=True),
    Column("worker", String(200), nullable=True),
    Column("queued_at", UtcDateTime, nullable=True),
    Column("started_at", UtcDateTime, nullable=False),
    Column("heartbeat_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime, nullable=True),
    Column("state", String(20), nullable=False),  # running | succeeded | failed | skipped | interrupted
    Column("seconds", Float, nullable=True),
    Column("result", StorableJson, nullable=True),
    Column("error", StorableText, nullable=True),
    Column("report_path", StorableText, nullable=True),
    Index("ix_gengfu_run_job_started_at", "job", "started_at"),
)

slot = Table(
    "gengfu_slot",
    metadata,
    Column("job", String(100), primary_key=True),
    Column("due_at", UtcDateTime, primary_key=True),
    Column("state", String(20), nullable=False),  # planned | sent | running, then succeeded | failed | skipped | ...
    Column("attempt", Integer, nullable=False),
    Column("term", Integer, nullable=False),  # counts claims: a late owner can't close another one's run
    Column("planned_at", UtcDateTime, nullable=False),
    Column("not_before", UtcDateTime, nullable=True),  # a run that failed for a passing reason waits until then
    Column("sent_at", UtcDateTime, nullable=True),
    Column("owner", String(64), nullable=True),
    Column("lease_until", UtcDateTime, nullable=True),
    Column("run_id", String(32), nullable=True),
    Column("closed_at", UtcDateTime, nullable=True),
    Column("note", StorableText, nullable=True),
    # Serves every tick: what is open is a handful, however long the history.
    Index("ix_gengfu_slot_state_due_at", "state", "due_at"),
)

lease = Table(
    "gengfu_lease",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("term", Integer, nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Column("until", UtcDateTime, nullable=False),
    Column("host", String(200), nullable=False),
    Column("pid", Integer, nullable=False),
)

file_outbox = Table(
    "gengfu_file_outbox",
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("run_id", String(32), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # One row per deleted batch, its files packed as a JSON array: five paths a task then cost one insert.
    Column("files", Text, nullable=False),
    Column("file_count", Integer, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_at", UtcDateTime, nullable=False),
    Column("state", String(20), nullable=False),  # pending | stuck | trashed (moved aside until next_at)
    Column("rule", String(100), nullable=True),
    Column("reason", Text, nullable=True),  # why the last attempt failed
    Index("ix_gengfu_file_outbox_state_next_at", "state", "next_at"),
)

rule_run = Table(
    "gengfu_rule_run",
    metadata,
    # What one run of the clean-up did by one rule: the guards compare with it, `retention approve` signs it.
    Column("run_id", String(32), primary_key=True),
    Column("rule", String(100), primary_key=True),
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime, nullable=True),
    Column("cutoff", UtcDateTime, nullable=False),
    Column("state", String(20), nullable=False),  # running | done | budget | contended | partial | refused | held | ...
    Column("expired", BigInteger, nullable=True),  # rows that the rule covered before the first delete
    Column("table_rows", BigInteger, nullable=True),
    Column("rows", BigInteger, nullable=False, default=0),
    Column("children", BigInteger, nullable=False, default=0),
    Column("files", BigInteger, nullable=False, default=0),
    Column("bytes", BigInteger, nullable=False, default=0),
    Column("columns_seen", String(64), nullable=True),  # fingerprint of the mapped columns
    Column("rule_seen", StorableJson, nullable=True),  # the rule as it was configured
    Column("reasons", StorableJson, nullable=True),  # why it was held or refused
    Column("approved_at", UtcDateTime, nullable=True),
    Column("approved_by", String(200), nullable=True),
    Column("approval_used_by", String(32), nullable=True),  # the run that it let pass: an approval serves once
    Index("ix_gengfu_rule_run_rule_started_at", "rule", "started_at"),
)

archived_row = Table(
    "gengfu_archived_row",
    metadata,
    # One row per table and deleted batch, the deleted rows packed as a JSON array.
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("run_id", String(32), nullable=False),
    Column("rule", String(100), nullable=False),
    Column("table_name", Text, nullable=False),
    Column("is_child", Integer, nullable=False),  # parents are brought back first
    Column("rows", Text, nullable=False),
    Column("row_count", Integer, nullable=False),
    Column("archived_at", UtcDateTime, nullable=False),
    Column("purge_at", UtcDateTime, nullable=False),
    Index("ix_gengfu_archived_row_run_id", "run_id"),
    Index("ix_gengfu_archived_row_purge_at", "purge_at"),
)

daily_rollup = Table(
    "gengfu_daily_rollup",
    metadata,
    Column("day", Date, primary_key=True),
    Column("zone", String(64), primary_key=True),
    Column("schema_version", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("computed_at", UtcDateTime, nullable=False),
    Column("figures", StorableJson, nullable=False),
)

metric_sample = Table(
    "gengfu_metric_sample",
    metadata,
    Column("series", String(300), primary_key=True),
    Column("at", UtcDateTime, primary_key=True),
    Column("value", Float, nullable=False),
    # Serves the pruning: what is old is found without reading each series.
    Index("ix_gengfu_metric_sample_at", "at"),
)

alert_instance = Table(
    "gengfu_alert_instance",
    metadata,
    Column("fingerprint", String(16), primary_key=True),
    Column("rule", StorableText, nullable=False),  # outside:<source>/<rule> where no rule of ours found it
    Column("rule_hash", String(16), nullable=False),
    Column("alertname", StorableText, nullable=False),
    Column("type", StorableText, nullable=False),
    Column("labels", StorableJson, nullable=False),
    Column("annotations", StorableJson, nullable=False),
    Column("state", String(12), nullable=False),  # pending | firing | recovering | resolved
    Column("level", String(10), nullable=False),
    Column("value", Float, nullable=True),
    Column("threshold", Float, nullable=True),
    Column("samples", BigInteger, nullable=False),
    Column("message", StorableText, nullable=False),
    Column("pending_since", UtcDateTime, nullable=False),
    Column("fired_at", UtcDateTime, nullable=True),
    Column("resolved_at", UtcDateTime, nullable=True),
    Column("resolve_reason", StorableText, nullable=True),
    Column("last_bad_at", UtcDateTime, nullable=False),
    Column("last_seen_at", UtcDateTime, nullable=False),
    Column("good", Integer, nullable=False),  # good evaluations in a row
    Column("recent", String(64), nullable=False),  # the last evaluations, 1 for a bad one
    Column("episode", Integer, nullable=False),  # how often it has fired
    Column("changes", StorableJson, nullable=False),  # instants of the level changes of the last hour
    Column("flapping_since", UtcDateTime, nullable=True),
    Column("hold_s", Float, nullable=False),
    Column("acked_at", UtcDateTime, nullable=True),
    Column("acked_by", StorableText, nullable=True),
    Column("ack_until", UtcDateTime, nullable=True),
    Column("ack_level", String(10), nullable=True),
    Column("version", Integer, nullable=False),  # compared and set: two evaluators at once are safe
    Index("ix_gengfu_alert_instance_state", "state"),
    Index("ix_gengfu_alert_instance_rule", "rule"),
)

alert_event = Table(
    "gengfu_alert_event",
    metadata,
    # What became of each alert, never changed.
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("fingerprint", String(16), nullable=False),
    Column("episode", Integer, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("event", String(12), nullable=False),  # firing | escalated | eased | resolved | acked | ...
    Column("level", String(10), nullable=False),
    Column("value", Float, nullable=True),
    Column("message", StorableText, nullable=False),
    Column("by_whom", StorableText, nullable=True),
    Column("comment", StorableText, nullable=True),
    Index("ix_gengfu_alert_event_fingerprint_at", "fingerprint", "at"),
    Index("ix_gengfu_alert_event_at", "at"),
)

silence = Table(
    "gengfu_silence",
    metadata,
    Column("id", String(12), primary_key=True),
    Column("matchers", StorableJson, nullable=False),
    Column("starts_at", UtcDateTime, nullable=False),
    Column("ends_at", UtcDateTime, nullable=False),
    Column("recurrence", StorableJson, nullable=True),
    Column("author", StorableText, nullable=False),
    Column("comment", StorableText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime, nullable=True),  # ended by hand
    Index("ix_gengfu_silence_ends_at", "ends_at"),
)

notify_group = Table(
    "gengfu_notify_group",
    metadata,
    # What each channel was told of each group of alerts, and when it is to be told more.
    Column("channel", String(100), primary_key=True),
    Column("group_key", String(200), primary_key=True),
    Column("group_labels", StorableJson, nullable=False),
    Column("next_at", UtcDateTime, nullable=True),
    Column("last_sent_at", UtcDateTime, nullable=True),
    Column("told", StorableJson, nullable=False),  # fingerprint -> level, at, episode
    Column("version", Integer, nullable=False),
    Index("ix_gengfu_notify_group_next_at", "next_at"),
)

alert_outbox = Table(
    "gengfu_alert_outbox",
    metadata,
    # Written with what it tells of, marked once the channel said yes: at least once, never lost.
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("channel", String(100), nullable=False),
    Column("group_key", String(200), nullable=False),
    Column("kind", String(10), nullable=False),  # event | group | digest | test
    Column("level", String(10), nullable=False),
    Column("dedupe_key", String(200), nullable=False, unique=True),
    Column("payload", StorableJson, nullable=False),
    Column("state", String(12), nullable=False),  # pending | sent | dead | superseded
    Column("attempts", Integer, nullable=False, default=0),
    Column("created_at", UtcDateTime, nullable=False),
    Column("next_at", UtcDateTime, nullable=False),
    Column("lease_until", UtcDateTime, nullable=True),
    Column("lease_owner", String(64), nullable=True),
    Column("sent_at", UtcDateTime, nullable=True),
    Column("last_error", StorableText, nullable=True),
    Column("expires_at", UtcDateTime, nullable=False),  # a dead letter from then on
    Index("ix_gengfu_alert_outbox_state_next_at", "state", "next_at"),
    Index("ix_gengfu_alert_outbox_order", "channel", "group_key", "state", "id"),
)

service_state = Table(
    "gengfu_service_state",
    metadata,
    Column("key", String(200), primary_key=True),
    Column("value", StorableJson, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)
