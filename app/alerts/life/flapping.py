"""Alerts that come and go: one message says so, then they are left alone until they keep their level.

The hold follows Netdata: half as long again with each flap, up to an hour.
"""

from datetime import datetime, timedelta
from typing import Any

from app.alerts.life.instance import Instance

FLAPS, FLAP_WINDOW = 4, timedelta(hours=1)
FIRST_HOLD_S, HOLD_FACTOR, LONGEST_HOLD_S = 300.0, 1.5, 3600.0


def held_until(instance: Instance) -> datetime | None:
    """Return until when a flapping alert is held back; None for one that does not flap."""
    if instance.flapping_since is None or not instance.changes:
        return None
    return instance.changes[-1] + timedelta(seconds=instance.hold_s)


def level_changed(seen: Instance, at: datetime) -> dict[str, Any]:
    """Count a change of level: the fourth within an hour begins flapping, each further one lengthens the hold."""
    calm = calmed_by(seen, at)
    changes = (*(each for each in seen.changes if abs(at - each) < FLAP_WINDOW), at)
    hold_s = seen.hold_s if len(changes) > 1 else 0.0
    since = calm.get("flapping_since", seen.flapping_since)
    if since is not None or len(changes) >= FLAPS:
        since = since or at
        hold_s = min(hold_s * HOLD_FACTOR or FIRST_HOLD_S, LONGEST_HOLD_S)
    return {"changes": changes, "flapping_since": since, "hold_s": hold_s}


def calmed_by(seen: Instance, at: datetime) -> dict[str, Any]:
    """Return what changes where a flapping alert has kept its level for as long as it is held."""
    until = held_until(seen)
    if until is None:
        return {}
    # No hold is that long: the clock was set back.
    over = at >= until or (until - at).total_seconds() > LONGEST_HOLD_S
    return {"flapping_since": None} if over else {}
