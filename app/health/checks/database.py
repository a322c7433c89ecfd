"""Whether the database answers and has all that the program needs."""

from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from app.core.clock import Clock
from app.core.database import Database
from app.core.errors import GengfuError
from app.core.migrate import HEAD, current_version
from app.core.redaction import redact
from app.core.source_tables import SourceTables, missing_parts

_DEADLINE_S = 5.0


def check_database(database: Database, source: SourceTables, clock: Clock) -> dict[str, Any]:
    """Ask SELECT 1 and look for the mapped tables and our own; never raises.

    `version` of the server, `latency_ms` of the first answer (connecting included), `own_tables` version, `missing`
    (one line each). Status `critical` where there is no answer or something is missing.
    """
    asked = clock.monotonic()
    try:
        with database.read(deadline_s=_DEADLINE_S) as connection:
            connection.execute(text("SELECT 1")).scalar_one()
            latency_ms = round((clock.monotonic() - asked) * 1000, 2)
            return {"url": database.display_url, "latency_ms": latency_ms, **_inventory(connection, source)}
    except (GengfuError, SQLAlchemyError) as error:
        detail = redact(" ".join(str(error).split()))
        return {"status": "critical", "detail": detail, "url": database.display_url}


def _inventory(connection: Connection, source: SourceTables) -> dict[str, Any]:
    version = _server_version(connection)
    own = current_version(connection)
    missing = missing_parts(connection, source)
    if own != HEAD:
        missing.append(f"Gengfu's own tables are at version {own or 'none'}, not {HEAD}; run `gengfu db upgrade`")
    return {
        "status": "critical" if missing else "ok",
        "detail": missing[0] if missing else f"{connection.dialect.name} {version} answers",
        "version": version,
        "own_tables": own,
        "missing": missing,
    }


def _server_version(connection: Connection) -> str:
    statement = "SELECT sqlite_version()" if connection.dialect.name == "sqlite" else "SHOW server_version"
    return str(connection.execute(text(statement)).scalar_one())
