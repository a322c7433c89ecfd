"""`[upkeep]`: the jobs that look after the application's tasks and its database."""

import string
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta, field

from app.core.secret import Secret
from app.core.settings_file import Check, Section


def _check_address(address: str) -> None:
    """Raise ValueError without the address itself: it may hold a key."""
    try:
        names = {name for _, name, _, _ in string.Formatter().parse(address) if name is not None}
        parts = urlsplit(address.replace("{tracking_number}", "0"))
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        names, usable = set(), False
    if names != {"tracking_number"} or "{tracking_number}" not in address:
        raise ValueError(
            "needs {tracking_number}, and no other word in braces, such as https://host/t/{tracking_number}"
        )
    if not usable or "{" in urlsplit(address).netloc:
        raise ValueError("is no http or https address with a fixed host")


def _usable_address(value: Secret) -> Secret:
    if address := value.get_secret_value():
        _check_address(address)
    return value


class UpkeepSettings(Section):
    """`[upkeep]`."""

    pending_minutes: Annotated[int, Meta(ge=1, le=525_600)] = 60
    """A pending task created longer ago than this is overdue."""
    pending_warning: Annotated[int, Meta(ge=0)] = 100
    """Warn when more tasks than this are overdue."""

    processing_minutes: Annotated[int, Meta(ge=1, le=525_600)] = 120
    """A task that has been processing for longer than this has timed out."""
    timeout_action: Literal["report", "fail"] = "report"
    """`report` only counts timed-out tasks; `fail` also sets them to failed, with the reason as error message."""

    tracking_url: Annotated[Secret, Check(_usable_address)] = Secret()
    """Address asked for the state of a parcel, with `{tracking_number}` in it; empty: tracking is off."""
    tracking_timeout_s: Annotated[float, Meta(gt=0, le=60)] = 5
    tracking_batch: Annotated[int, Meta(ge=1, le=10_000)] = 200
    """Receipts asked about in one run; the next run goes on behind them."""
    tracking_status_field: Annotated[str, Meta(min_length=1)] = "status"
    """Where the answer holds the state; dots lead into nested objects, as in `data.state`."""
    tracking_statuses: dict[str, str] = field(default_factory=dict)
    """The service's words -> the application's; a word not listed is refused. Empty: words are taken as they are."""

    backup_folder: Path = Path("var/backups")
    """Where backups go; relative to the program's home."""
    backup_keep: Annotated[int, Meta(ge=1, le=1000)] = 7
    """Backups kept, the newest ones."""
    backup_timeout_s: Annotated[int, Meta(ge=10, le=86_400)] = 3600
    """Seconds until a running `pg_dump` is given up."""
