"""The program's own tables (prefix `gengfu_`). They stand in the database whose rows they account for."""

from sqlalchemy import JSON, BigInteger, Column, Date, Float, Index, Integer, MetaData, String, Table, Text

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
    Column("result", JSON, nullable=True),
    Column("error", Text, nullable=True),
    Column("report_path", Text, nullable=True),
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
    Column("note", Text, nullable=True),
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
    Column("state", String(20), nullable=False),  # pending | stuck
    Index("ix_gengfu_file_outbox_state_next_at", "state", "next_at"),
)

daily_rollup = Table(
    "gengfu_daily_rollup",
    metadata,
    Column("day", Date, primary_key=True),
    Column("zone", String(64), primary_key=True),
    Column("schema_version", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("computed_at", UtcDateTime, nullable=False),
    Column("figures", JSON, nullable=False),
)

service_state = Table(
    "gengfu_service_state",
    metadata,
    Column("key", String(200), primary_key=True),
    Column("value", JSON, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)
