"""Ask a parcel service about receipts that are still on their way."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import structlog
from sqlalchemy import Connection, Select, select, update
from sqlalchemy.exc import DBAPIError

from app.core.clock import Clock
from app.core.database import Database
from app.core.own_tables import service_state
from app.core.redaction import redact
from app.core.source_tables import SourceTable, SourceTables
from app.upkeep.settings import UpkeepSettings
from app.upkeep.tracking_service import TrackingFailed, TrackingService

STOP_AFTER = 5
"""Failures in a row after which the service is taken to be down."""
_ERRORS_SHOWN = 20
_CURSOR = "upkeep.tracking_cursor"
_NEEDED = ("tracking_number", "status")
_log = structlog.get_logger("gengfu.upkeep")


_Receipt = tuple[int, str, str]
"""Id, the status it had when we looked, tracking number."""
Outcome = Literal["updated", "unchanged", "changed_meanwhile", "failed"]


@dataclass(kw_only=True)
class _Tally:
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    failures_in_a_row: int = 0
    last_id: int | None = None
    errors: list[dict[str, Any]] = field(default_factory=list)

    @property
    def stopped(self) -> bool:
        return self.failures_in_a_row >= STOP_AFTER

    def count(self, receipt: int, outcome: Outcome) -> None:
        self.outcomes[outcome] += 1
        self.failures_in_a_row = self.failures_in_a_row + 1 if outcome == "failed" else 0
        self.last_id = receipt

    def fail(self, receipt: int, why: str) -> None:
        self.count(receipt, "failed")
        if len(self.errors) < _ERRORS_SHOWN:
            self.errors.append({"receipt": receipt, "why": why})


def update_pending_tracking(
    database: Database, source: SourceTables, settings: UpkeepSettings, clock: Clock
) -> dict[str, Any]:
    """Ask the tracking service about the next `tracking_batch` open receipts and store what changed.

    Returns success, receipts_checked, receipts_updated, unchanged, changed_meanwhile (the application was quicker; left
    alone), failed, errors [{receipt, why}] (at most 20), stopped_early (five failures in a row). One failure does not
    stop the rest; `success` is false when the service seems down: stopped early, or every question failed.
    Where it has nothing to do, `skipped` says why. Raises DatabaseUnavailable, DatabaseBusy, SchemaMismatch.
    """
    if skipped := _why_not(source, settings):
        return {"success": True, "skipped": skipped}
    receipts = source.receipts
    assert receipts is not None  # noqa: S101 - `_why_not` has seen to it
    rows = _next_receipts(database, receipts, source.open_receipts, settings.tracking_batch)
    tally = _Tally()
    try:
        with TrackingService(settings, clock) as service:
            _ask_all(database, receipts, rows, service, tally, clock)
    finally:
        _remember(database, tally.last_id, clock.now())
    return _result(tally)


def _why_not(source: SourceTables, settings: UpkeepSettings) -> str | None:
    if not settings.tracking_url.get_secret_value():
        return "no tracking service is configured; set [upkeep] tracking_url"
    if source.receipts is None:
        return "there is no receipt table; name it in [source.receipts] table"
    if absent := [logical for logical in _NEEDED if not source.receipts.has(logical)]:
        return f"the receipt table has no {absent[0]}; map it in [source.receipts.columns]"
    return None


def _result(tally: _Tally) -> dict[str, Any]:
    checked, failed = tally.outcomes.total(), tally.outcomes["failed"]
    result = {
        "success": not tally.stopped and not (failed and failed == checked),
        "receipts_checked": checked,
        "receipts_updated": tally.outcomes["updated"],
        "unchanged": tally.outcomes["unchanged"],
        "changed_meanwhile": tally.outcomes["changed_meanwhile"],
        "failed": failed,
        "errors": tally.errors,
        "stopped_early": tally.stopped,
    }
    if tally.outcomes["updated"] or failed:
        _log.info("tracking_updated", checked=checked, updated=tally.outcomes["updated"], failed=failed)
    return result


def _next_receipts(
    database: Database, receipts: SourceTable, open_statuses: Sequence[str], batch: int
) -> list[_Receipt]:
    """Return the receipts behind those of the last run; at the end it begins anew, so that none waits for ever."""
    columns = receipts.table.c
    wanted = (
        select(columns.id, columns.status, columns.tracking_number)
        .where(columns.status.in_(open_statuses), columns.tracking_number.is_not(None), columns.tracking_number != "")
        .order_by(columns.id)
    )
    with database.read() as connection:
        cursor = _cursor(connection)
        if cursor is None:
            return _rows(connection, wanted.limit(batch))
        rows = _rows(connection, wanted.where(columns.id > cursor).limit(batch))
        if len(rows) < batch:
            rows += _rows(connection, wanted.where(columns.id <= cursor).limit(batch - len(rows)))
        return rows


def _rows(connection: Connection, statement: Select[Any]) -> list[_Receipt]:
    # SQLite may hold a number where the column says text.
    return [(row[0], row[1], str(row[2])) for row in connection.execute(statement)]


def _cursor(connection: Connection) -> int | None:
    value = connection.execute(select(service_state.c.value).where(service_state.c.key == _CURSOR)).scalar()
    return value if isinstance(value, int) else None


def _remember(database: Database, last_id: int | None, now: datetime) -> None:
    if last_id is None:
        return
    values = {"value": last_id, "updated_at": now}
    with database.write() as connection:
        stored = connection.execute(update(service_state).where(service_state.c.key == _CURSOR).values(values))
        if not stored.rowcount:
            connection.execute(service_state.insert().values(key=_CURSOR, **values))


def _ask_all(
    database: Database,
    receipts: SourceTable,
    rows: Sequence[_Receipt],
    service: TrackingService,
    tally: _Tally,
    clock: Clock,
) -> None:
    for receipt, old, number in rows:
        try:
            new = service.status_of(number)
            unchanged = new == old
            stored = "unchanged" if unchanged else _store(database, receipts, (receipt, old, new), clock.now())
            tally.count(receipt, stored)
        except TrackingFailed as error:
            tally.fail(receipt, str(error))
        except DBAPIError as error:
            # Such as a word longer than the column, this receipt's matter only; an outage is no DBAPIError any more.
            tally.fail(receipt, redact(" ".join(str(error.orig).split())))
        if tally.stopped:
            return


def _store(database: Database, receipts: SourceTable, change: tuple[int, str, str], now: datetime) -> Outcome:
    receipt, old, new = change
    columns = receipts.table.c
    values: dict[Any, Any] = {columns.status: new}
    if receipts.has("updated_at"):
        values[columns.updated_at] = now
    statement = update(receipts.table).where(columns.id == receipt, columns.status == old).values(values)
    with database.maintain() as connection:
        return "updated" if connection.execute(statement).rowcount else "changed_meanwhile"
