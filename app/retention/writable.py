"""Whether this database may be cleaned at all, and how far its replicas are behind."""

from sqlalchemy import Connection, text

from app.core.errors import DatabaseRefused

_READ_ONLY = text("SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'on'")
# Roles without pg_monitor see the rows, but NULL in them.
_LAG = text("SELECT max(extract(epoch FROM replay_lag)) FROM pg_stat_replication")


def require_writable(connection: Connection) -> None:
    """Raise DatabaseRefused on a replica, and where the server or the role is set to read only."""
    if connection.dialect.name != "postgresql":
        return
    in_recovery, read_only = connection.execute(_READ_ONLY).one()
    if in_recovery:
        raise DatabaseRefused(
            "this server is a replica (pg_is_in_recovery); the clean-up must run on the primary: check DATABASE_URL"
        )
    if read_only:
        raise DatabaseRefused(
            "default_transaction_read_only is on for this server, database or role; nothing is deleted. "
            "Switch it off for the role that cleans up: ALTER ROLE ... SET default_transaction_read_only = off"
        )


def replay_lag_s(connection: Connection) -> float:
    """Return the seconds by which the slowest replica is behind; 0 without replicas, or where we may not see them."""
    if connection.dialect.name != "postgresql":
        return 0.0
    return float(connection.execute(_LAG).scalar() or 0.0)
