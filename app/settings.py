"""All settings: one field for each capability's own class; defaults < TOML files < environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import field
from sqlalchemy import URL

from app.alerts.settings import AlertSettings
from app.core.database import DatabaseSettings
from app.core.errors import SettingsError
from app.core.settings_file import EnvironmentText, Section, TomlTree, nearest, read_toml_files
from app.core.settings_reader import Location, keys_of, kind_below, plain, read, unfolded
from app.core.source_tables import SourceSettings
from app.health.settings import HealthSettings
from app.observability.settings import LoggingSettings
from app.reporting.settings import ReportingSettings
from app.reporting.words import Language
from app.retention.settings import RetentionSettings
from app.schedule.settings import ScheduleSettings, ZoneName
from app.service.settings import BrokerSettings, ServiceSettings
from app.upkeep.settings import UpkeepSettings

PREFIX = "GENGFU_"
CONFIG_FILES = ("settings.toml", "retention.toml", "alert_rules.toml")
_PROJECT = Path(__file__).resolve().parent.parent
# Read by `load` itself and by no section.
_RESERVED = frozenset({"GENGFU_HOME", "GENGFU_CONFIG"})

ALIASES: dict[str, tuple[str, ...]] = {
    "DATABASE_URL": ("database", "url"),
    "REDIS_URL": ("broker", "url"),
    "CELERY_BROKER_URL": ("broker", "url"),
    "CELERY_RESULT_BACKEND": ("broker", "result_backend"),
    "MONITORING_ENABLED": ("schedule", "enabled"),
    "MONITORING_INTERVAL": ("health", "interval_s"),
    "MONITORING_COLLECTION_INTERVAL": ("health", "interval_s"),
    "MONITORING_LOG_LEVEL": ("logging", "level"),
    "ALERT_ENABLED": ("alerts", "enabled"),
    "ALERT_CHANNELS": ("alerts", "channels"),
}
"""Well-known environment names and the settings they stand for; where two name the same one, the later row wins."""
_DATABASE_PARTS = ("HOST", "PORT", "NAME", "USER", "PASSWORD")
_LISTS = frozenset({"ALERT_CHANNELS"})


class GeneralSettings(Section):
    """`[general]`."""

    timezone: ZoneName = ""
    """IANA name of the zone in which days and schedule times are meant; empty means the host's."""
    language: Language = "en"
    """Language of the report pages."""

    @property
    def zone(self) -> ZoneInfo:
        """The zone meant, the host's where none is named."""
        return ZoneInfo(self.timezone or _host_zone())


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Where the program writes: everything below `home` (GENGFU_HOME)."""

    home: Path

    @property
    def daily_reports(self) -> Path:
        return self.home / "reports" / "daily"

    @property
    def weekly_reports(self) -> Path:
        return self.home / "reports" / "weekly"

    @property
    def monthly_reports(self) -> Path:
        return self.home / "reports" / "monthly"

    @property
    def alert_reports(self) -> Path:
        return self.home / "reports" / "alerts"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def var(self) -> Path:
        return self.home / "var"

    def below_home(self, path: Path) -> Path:
        """Return `path`, taken from `home` where it is relative."""
        return path if path.is_absolute() else self.home / path


class Settings(Section):
    """The program's settings. Made by `load`; every wrong or unknown key is refused there by name and place."""

    home: Path = _PROJECT
    general: GeneralSettings = field(default_factory=GeneralSettings)
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    broker: BrokerSettings = field(default_factory=BrokerSettings)
    source: SourceSettings = field(default_factory=SourceSettings)
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    reporting: ReportingSettings = field(default_factory=ReportingSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    health: HealthSettings = field(default_factory=HealthSettings)
    upkeep: UpkeepSettings = field(default_factory=UpkeepSettings)
    alerts: AlertSettings = field(default_factory=AlertSettings)
    logging: LoggingSettings = field(default_factory=LoggingSettings)
    service: ServiceSettings = field(default_factory=ServiceSettings)

    @property
    def paths(self) -> Paths:
        return Paths(home=self.home)

    @property
    def zone(self) -> ZoneInfo:
        return self.general.zone

    @property
    def database_url(self) -> str:
        """The configured address, or the embedded SQLite file's."""
        return self.database.url.get_secret_value() or f"sqlite:///{self.paths.var / 'gengfu.db'}"

    @property
    def embedded_database(self) -> bool:
        return not self.database.url.get_secret_value()


def _host_zone() -> str:
    import tzlocal  # noqa: PLC0415 - not where the settings name a zone

    return tzlocal.get_localzone_name() or "UTC"


def home_folder() -> Path:
    """Return the folder below which reports/, logs/ and var/ stand: GENGFU_HOME, else the checkout.

    Installed without a checkout it is the present folder: nothing is written beside the installed packages.
    """
    if named := os.environ.get("GENGFU_HOME", "").strip():
        return Path(named).expanduser().resolve()
    return _PROJECT if (_PROJECT / "pyproject.toml").exists() else Path.cwd()


def config_folder() -> Path:
    """Return the folder of TOML files: GENGFU_CONFIG, or `config/` of the checkout."""
    named = os.environ.get("GENGFU_CONFIG", "").strip()
    return Path(named).expanduser().resolve() if named else _PROJECT / "config"


def shipped_config() -> Path:
    """Return the folder of the TOML files that come with the program; they hold every default."""
    return _PROJECT / "config"


def load() -> Settings:
    """Read the settings. Raises SettingsError with one line for each wrong or unknown value."""
    folder = config_folder()
    if os.environ.get("GENGFU_CONFIG") and not folder.is_dir():
        raise SettingsError(
            f"GENGFU_CONFIG names {folder}, which is no folder; make one with `gengfu config create {folder}`"
        )
    toml = read_toml_files(folder / name for name in CONFIG_FILES)
    environment = _Environment(os.environ)
    values = _merged(_merged(toml.values, environment.alias_values()), environment.values())
    return read(Settings, values | {"home": home_folder()}, lambda key: _place(key, environment, toml))


def ignored_aliases(environment: Mapping[str, str]) -> list[str]:
    """Return names of the MONITORING_* and ALERT_* families that are set and mean nothing to this version."""
    known = {*ALIASES, *(f"MONITORING_DB_{part}" for part in _DATABASE_PARTS)}
    return sorted(n for n in environment if n.startswith(("MONITORING_", "ALERT_")) and n not in known)


def environment_name(location: tuple[str, ...]) -> str:
    """Return the environment variable that sets the key at `location`."""
    return PREFIX + "__".join(location).upper()


class _Environment:
    """The settings that stand in the environment. Raises SettingsError for a section that does not exist."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.names: dict[Location, str] = {}
        sections = [name for name in keys_of(Settings) if name != "home"]
        for name in environment:
            if not name.upper().startswith(PREFIX) or name.upper() in _RESERVED:
                continue
            key = tuple(name[len(PREFIX) :].lower().split("__"))
            if key[0] not in sections:
                raise SettingsError(f"environment {name}: there is no section {key[0]!r}{nearest(key[0], sections)}")
            self.names[key] = name

    def values(self) -> dict[str, Any]:
        """What `GENGFU_<SECTION>__<KEY>` say; a table in one variable gives way to its keys in others."""
        values: dict[str, Any] = {}
        for key in sorted(self.names, key=len):
            values = _merged(values, _tree(key, _unfolded(key, self._environment[self.names[key]])))
        return values

    def alias_values(self) -> dict[str, Any]:
        """What the well-known names say."""
        values: dict[str, Any] = {}
        if url := _url_from_parts(self._environment):
            values["database"] = {"url": url}
        for name, (section, key) in ALIASES.items():
            if text := self._environment.get(name, "").strip():
                parts = [part.strip() for part in text.split(",") if part.strip()]
                values.setdefault(section, {})[key] = parts if name in _LISTS else EnvironmentText(text)
        return values

    def place_of(self, key: Location) -> str | None:
        """The variable in which `key` stands, alone or, as JSON, with all of its table."""
        for length in range(len(key), 0, -1):
            if key[:length] in self.names:
                return f"environment {self.names[key[:length]]}"
        aliases = [alias for alias, target in ALIASES.items() if target == key[:2] and self._environment.get(alias)]
        return f"environment {aliases[-1]}" if aliases else None

    def place_below(self, key: Location) -> str | None:
        """A variable that sets something below `key`."""
        return next((f"environment {name}" for one, name in self.names.items() if one[: len(key)] == key), None)


def _place(key: Location, environment: _Environment, toml: TomlTree) -> str:
    found = environment.place_of(key) or toml.places.get(key) or environment.place_below(key)
    return found or toml.place_of(key) or "settings"


def _merged(values: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tree `values` with what `over` says laid over it, table by table."""
    merged = dict(values)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _tree(key: Location, value: Any) -> dict[str, Any]:
    for part in reversed(key):
        value = {part: value}
    return dict(value)


def _unfolded(key: Location, text: str) -> Any:
    """Return the table or list that a variable holds as JSON; what can't be read is left for the reader to refuse."""
    kind: Any = Settings
    for part in key:
        kind = kind_below(kind, part)
    try:
        return unfolded(kind, EnvironmentText(text))
    except ValueError:
        return EnvironmentText(text)


def _url_from_parts(environment: Mapping[str, str]) -> str:
    parts = {part: environment.get(f"MONITORING_DB_{part}", "").strip() for part in _DATABASE_PARTS}
    if not parts["HOST"]:
        return ""
    if parts["PORT"] and not parts["PORT"].isdecimal():
        raise SettingsError(f"MONITORING_DB_PORT={parts['PORT']!r} is no port number")
    url = URL.create(
        "postgresql",
        username=parts["USER"] or None,
        password=parts["PASSWORD"] or None,
        host=parts["HOST"],
        port=int(parts["PORT"]) if parts["PORT"] else None,
        database=parts["NAME"] or None,
    )
    return url.render_as_string(hide_password=False)


def shown(settings: Settings) -> dict[str, Any]:
    """Return the settings as plain values with every secret masked, for `config show`."""
    values: dict[str, Any] = plain(settings)
    return {key: value for key, value in values.items() if key != "home"}
