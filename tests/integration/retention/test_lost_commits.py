"""A connection that dies at its COMMIT: what was committed is counted, what was not is not, and each once."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from network import Streams, Upstream, proxied, tcp, unix
from sqlalchemy import make_url, select

from app.core.clock import ManualClock
from app.core.database import Database, DatabaseSettings
from app.core.errors import DatabaseBusy, DatabaseUnavailable
from app.core.migrate import upgrade
from app.core.own_tables import rule_run
from app.retention import stored_state
from app.retention.tally import Tally

_COUNTS = (b"gengfu_service_state SET value", b"INTO gengfu_service_state")


class Swallower:
    """Ends the connection of the n-th transaction that counts something, at its COMMIT."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self.at: set[int] = set()
        """Which of them, from 1."""
        self.is_done = True
        """The COMMIT reaches the server, and only the answer is lost."""
        self.seen = 0

    async def __call__(self) -> Streams:
        reader, writer = await self._upstream()
        link = _Link(self, reader, writer)
        return cast("Streams", (link, link))

    def strikes(self) -> bool:
        self.seen += 1
        return self.seen in self.at


class _Link:
    """Reader and writer of one connection to the server."""

    def __init__(self, swallower: Swallower, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._swallower = swallower
        self._reader = reader
        self._writer = writer
        self._counts = self._is_struck = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def write(self, data: bytes) -> None:
        self._counts = self._counts or any(words in data for words in _COUNTS)
        if self._counts and b"COMMIT" in data:
            self._counts = False
            self._is_struck = self._swallower.strikes()
        if self._is_struck and not self._swallower.is_done:
            self._writer.close()
        else:
            self._writer.write(data)

    async def read(self, most: int) -> bytes:
        data = await self._reader.read(most)
        return b"" if self._is_struck else data


@pytest.fixture
def swallower(empty_postgres: str) -> Swallower:
    url = make_url(empty_postgres)
    folder, port = str(url.query.get("host", url.host or "127.0.0.1")), url.port or 5432
    upstream = unix(str(Path(folder) / f".s.PGSQL.{port}")) if folder.startswith("/") else tcp(port)
    return Swallower(upstream)


@pytest.fixture
def database(empty_postgres: str, swallower: Swallower) -> Iterator[Database]:
    """A PostgreSQL database reached through the proxy."""
    with proxied(swallower) as proxy:
        url = make_url(empty_postgres).set(host="127.0.0.1", port=proxy.port).difference_update_query(["host"])
        made = Database(url.render_as_string(hide_password=False), DatabaseSettings(connect_timeout_s=2))
        upgrade(made)
        yield made
        made.dispose()


def furnish(lab: Any) -> None:
    lab.with_settings(batch_size=3)
    for number in range(9):
        task = lab.task(days=40 + number, image_path=lab.file("uploads", f"图{number}.jpg"))
        lab.receipt(task)


def figures(told: dict[str, Any]) -> tuple[int, ...]:
    return tuple(told[key] for key in ("tasks_cleaned", "receipts_cleaned", "files_cleaned", "files_already_gone"))


def recorded(lab: Any, rule: str = "completed") -> tuple[int, int]:
    with lab.database.read() as connection:
        row = connection.execute(select(rule_run).where(rule_run.c.rule == rule)).one()
    return row.rows, row.children


# Three batches of rows, one transaction that condemns their files and one that counts them.
@pytest.mark.parametrize("lost", [{1}, {2}, {3}, {4}, {5}, {1, 2, 3, 4, 5}])
def test_a_batch_whose_answer_was_lost_is_counted_and_the_run_goes_on(
    lab: Any, swallower: Swallower, lost: set[int]
) -> None:
    furnish(lab)
    swallower.seen, swallower.at = 0, lost
    result = lab.run()
    assert swallower.seen >= max(lost)
    assert (result.state, result.document["errors"]) == ("done", [])
    assert figures(result.document) == (9, 9, 9, 0)
    assert (recorded(lab), lab.tasks(), lab.outbox(), lab.on_disk()) == ((9, 9), set(), [], set())
    swallower.at = set()
    assert figures(lab.document("r2")) == (0, 0, 0, 0)


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_batch_that_was_not_committed_is_not_counted_and_goes_in_the_next_run(
    lab: Any, swallower: Swallower, lost: int
) -> None:
    furnish(lab)
    swallower.seen, swallower.at, swallower.is_done = 0, {lost}, False
    first = lab.run()
    gone = 3 * (lost - 1)
    assert (first.state, figures(first.document)) == ("failed", (gone, gone, gone, 0))
    assert (recorded(lab), len(lab.tasks())) == ((gone, gone), 9 - gone)
    assert figures(lab.document("r2")) == (9 - gone, 9 - gone, 9 - gone, 0)


def test_what_can_not_be_looked_up_at_once_is_looked_up_later(
    lab: Any, swallower: Swallower, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(lab)
    swallower.seen, swallower.at = 0, {2}
    monkeypatch.setattr(Tally, "_is_settled_at_once", lambda _tally: False)
    told = lab.document()
    assert (told["rules"][0]["state"], told["rules"][0]["rows"]) == ("failed", 6)
    assert figures(told) == (6, 6, 6, 0)
    assert recorded(lab) == (6, 6)
    assert figures(lab.document("r2")) == (3, 3, 3, 0)


@pytest.mark.parametrize("lost", [1, 2, 3, 4])
def test_old_files_are_counted_once_whichever_answer_was_lost(
    lab: Any, swallower: Swallower, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    """Three batches that are condemned, and the count of the last."""
    monkeypatch.setattr("app.retention.sweep._TOGETHER", 1)
    monkeypatch.setattr(Tally, "_is_settled_at_once", lambda _tally: False)
    for number in range(3):
        lab.aged("temp", f"旧{number}.tmp", days=3)
    swallower.seen, swallower.at = 0, {lost}
    first = lab.document()
    assert (first["state"], swallower.seen >= lost) == ("failed", True)
    swallower.at = set()
    assert lab.document("r2")["temp_files_cleaned"] + first["temp_files_cleaned"] == 3
    assert lab.on_disk() == set()


def test_what_can_not_be_looked_up_at_all_is_left_to_the_next_report(
    lab: Any, swallower: Swallower, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(lab)
    swallower.seen, swallower.at = 0, {2}

    def unknown(_tally: Tally) -> bool:
        raise DatabaseUnavailable("不知道")

    with monkeypatch.context() as patch:
        patch.setattr(Tally, "_settle", lambda tally: unknown(tally) if tally._in_doubt else False)
        told = lab.document()
    assert (told["state"], told["carried_forward"], told["tasks_cleaned"]) == ("failed", True, 3)
    told = lab.document("r2")
    assert figures(told) == (9, 9, 9, 0)
    assert told["carried_over"]["counts"]["tasks"] == 6


def test_a_writer_that_has_not_ended_is_waited_for(lab: Any, clock: ManualClock) -> None:
    """It may still commit: its row must not be read as it was."""
    with lab.database.write() as writer:
        stored_state.put(writer, "新", {"n": 1}, clock.now())
        with pytest.raises(DatabaseBusy), lab.database.maintain() as connection:
            stored_state.get_settled(connection, "新")
    with lab.database.maintain() as connection:
        assert stored_state.get_settled(connection, "新") == {"n": 1}
