"""All settings: one field for each capability's own class; defaults < TOML files < environment."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import tzlocal
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from sqlalchemy import URL

from app.alerts.settings import AlertSettings
from app.core.database import DatabaseSettings
from app.core.errors import SettingsError
from app.core.redaction import redact
from app.core.settings_file import Section, TomlTree, nearest, read_toml_files
from app.core.source_tables import SourceSettings
from app.health.settings import HealthSettings
from app.observability.settings import LoggingSettings
from app.reporting.settings import ReportingSettings
from app.reporting.words import Language
from app.retention.settings import RetentionSettings
from app.schedule.settings import ScheduleSettings
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

    timezone: str = ""
    """IANA name of the zone in which days and schedule times are meant; empty means the host's."""
    language: Language = "en"
    """Language of the report pages."""

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value or "UTC")
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"{value!r} is no IANA time zone such as Asia/Shanghai") from error
        return value

    @property
    def zone(self) -> ZoneInfo:
        """The zone meant, the host's where none is named."""
        return ZoneInfo(self.timezone or tzlocal.get_localzone_name() or "UTC")


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


class Settings(BaseSettings):
    """The program's settings. Made by `load`; every wrong or unknown key is refused there by name and place."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True
    )
    toml: ClassVar[TomlTree] = TomlTree()

    home: Path = Field(default=_PROJECT, exclude=True)
    general: GeneralSettings = Field(default_factory=GeneralSettings)
    database: DatabaseSettings = Field(default_factory=DatabaseSettings)
    broker: BrokerSettings = Field(default_factory=BrokerSettings)
    source: SourceSettings = Field(default_factory=SourceSettings)
    schedule: ScheduleSettings = Field(default_factory=ScheduleSettings)
    reporting: ReportingSettings = Field(default_factory=ReportingSettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    health: HealthSettings = Field(default_factory=HealthSettings)
    upkeep: UpkeepSettings = Field(default_factory=UpkeepSettings)
    alerts: AlertSettings = Field(default_factory=AlertSettings)
    logging: LoggingSettings = Field(default_factory=LoggingSettings)
    service: ServiceSettings = Field(default_factory=ServiceSettings)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over well-known names over TOML; no .env file is read."""
        return init_settings, env_settings, _AliasSource(settings_cls), _TomlSource(settings_cls)

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


class _AliasSource(PydanticBaseSettingsSource):
    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        raise NotImplementedError  # __call__ gives all values at once

    def __call__(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        if url := _url_from_parts(os.environ):
            values["database"] = {"url": url}
        for name, (section, key) in ALIASES.items():
            if text := os.environ.get(name, "").strip():
                value: Any = [part.strip() for part in text.split(",") if part.strip()] if name in _LISTS else text
                values.setdefault(section, {})[key] = value
        return values


class _TomlSource(PydanticBaseSettingsSource):
    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        raise NotImplementedError  # __call__ gives all values at once

    def __call__(self) -> dict[str, Any]:
        return dict(Settings.toml.values)


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
    Settings.toml = read_toml_files(folder / name for name in CONFIG_FILES)
    _refuse_unknown_sections(os.environ)
    try:
        return Settings(home=home_folder())
    except ValidationError as error:
        raise SettingsError("\n".join(_explained(error, Settings.toml))) from error
    except ValueError as error:  # a list or table in the environment that is no JSON
        names = ", ".join(sorted(name for name in os.environ if name.startswith(PREFIX) and name not in _RESERVED))
        raise SettingsError(f"{error}; write lists and tables as JSON in one of {names}") from error


def ignored_aliases(environment: Mapping[str, str]) -> list[str]:
    """Return names of the MONITORING_* and ALERT_* families that are set and mean nothing to this version."""
    known = {*ALIASES, *(f"MONITORING_DB_{part}" for part in _DATABASE_PARTS)}
    return sorted(n for n in environment if n.startswith(("MONITORING_", "ALERT_")) and n not in known)


def environment_name(location: tuple[str, ...]) -> str:
    """Return the environment variable that sets the key at `location`."""
    return PREFIX + "__".join(location).upper()


def _refuse_unknown_sections(environment: Mapping[str, str]) -> None:
    sections = [name for name in Settings.model_fields if name != "home"]
    for name in environment:
        if not name.startswith(PREFIX) or name in _RESERVED:
            continue
        section = name.removeprefix(PREFIX).split("__")[0].lower()
        if section not in sections:
            raise SettingsError(f"environment {name}: there is no section {section!r}{nearest(section, sections)}")


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


def _explained(error: ValidationError, tree: TomlTree) -> Iterator[str]:
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        location = problem["loc"]
        key = tuple(str(part) for part in location)
        where = _origin(key, tree) or "settings"
        if problem["type"] == "extra_forbidden":
            yield f"{where}: unknown key {'.'.join(key)}{_hint(key)}"
        else:
            yield f"{where}: {'.'.join(key)}: {problem['msg'].removeprefix('Value error, ')}"


def _origin(key: tuple[str, ...], tree: TomlTree) -> str | None:
    # A whole table may stand in one variable, as JSON.
    for length in range(len(key), 0, -1):
        if (name := environment_name(key[:length])) in os.environ:
            return f"environment {name}"
    aliases = [alias for alias, target in ALIASES.items() if target == key[:2] and os.environ.get(alias)]
    return f"environment {aliases[-1]}" if aliases else tree.place_of(key)


def _hint(key: tuple[str, ...]) -> str:
    kind: Any = Settings
    for part in key[:-1]:
        kind = _inside(kind, part)
    return nearest(key[-1], getattr(kind, "model_fields", {}))


def _inside(kind: Any, part: str) -> Any:
    """Return the type of a section's key, or of the entries of a table or list of sections."""
    fields = getattr(kind, "model_fields", None)
    if fields is None:
        entries = get_args(kind)
        return entries[-1] if entries else None
    return fields[part].annotation if part in fields else None


def shown(settings: Settings) -> dict[str, Any]:
    """Return the settings as plain values with every secret masked, for `config show`."""
    return {key: _masked(value) for key, value in settings.model_dump(mode="python").items()}


def _masked(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return redact(value.get_secret_value())
    if isinstance(value, dict):
        return {key: _masked(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value
