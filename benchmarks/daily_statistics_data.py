"""The data of `daily_statistics.py`: made by the database itself, the same on each run."""

from datetime import UTC, date, datetime, timedelta

from sqlalchemy import text

from app.core.database import Database, DatabaseSettings
from app.core.migrate import upgrade
from app.demo import schema

DAYS = 60
DAY = date(2026, 2, 20)
"""The day that is measured, in the midst of the others."""
ZONE = "Asia/Shanghai"
_FIRST = datetime(2026, 1, 8, 16, tzinfo=UTC)
_SOURCE = {
    "sqlite": "WITH RECURSIVE series(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM series WHERE n < :rows - 1)",
    "postgresql": "WITH series AS (SELECT n FROM generate_series(0::bigint, :rows - 1) AS n)",
}
# Half a microsecond is added so that all six digits differ from row to row.
_INSTANT = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', {0}, 'unixepoch') || substr(n % 1000 + 1000, 2)",
    "postgresql": "to_timestamp({0})",
}
_INSERT = """
    INSERT INTO tasks (id, task_id, task_type, status, created_at, started_at, completed_at, updated_at,
        processing_time, retry_count, error_message)
    {source}, row AS (
        SELECT n, n * 2654435761 % 1000003 / 1000003.0 AS u, n * 40503 % 65537 / 65537.0 AS v,
            CAST(:first AS FLOAT) + n * (CAST(:seconds AS FLOAT) / :rows) AS at
        FROM series
    )
    SELECT n + :id, 'task-' || (n + :id), 'receipt', {status}, {created}, {started},
        CASE WHEN u < 0.95 THEN {completed} END, {created}, v * v * 60,
        CASE WHEN u < 0.8 THEN 0 ELSE CAST(u * 100 AS INTEGER) % 4 END, {message}
    FROM row"""
_STATUS = """CASE WHEN u < 0.9 THEN 'completed' WHEN u < 0.95 THEN 'failed'
    WHEN u < 0.98 THEN 'pending' ELSE 'processing' END"""
_MESSAGE = """CASE WHEN u >= 0.9 AND u < 0.95 THEN
    CASE n % 5 WHEN 0 THEN '物流接口返回空轨迹' WHEN 1 THEN '二维码识别失败'
    ELSE '任务执行超时 ' || (n % 300) END END"""
_ONE = "'物流查询失败：' || 'the same message for all of them'"
_ALL = "'任务执行超时 ' || n || ': no two of these messages are the same'"


def build(url: str, tasks: int, messages: int) -> None:
    """Write `tasks` rows over 60 days, and twice `messages` failed ones: with one message, and all different."""
    database = Database(url, DatabaseSettings(deadline_s=7200))
    try:
        upgrade(database)
        with database.write() as connection:
            schema.metadata.create_all(connection)
        _write(database, 1, tasks, _FIRST, timedelta(days=DAYS), _STATUS, _MESSAGE)
        for place, message in ((0, _ONE), (2, _ALL)):
            first = datetime(2029, 12, 31, 16, tzinfo=UTC) + timedelta(days=place)
            _write(database, 10**9 * (place + 1), messages, first, timedelta(days=1), "'failed'", message)
    finally:
        database.dispose()


def _write(  # the statement's parts
    database: Database, number: int, rows: int, first: datetime, span: timedelta, status: str, message: str
) -> None:
    instant = _INSTANT[database.dialect]
    statement = _INSERT.format(
        source=_SOURCE[database.dialect],
        status=status,
        message=message,
        created=instant.format("at"),
        started=instant.format("at + v * 30"),
        completed=instant.format("at + v * 30 + v * v * 60"),
    )
    values = {"rows": rows, "id": number, "first": first.timestamp(), "seconds": span.total_seconds()}
    escaped = statement.replace("::", r"\:\:").replace("%H:%M:%f", r"%H\:%M\:%f")
    with database.write(deadline_s=7200) as connection:
        connection.execute(text(escaped), values)
