"""`[upkeep]`: the jobs that look after the application's tasks and its database."""

import string
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from app.core.settings_file import Section


class UpkeepSettings(Section):
    """`[upkeep]`."""

    pending_minutes: int = Field(default=60, ge=1, le=525_600)
    """A pending task created longer ago than this is overdue."""
    pending_warning: int = Field(default=100, ge=0)
    """Warn when more tasks than this are overdue."""

    processing_minutes: int = Field(default=120, ge=1, le=525_600)
    """A task that has been processing for longer than this has timed out."""
    timeout_action: Literal["report", "fail"] = "report"
    """`report` only counts timed-out tasks; `fail` also sets them to failed, with the reason as error message."""

    tracking_url: SecretStr = SecretStr("")
    """Address asked for the state of a parcel, with `{tracking_number}` in it; empty: tracking is off."""
    tracking_timeout_s: float = Field(default=5, gt=0, le=60)
    tracking_batch: int = Field(default=200, ge=1, le=10_000)
    """Receipts asked about in one run; the next run goes on behind them."""
    tracking_status_field: str = Field(default="status", min_length=1)
    """Where the answer holds the state; dots lead into nested objects, as in `data.state`."""
    tracking_statuses: dict[str, str] = Field(default={})
    """The service's words -> the application's; a word not listed is refused. Empty: words are taken as they are."""

    backup_folder: Path = Path("var/backups")
    """Where backups go; relative to the program's home."""
    backup_keep: int = Field(default=7, ge=1, le=1000)
    """Backups kept, the newest ones."""
    backup_timeout_s: int = Field(default=3600, ge=10, le=86_400)
    """Seconds until a running `pg_dump` is given up."""

    @field_validator("tracking_url")
    @classmethod
    def _usable_address(cls, value: SecretStr) -> SecretStr:
        if address := value.get_secret_value():
            _check_address(address)
        return value


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
