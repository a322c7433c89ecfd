"""The sample application's rows: one task's life, and the receipt that may come of it."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from math import exp
from random import Random
from typing import NamedTuple
from zoneinfo import ZoneInfo

from app.demo import texts
from app.demo.arrivals import arrivals

_TASK_TYPES = ("recognize_qr_code", "query_tracking", "generate_document", "delivery_receipt")
# Median seconds of each type, as the logarithm that a log-normal distribution wants.
_LOG_MEDIAN = (1.1, 1.8, 2.5, 3.2)
_SPREAD = 0.8
_MEAN_WAIT_S = 12.0
_FAILED, _CANCELLED = 0.065, 0.022
_NO_MESSAGE = 0.01
_WITH_PARCEL = 0.8
_WAITING = 0.5  # of the open ones; the others are being processed
_WITH_RECEIPT = 0.6
# The share of tasks that name files; about 0.65 files a task follow from it.
_WITH_FILES = 0.24
_FILES_OF_TASK = {"image_path": 1.0, "document_path": 0.8, "screenshot_path": 0.35}
_FILES_OF_RECEIPT = {
    "qr_code_path": 0.5,
    "barcode_path": 0.3,
    "delivery_receipt_doc_path": 0.4,
    "tracking_screenshot_path": 0.3,
}
_TWO_HOURS, _ONE_DAY, _THREE_DAYS = timedelta(hours=2), timedelta(days=1), timedelta(days=3)


class TaskRow(NamedTuple):
    """One row of `tasks`, its columns in the table's order (a tuple: a million of them are made)."""

    id: int
    task_id: str
    task_type: str
    status: str
    tracking_number: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    updated_at: datetime
    processing_time: float | None
    retry_count: int
    error_message: str | None
    image_path: str | None = None
    document_path: str | None = None
    screenshot_path: str | None = None


class ReceiptRow(NamedTuple):
    """One row of `delivery_receipts`, its columns in the table's order."""

    id: int
    task_id: int | None
    tracking_number: str | None
    status: str
    qr_code_path: str | None
    barcode_path: str | None
    delivery_receipt_doc_path: str | None
    tracking_screenshot_path: str | None
    created_at: datetime
    updated_at: datetime


class Story(NamedTuple):
    """A task, its receipt if it has one, and whether the files they name exist."""

    task: TaskRow
    receipt: ReceiptRow | None
    on_disk: bool


class _Life(NamedTuple):
    status: str
    started_at: datetime | None = None
    completed_at: datetime | None = None
    processing_time: float | None = None
    retry_count: int = 0
    error_message: str | None = None


class StoryTeller:
    """Tells ordinary stories; the same random numbers, instant and zone tell the same ones again.

    `failing` names the local days on which another share of the tasks fails (0-1).
    """

    def __init__(
        self, random: Random, now: datetime, zone: ZoneInfo, failing: Mapping[date, float] | None = None
    ) -> None:
        self._random = random
        self._now = now
        self._zone = zone
        self._failing = failing or {}
        self._receipts = 0

    def stories(self, tasks: int) -> Iterator[Story]:
        """Yield `tasks` stories, oldest first, ids from 1."""
        for number, created in enumerate(arrivals(tasks, self._random, self._now, self._zone), 1):
            yield self._story(number, created)

    def _story(self, number: int, created: datetime) -> Story:
        draw = self._random.random
        kind = int(draw() * 4)
        parcel = texts.parcel_number(self._random) if draw() < _WITH_PARCEL else None
        life = self._life(created, kind, parcel)
        task_id = f"{self._random.getrandbits(128):032x}"
        files = draw() < _WITH_FILES
        task = TaskRow(
            number,
            task_id,
            _TASK_TYPES[kind],
            life.status,
            parcel,
            created,
            life.started_at,
            life.completed_at,
            life.completed_at or life.started_at or created,
            life.processing_time,
            life.retry_count,
            life.error_message,
            *(self._paths(_FILES_OF_TASK, task_id, created, life.status) if files else ()),
        )
        has_receipt = life.status == "completed" and draw() < _WITH_RECEIPT
        return Story(task, self._receipt(task, files=files) if has_receipt else None, files)

    def _life(self, created: datetime, kind: int, parcel: str | None) -> _Life:
        draw = self._random.random
        started = created + timedelta(seconds=self._random.expovariate(1 / _MEAN_WAIT_S))
        seconds = exp(self._random.gauss(_LOG_MEDIAN[kind], _SPREAD))
        finished = started + timedelta(seconds=seconds)
        if finished > self._now or draw() < _share_open(self._now - created):
            return _open(started, self._now, waits=draw() < _WAITING)
        fate = draw()
        if fate < _CANCELLED:
            return _Life("cancelled", completed_at=finished)
        if fate < _CANCELLED + self._failed_share(created):
            message = None if draw() < _NO_MESSAGE else texts.error_message(self._random, parcel)
            return _Life("failed", started, finished, seconds, min(3, int(draw() * 6)), message)
        return _Life("completed", started, finished, seconds, _retries(draw()))

    def _failed_share(self, created: datetime) -> float:
        if not self._failing:
            return _FAILED
        return self._failing.get(created.astimezone(self._zone).date(), _FAILED)

    def _receipt(self, task: TaskRow, *, files: bool) -> ReceiptRow:
        draw = self._random.random
        self._receipts += 1
        created = task.completed_at or task.updated_at
        status = _receipt_status(draw(), recent=self._now - created < _THREE_DAYS)
        qr_code, barcode, document, screenshot = (
            self._paths(_FILES_OF_RECEIPT, task.task_id, created, task.status) if files else (None,) * 4
        )
        return ReceiptRow(
            self._receipts,
            task.id,
            task.tracking_number or texts.parcel_number(self._random),
            status,
            qr_code,
            barcode,
            document,
            screenshot,
            created,
            min(self._now, created + timedelta(days=3 * draw())),
        )

    def _paths(self, shares: dict[str, float], task_id: str, at: datetime, status: str) -> tuple[str | None, ...]:
        """Return a path or None for each column; only the picture exists before a task has completed."""
        draw = self._random.random
        day = at.astimezone(self._zone).strftime("%Y/%m/%d")
        done = status == "completed"
        return tuple(
            f"{day}/{texts.file_name(self._random, column, task_id)}"
            if draw() < share and (done or share == 1.0)
            else None
            for column, share in shares.items()
        )


def _open(started: datetime, now: datetime, *, waits: bool) -> _Life:
    if waits or started > now:
        return _Life("pending")
    return _Life("processing", started)


def _share_open(age: timedelta) -> float:
    """Return the share of tasks not settled at this age; the last ones are stuck for good."""
    if age < _TWO_HOURS:
        return 0.4
    if age < _ONE_DAY:
        return 0.08
    return 0.004


def _retries(drawn: float) -> int:
    if drawn < 0.92:  # noqa: PLR2004 - nine in ten need no second attempt
        return 0
    return 1 + int((drawn - 0.92) * 3 / 0.08)


def _receipt_status(drawn: float, *, recent: bool) -> str:
    if recent:
        return ("pending", "in_transit", "in_transit", "delivered")[int(drawn * 4)]
    if drawn < 0.02:  # noqa: PLR2004 - parcels that never arrive
        return "in_transit"
    return "delivered" if drawn < 0.97 else "returned"  # noqa: PLR2004 - three in a hundred come back
