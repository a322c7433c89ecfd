"""The composition root: the one place where the program's real parts are put together."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from app import settings as settings_module
from app.core.clock import Clock, SystemClock
from app.core.database import Database
from app.core.migrate import is_behind, require_head, upgrade
from app.core.source_tables import SourceTables, map_source_tables, require_source
from app.retention.settings import LOGS
from app.schedule.runs import RunHistory
from app.service.broker_address import broker_url
from app.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Context:
    """What every use case works with. Nothing is connected before it is used."""

    settings: Settings
    clock: Clock
    database: Database
    source: SourceTables
    history: RunHistory
    due_at: datetime | None = None
    """The instant the schedule meant, where a slot is being worked off; otherwise the use case asks the clock."""
    run_id: str = ""
    queue_meter: Callable[[], Mapping[str, Any]] | None = None
    """Counts waiting messages where only a Celery process can (RabbitMQ); see `check_broker`."""
    _prepared: list[bool] = field(default_factory=list, repr=False)

    @property
    def zone(self) -> ZoneInfo:
        return self.settings.zone

    @property
    def now(self) -> datetime:
        """The instant this work is about: the slot's, or the present."""
        return self.due_at or self.clock.now()

    @property
    def broker_url(self) -> str:
        """The configured broker's address, or the embedded one's."""
        url = self.settings.broker.url.get_secret_value() or broker_url(self.settings.paths.var)
        # Valkey speaks Redis's protocol, and kombu knows it by that name only.
        return url.replace("valkey", "redis", 1) if url.startswith("valkey") else url

    @property
    def roots(self) -> Mapping[str, Path]:
        """The configured retention roots as absolute paths."""
        return {name: path for name, path in self.folders.items() if name in self.settings.retention.roots}

    @property
    def folders(self) -> Mapping[str, Path]:
        """The roots and our own log folder (`logs`), which is cleaned like them."""
        # Imported here, as below: reading the schedule needs no safe deletion.
        from app.retention.roots import root_folders  # noqa: PLC0415

        return root_folders(self.settings.retention, self.settings.paths.below_home, self.settings.paths.logs)

    def prepare_own_tables(self) -> None:
        """Make sure our own tables are there; the embedded database is brought up to date by itself, a server's not.

        Raises SchemaMismatch saying `gengfu db upgrade` where that is for the operator to do.
        """
        if self._prepared:
            return
        with self.database.read() as connection:
            outdated = self.settings.embedded_database and is_behind(connection)
            if not outdated:
                require_head(connection)
        if outdated:
            upgrade(self.database)
        self._prepared.append(True)

    def mark_log_folder(self) -> None:
        """Mark our own log folder as one to clean: the program made it, nobody need be asked. Raises RootRefused."""
        from app.retention.roots import init_roots  # noqa: PLC0415

        init_roots(self.database, self.folders, self.clock, [LOGS])

    def prepare_database(self) -> None:
        """Make sure that our own and the application's tables are there. Raises SchemaMismatch naming what is not."""
        self.prepare_own_tables()
        with self.database.read() as connection:
            require_source(connection, self.source)


def make_context(
    settings: Settings | None = None,
    clock: Clock | None = None,
    queue_meter: Callable[[], Mapping[str, Any]] | None = None,
) -> Context:
    """Wire the real parts. Raises SettingsError. The caller disposes of the database; `open_context` does so itself."""
    chosen = settings or settings_module.load()
    ticking = clock or SystemClock()
    database = Database(chosen.database_url, chosen.database)
    return Context(
        settings=chosen,
        clock=ticking,
        database=database,
        source=map_source_tables(chosen.source),
        history=RunHistory(database),
        queue_meter=queue_meter,
    )


@contextmanager
def open_context(settings: Settings | None = None, clock: Clock | None = None) -> Iterator[Context]:
    """Wire the real parts for one command and close their connections at its end. Raises SettingsError."""
    context = make_context(settings, clock)
    try:
        yield context
    finally:
        context.database.dispose()
