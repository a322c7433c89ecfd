"""Bring the program's own tables to the version this code expects."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from app.core.database import Database
from app.core.errors import SchemaMismatch

VERSION_TABLE = "gengfu_alembic_version"
HEAD = "0005"
_SCRIPTS = Path(__file__).parent / "migrations"


def upgrade(database: Database) -> str | None:
    """Create or upgrade the own tables; return the version they had before (None: there were none)."""
    # Imported here: Alembic costs a tenth of a second that no other command should pay.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    with database.write() as connection:
        _serialise_upgrades(connection)
        before = current_version(connection)
        if before != HEAD:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        return before


def current_version(connection: Connection) -> str | None:
    """Return the version of the own tables, or None where there are none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 - a constant


def require_head(connection: Connection) -> None:
    """Raise SchemaMismatch unless the own tables are at the version this code expects."""
    version = current_version(connection)
    if version != HEAD:
        mend = "run `gengfu db upgrade`" if version is None or version < HEAD else "install the newer Gengfu"
        raise SchemaMismatch(f"Gengfu's own tables are at version {version or 'none'}, not {HEAD}; {mend}")


def is_behind(connection: Connection) -> bool:
    """Tell whether the own tables are missing or of an earlier version than this code's."""
    version = current_version(connection)
    return version is None or version < HEAD  # four digits each


def _serialise_upgrades(connection: Connection) -> None:
    # Worker, beat and shell may start at once; SQLite's BEGIN IMMEDIATE already makes them queue.
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('gengfu_upgrade'))"))
