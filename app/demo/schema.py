"""The application's tables under their default names (the mapping's defaults describe exactly these)."""

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text

from app.core.utc_datetime import UtcDateTime

metadata = MetaData()

_KEY = BigInteger().with_variant(Integer(), "sqlite")

tasks = Table(
    "tasks",
    metadata,
    Column("id", _KEY, primary_key=True),
    Column("task_id", String(64), unique=True, nullable=False),
    Column("task_type", String(64), nullable=False),
    Column("status", String(20), nullable=False),
    Column("tracking_number", String(64)),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("completed_at", UtcDateTime),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("processing_time", Float),
    Column("retry_count", Integer, nullable=False, default=0),
    Column("error_message", Text),
    Column("image_path", Text),
    Column("document_path", Text),
    Column("screenshot_path", Text),
    Index("ix_tasks_created_at", "created_at"),
    # Serves the clean-up: one status, oldest first.
    Index("ix_tasks_status_completed_at_id", "status", "completed_at", "id"),
)

delivery_receipts = Table(
    "delivery_receipts",
    metadata,
    Column("id", _KEY, primary_key=True),
    Column("task_id", BigInteger, ForeignKey("tasks.id")),
    Column("tracking_number", String(64)),
    Column("status", String(20), nullable=False),
    Column("qr_code_path", Text),
    Column("barcode_path", Text),
    Column("delivery_receipt_doc_path", Text),
    Column("tracking_screenshot_path", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    # Without it each deleted task scans all receipts.
    Index("ix_delivery_receipts_task_id", "task_id"),
)
