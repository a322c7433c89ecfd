"""Settings: defaults < TOML < environment, and every mistake is told with its place."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli import gengfu
from app.core.errors import SettingsError
from app.settings import CONFIG_FILES, Settings, ignored_aliases, load, shipped_config, shown


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "配置"
    folder.mkdir()
    monkeypatch.setenv("GENGFU_CONFIG", str(folder))
    return folder


def test_without_files_and_environment_the_defaults_hold(config: Path) -> None:
    settings = load()
    assert settings.embedded_database
    assert settings.database_url == f"sqlite:///{settings.paths.var / 'gengfu.db'}"
    assert settings.retention.completed_tasks_days == 30
    assert config.is_dir()


def test_the_shipped_files_say_exactly_the_defaults(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = shown(load())
    monkeypatch.setenv("GENGFU_CONFIG", str(shipped_config()))
    shipped = shown(load())
    # Spelling out a column under its own name is the same as not naming it.
    for kind in ("tasks", "receipts"):
        columns = shipped["source"][kind].pop("columns")
        assert all(logical == physical for logical, physical in columns.items())
        defaults["source"][kind].pop("columns")
    assert json.loads(json.dumps(shipped, default=str)) == json.loads(json.dumps(defaults, default=str))
    assert config.is_dir()


def test_a_file_wins_over_the_default_and_the_environment_over_the_file(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (config / "settings.toml").write_text('[general]\ntimezone = "Asia/Shanghai"\n[database]\nlock_timeout_s = 2\n')
    assert str(load().zone) == "Asia/Shanghai"
    monkeypatch.setenv("GENGFU_GENERAL__TIMEZONE", "Europe/Berlin")
    settings = load()
    assert str(settings.zone) == "Europe/Berlin"
    assert settings.database.lock_timeout_s == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[general]\n\ntimezone = "Mars/Olympus"\n', ["settings.toml:3", "general.timezone", "Mars/Olympus"]),
        ('[general]\ntimezon = "UTC"\n', ["settings.toml:2", "unknown key general.timezon", '"timezone"']),
        ("[databse]\nurl = ''\n", ["settings.toml:1", "unknown key databse", '"database"']),
        ("[database]\nlock_timeout_s = -1\n", ["settings.toml:2", "database.lock_timeout_s"]),
        ("[broken\n", ["settings.toml", "line 1"]),
        ("[schedule.jobs.cleanup-logs]\ncron = '61 * * * *'\n", ["settings.toml:2", "61 * * * *", "@every"]),
        ("[schedule.jobs.cleanup-logs]\ncron = '0 0 1 * * *'\n", ["settings.toml:2", "6 fields"]),
        ("[source.tasks.columns]\nstatuss = 'x'\n", ["settings.toml", "statuss", '"status"']),
        ("[source.tasks.columns]\nstatus = ''\n", ["settings.toml", "'status' can't be left out"]),
        ("[broker]\nurl = 'kafka://user:geheim@h'\n", ["settings.toml:2", "broker.url", "redis://"]),
    ],
)
def test_a_wrong_line_is_refused_with_file_line_and_advice(config: Path, text: str, told: list[str]) -> None:
    (config / "settings.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as refused:
        load()
    for part in told:
        assert part in str(refused.value)
    assert "geheim" not in str(refused.value)


def test_every_wrong_line_is_told_at_once(config: Path) -> None:
    (config / "settings.toml").write_text("[general]\ntimezone = 5\n[database]\nconnect_timeout_s = 0\n")
    with pytest.raises(SettingsError) as refused:
        load()
    assert len(str(refused.value).splitlines()) == 2


def test_the_same_key_in_two_files_is_refused(config: Path) -> None:
    (config / "settings.toml").write_text('[general]\ntimezone = "UTC"\n')
    (config / "retention.toml").write_text('[general]\ntimezone = "UTC"\n')
    with pytest.raises(SettingsError, match=r"retention\.toml sets general\.timezone again"):
        load()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("GENGFU_GENERL__TIMEZONE", "UTC", '"general"'),
        ("GENGFU_GENERAL__TIMEZONN", "UTC", "environment GENGFU_GENERAL__TIMEZONN: unknown key"),
        ("GENGFU_DATABASE__LOCK_TIMEOUT_S", "soon", "environment GENGFU_DATABASE__LOCK_TIMEOUT_S"),
        ("MONITORING_LOG_LEVEL", "LOUD", "environment MONITORING_LOG_LEVEL"),
        ("MONITORING_ENABLED", "perhaps", "environment MONITORING_ENABLED"),
        ("ALERT_CHANNELS", "log_files,pigeon", "pigeon"),
        ("GENGFU_CONFIG", "/nowhere/at/all", "is no folder"),
    ],
)
def test_a_wrong_environment_name_or_value_is_refused_by_name(
    config: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load()
    assert told in str(refused.value)
    assert config.is_dir()


def test_a_table_in_one_variable_its_keys_in_others_and_the_files_are_laid_over_each_other(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (config / "settings.toml").write_text("[health]\ncpu_percent = 50\n[health.disk]\nwarning_percent = 60\n")
    monkeypatch.setenv("GENGFU_HEALTH__DISK__CRITICAL_PERCENT", "97")
    monkeypatch.setenv("GENGFU_HEALTH", '{"memory_percent": 70, "disk": {"critical_percent": 95, "mounts": ["/数据"]}}')
    health = load().health
    assert (health.cpu_percent, health.memory_percent, health.disk.warning_percent) == (50, 70, 60)
    assert (health.disk.critical_percent, health.disk.mounts) == (97, (Path("/数据"),))


def test_a_well_known_name_wins_over_the_file_and_gives_way_to_ours(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (config / "settings.toml").write_text("[logging]\nlevel = 'ERROR'\nconsole = 'off'\n")
    monkeypatch.setenv("MONITORING_LOG_LEVEL", "debug")
    assert (load().logging.level, load().logging.console) == ("DEBUG", "off")
    monkeypatch.setenv("gengfu_logging__level", "warning")
    assert load().logging.level == "WARNING"


def test_entries_of_a_table_can_be_set_one_by_one(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (config / "retention.toml").write_text("[retention.roots.uploads]\naliases = ['/app/uploads']\n")
    monkeypatch.setenv("GENGFU_RETENTION__ROOTS__UPLOADS__PATH", "/srv/上传")
    monkeypatch.setenv("GENGFU_RETENTION__RULES__OWN__KEEP", "30d")
    monkeypatch.setenv("GENGFU_RETENTION__RULES__OWN__TABLE", "jobs")
    monkeypatch.setenv("GENGFU_RETENTION__RULES__OWN__FINISHED", "123")
    retention = load().retention
    assert (retention.roots["uploads"].path, retention.roots["uploads"].aliases) == (
        Path("/srv/上传"),
        ["/app/uploads"],
    )
    assert (retention.rules["own"].keep, retention.rules["own"].finished) == (timedelta(days=30), "123")


def test_numbers_of_a_file_are_no_texts(config: Path) -> None:
    (config / "settings.toml").write_text('[database]\nconnect_timeout_s = "5"\n')
    with pytest.raises(SettingsError, match=r"settings\.toml:2: database\.connect_timeout_s: '5' is no whole number"):
        load()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("GENGFU_DATABASE__URLL__X", "1", 'GENGFU_DATABASE__URLL__X: unknown key database.urll (did you mean "url"?)'),
        ("GENGFU_DATABASE", "redis://:geheim@h", "GENGFU_DATABASE: database: a text is no table"),
        ("GENGFU_SERVICE__WORKERS", '[{"name": "a"', "GENGFU_SERVICE__WORKERS: service.workers: is no JSON (Input"),
        ("GENGFU_BROKER__URL", "kafka://:geheim@h", "GENGFU_BROKER__URL: broker.url: 'kafka://:***@h' is no broker"),
        ("GENGFU_RETENTION__TEMP_ROOTS", '["tmp"]', "GENGFU_RETENTION__TEMP_ROOTS: retention: temp_roots names 'tmp'"),
    ],
)
def test_a_wrong_variable_is_named_whole(
    config: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load()
    assert str(refused.value).startswith(f"environment {told}")
    assert "geheim" not in str(refused.value)
    assert config.is_dir()


def test_the_seeds_names_are_aliases(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "MONITORING_ENABLED": "false",
        "MONITORING_INTERVAL": "45",
        "MONITORING_LOG_LEVEL": "debug",
        "MONITORING_DB_HOST": "db",
        "MONITORING_DB_PORT": "5433",
        "MONITORING_DB_NAME": "监控",
        "MONITORING_DB_USER": "u",
        "MONITORING_DB_PASSWORD": "p@ss/word",
        "ALERT_CHANNELS": "log_files, console",
        "REDIS_URL": "redis://a:6379/0",
        "CELERY_BROKER_URL": "redis://b:6379/0",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load()
    assert not settings.schedule.enabled
    assert settings.health.interval_s == 45
    assert settings.logging.level == "DEBUG"
    assert settings.broker.url.get_secret_value() == "redis://b:6379/0"
    assert settings.alerts.channels == ("log_files", "console")
    assert settings.database_url.startswith("postgresql://u:p%40ss%2Fword@db:5433/")
    assert config.is_dir()


def test_names_of_the_seeds_that_mean_nothing_are_told() -> None:
    assert ignored_aliases({"MONITORING_SMTP_HOST": "x", "MONITORING_ENABLED": "1"}) == ["MONITORING_SMTP_HOST"]


def test_secrets_are_shown_nowhere(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:geheim1@127.0.0.1/d")
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://:geheim2@127.0.0.1:6379/0")
    settings = load()
    runner = CliRunner()
    shown_text = runner.invoke(gengfu, ["config", "show"]).output + runner.invoke(gengfu, ["config", "check"]).output
    assert "127.0.0.1" in shown_text
    assert "geheim" not in shown_text + repr(settings) + str(settings)
    assert config.is_dir()


def test_config_create_writes_files_that_load_and_keeps_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "neu"
    runner = CliRunner()
    assert runner.invoke(gengfu, ["config", "create", str(folder)]).exit_code == 0
    assert sorted(p.name for p in folder.iterdir()) == sorted(CONFIG_FILES)
    (folder / "settings.toml").write_text("# mine\n")
    assert runner.invoke(gengfu, ["config", "create", str(folder)]).exit_code == 5
    assert (folder / "settings.toml").read_text() == "# mine\n"
    monkeypatch.setenv("GENGFU_CONFIG", str(folder))
    assert isinstance(load(), Settings)


def test_config_create_names_the_file_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    result = CliRunner().invoke(gengfu, ["config", "create", str(tmp_path / "taken" / "neu")])
    assert (result.exit_code, result.output.startswith("error: can't write ")) == (1, True)
    assert str(tmp_path / "taken" / "neu" / "settings.toml") in result.output


def test_a_wrong_setting_ends_a_command_with_one_line_and_exit_2(config: Path) -> None:
    (config / "settings.toml").write_text("[general]\ntimezone = 'Mars'\n")
    result = CliRunner().invoke(gengfu, ["config", "check"])
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert len(result.output.strip().splitlines()) == 1
