"""Whether a rule's backlog grows from run to run: then the clean-up does not keep pace."""

from collections.abc import Mapping

from app.retention import stored_state
from app.retention.workplace import Workplace

_KEY = "retention:lag"


def note_lags(place: Workplace, lags: Mapping[str, float]) -> dict[str, int]:
    """Remember each rule's lag (hours) at the end of this run; return in how many runs in a row it has grown.

    Raises DatabaseUnavailable, DatabaseBusy.
    """
    with place.database.maintain() as connection:
        before = stored_state.get(connection, _KEY) or {}
        noted = {rule: {"lag": lag, "growing": _growing(before.get(rule), lag)} for rule, lag in lags.items()}
        stored_state.put(connection, _KEY, before | noted, place.clock.now())
    return {rule: int(state["growing"]) for rule, state in noted.items()}


def _growing(before: Mapping[str, float] | None, lag: float) -> int:
    return int(before["growing"]) + 1 if before is not None and lag > before["lag"] else 0
