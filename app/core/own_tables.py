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

service_state = Table(
    "gengfu_service_state",
    metadata,
    Column("key", String(200), primary_key=True),
    Column("value", StorableJson, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)
