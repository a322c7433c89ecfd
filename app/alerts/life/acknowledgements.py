"""Acknowledgements: somebody takes care of an alert, and nobody is told of it again until it ends or gets worse."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from app.alerts.life import instance_rows
from app.alerts.life.instance import Instance, Transition
from app.core.clock import Clock
from app.core.database import Database
from app.core.errors import BadArgument, DatabaseBusy
from app.core.own_tables import alert_instance

ACK_FOR = timedelta(hours=24)
"""How long an acknowledgement holds unless somebody says otherwise."""
_SHORTEST = 4
_LONGEST_TEXT = 500
_ATTEMPTS = 5

Announce = Callable[[Connection, Sequence[Transition], datetime], None]


class Acknowledgements:
    """Acknowledges alerts. May raise the errors of `Database`."""

    def __init__(self, database: Database, clock: Clock, announce: Announce) -> None:
        """`announce` is that of the `Announcer`: the log files record who took care."""
        self._database = database
        self._clock = clock
        self._announce = announce

    def ack(self, fingerprint: str, *, by: str, comment: str = "", lasts: timedelta = ACK_FOR) -> Instance:
        """Acknowledge an open alert, named by its fingerprint or the first digits of it, and return it.

        Raises BadArgument where there is no such open alert, or more than one, or nobody says who it is.
        """
        who = " ".join(by.split())[:_LONGEST_TEXT]
        if not who:
            raise BadArgument("an acknowledgement needs a name: others will ask who takes care")
        if lasts <= timedelta(0):
            raise BadArgument(f"an acknowledgement for {lasts} is over at once; give it some time")
        for _ in range(_ATTEMPTS):
            with self._database.write() as connection:
                acked = self._acked(_open(connection, fingerprint), who, lasts)
                if instance_rows.write(connection, [acked]):
                    self._tell(connection, acked, who, " ".join(comment.split())[:_LONGEST_TEXT])
                    return acked
        raise DatabaseBusy(f"alert {fingerprint} was changed by others each time; try again")

    def _acked(self, instance: Instance, by: str, lasts: timedelta) -> Instance:
        now = self._clock.now()
        return instance.but(
            acked_at=now,
            acked_by=by,
            ack_until=now + lasts,
            ack_level=instance.level,
            version=instance.version + 1,
        )

    def _tell(self, connection: Connection, acked: Instance, by: str, comment: str) -> None:
        now = self._clock.now()
        transition = Transition(instance=acked, event="acked", at=now, before=acked.level)
        instance_rows.append_events(connection, [transition], by_whom=by, comment=comment or None)
        self._announce(connection, [transition], now)


def _open(connection: Connection, fingerprint: str) -> Instance:
    found = [one for one in _named(connection, fingerprint) if one.is_open]
    if len(found) == 1:
        return found[0]
    if found:
        more = ", ".join(one.fingerprint for one in found[:3])
        raise BadArgument(f"{fingerprint!r} begins the fingerprints of {len(found)} alerts, such as {more}; write more")
    raise BadArgument(f"no open alert has the fingerprint {fingerprint!r}; `gengfu alerts list` shows them")


def _named(connection: Connection, fingerprint: str) -> list[Instance]:
    if not fingerprint.isalnum() or len(fingerprint) < _SHORTEST:
        raise BadArgument(f"{fingerprint!r} is no fingerprint; write its first {_SHORTEST} digits at least")
    return instance_rows.load(connection, alert_instance.c.fingerprint.startswith(fingerprint.lower(), autoescape=True))
