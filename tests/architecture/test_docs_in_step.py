"""The docs name what there is, and nothing that there is not."""

import json
import re
import typing
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click
import pytest
from msgspec import NODEFAULT
from msgspec.structs import FieldInfo

from app.alerts.alert import Alert
from app.alerts.channels import known_channels
from app.alerts.facts import SOURCES
from app.alerts.notices.day_summary import Entry
from app.alerts.rules.default_rules import DEFAULT_RULES
from app.cli import gengfu
from app.context import open_context
from app.core.clock import local_day_window
from app.core.errors import ExitCode
from app.core.measures import age_text
from app.core.own_tables import metadata
from app.core.secret import Secret
from app.core.settings_file import Section
from app.core.settings_reader import keys_of as settings_of
from app.core.source_tables import RECEIPT_COLUMNS, TASK_COLUMNS
from app.jobs import look_at_disks
from app.observability.structured_logs import ROLE_FILES
from app.reporting.facts import Facts
from app.reporting.figures import DayDetails, DayFigures, Spread, day_figures, slots_of
from app.reporting.rollups import rollup_of
from app.reporting.sections import build_sections
from app.reporting.trend import PastDay, trend_analysis
from app.retention.report import Facts as CleanupFacts
from app.retention.report import result_of
from app.service.settings import QUEUES
from app.settings import ALIASES, CONFIG_FILES, Settings, environment_name
from celery_beat_manager import manager
from tasks.registry import Job, all_jobs

PROJECT = Path(__file__).resolve().parents[2]
DOCS = PROJECT / "docs"
READMES = (PROJECT / "README.md", PROJECT / "README.zh-CN.md")
PAGES = (*READMES, PROJECT / "CHANGELOG.md", PROJECT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md")))
MOST_LINES = 120

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```\w*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"`([^`\n]+)`")
_WORDS = r"[ ]+([a-z][a-z-]*)(?:[ ]+([a-z][a-z-]*))?"
# Where a command stands: at the start of its line, behind a prompt, variables, a path.
_START = r"(?:^|&& )(?:\$ )?(?:ExecStart=)?(?:[A-Z_]+=\S+ )*(?:[\w./]*/)?"
_GENGFU = re.compile(rf"{_START}(?:gengfu|python -m app){_WORDS}", re.MULTILINE)
_MANAGER = re.compile(rf"celery_beat_manager\.py{_WORDS}")
_MAKE = re.compile(r"(?:^|[`(]|&& )make ([a-z]+)\b", re.MULTILINE)


def name_of(page: Path) -> str:
    return page.relative_to(PROJECT).as_posix()


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def reference(name: str) -> str:
    return text_of(DOCS / "reference" / f"{name}.md")


def section(text: str, heading: str) -> str:
    """Return what stands under a heading, up to the next one of its rank or above; empty where there is none."""
    rank = heading.partition(" ")[0]
    lines = iter(text.splitlines())
    for line in lines:
        if line == heading or line.startswith(f"{heading} "):
            break
    found: list[str] = []
    for line in lines:
        if re.match(rf"#{{1,{len(rank)}}} ", line):
            break
        found.append(line)
    return "\n".join(found)


def code_of(text: str) -> str:
    """Return what the page shows as code: fenced and indented blocks, and spans, each on its line."""
    fenced = _FENCE.findall(text)
    rest = _FENCE.sub("", text)
    indented = [line.strip() for line in rest.splitlines() if line.startswith("    ")]
    return "\n".join([*fenced, *indented, *_SPAN.findall(rest)])


# Commands


def commands(group: click.Group, *above: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command that does something, with its words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, *above, name)
        else:
            yield (*above, name), command


COMMANDS = {
    " ".join((program, *words)): command
    for program, group in (("gengfu", gengfu), ("celery_beat_manager.py", manager))
    for words, command in commands(group)
}


def heading_of(command: str) -> str:
    lines = [line for line in reference("commands").splitlines() if re.match(rf"### `{re.escape(command)}[ `]", line)]
    return lines[0] if lines else f"### `{command}`"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_stands_in_the_reference(command: str) -> None:
    told = section(reference("commands"), heading_of(command))
    assert told, f"docs/reference/commands.md has no section for {command}"
    options = [param for param in COMMANDS[command].params if isinstance(param, click.Option)]
    missing = [name for option in options for name in option.opts if f"`{name}" not in told]
    assert missing == []


def test_the_reference_names_no_option_that_does_not_exist() -> None:
    for command, found in COMMANDS.items():
        known = {name for param in found.params for name in param.opts}
        told = re.findall(r"^\| `(--[a-z-]+)", section(reference("commands"), heading_of(command)), re.MULTILINE)
        assert set(told) <= known, command


def test_every_exit_code_stands_in_the_reference() -> None:
    told = section(reference("commands"), "## Exit codes")
    assert [code for code in ExitCode if f"| {int(code)} |" not in told] == []


def unknown_gengfu(code: str) -> Iterator[str]:
    context = click.Context(gengfu)
    for noun, verb in _GENGFU.findall(code):
        command = gengfu.get_command(context, noun)
        if command is None:
            yield f"gengfu {noun}"
        elif isinstance(command, click.Group) and verb and verb not in command.commands:
            yield f"gengfu {noun} {verb}"


def unknown_manager(code: str) -> Iterator[str]:
    for verb, _ in _MANAGER.findall(code):
        if verb not in manager.commands:
            yield f"celery_beat_manager.py {verb}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_line_that_is_shown_exists(page: Path) -> None:
    code = code_of(text_of(page))
    assert [*unknown_gengfu(code), *unknown_manager(code)] == []


def test_an_invented_command_line_would_be_seen() -> None:
    code = code_of("    gengfu roots wipe\n\n`/opt/bin/gengfu rots`\n\n```sh\npython celery_beat_manager.py nap\n```\n")
    assert sorted([*unknown_gengfu(code), *unknown_manager(code)]) == [
        "celery_beat_manager.py nap",
        "gengfu roots wipe",
        "gengfu rots",
    ]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", text_of(PROJECT / "Makefile"), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_make_target_that_is_shown_exists(page: Path) -> None:
    shown = set(_MAKE.findall(code_of(text_of(page)).replace("$ make", "make")))
    assert shown <= make_targets()


def test_every_make_target_stands_in_the_reference() -> None:
    assert [target for target in make_targets() if f"`make {target}`" not in reference("commands")] == []


# Settings


def bare(annotation: Any) -> Any:
    """Return the type itself of an annotated one."""
    return annotation.__origin__ if hasattr(annotation, "__metadata__") else annotation


def section_in(annotation: Any) -> type[Section] | None:
    """Return the class of the entries of a list or table of sections."""
    inner = [one for one in typing.get_args(annotation) if isinstance(one, type) and issubclass(one, Section)]
    return inner[0] if inner else None


def settings(model: type[Section], above: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield every key with its dots: NAME for the entries of a table, [] for those of a list."""
    for name, field in settings_of(model).items():
        kind, key = bare(field.type), f"{above}{name}"
        inner = section_in(kind)
        if isinstance(kind, type) and issubclass(kind, Section):
            yield from settings(kind, f"{key}.")
        elif inner is not None:
            yield from settings(inner, f"{key}[]." if typing.get_origin(kind) in {tuple, list} else f"{key}.NAME.")
        elif key != "home":
            yield key, field


SETTINGS = dict(settings(Settings))
_TABLES = ("source.tasks.columns", "source.receipts.columns", "retention.task_files", "retention.receipt_files")
"""Tables whose entries are told in words instead of a default."""


def row_of(key: str) -> list[str]:
    """Return the cells of a setting: key, default, environment name, meaning."""
    for line in reference("settings").splitlines():
        if line.startswith(f"| `{key}` |"):
            return [cell.strip() for cell in line.strip("| ").split(" | ")]
    pytest.fail(f"docs/reference/settings.md has no row for {key}")


def default_shown(field: FieldInfo) -> str:
    if field.required:
        return "required"
    value = field.default_factory() if field.default is NODEFAULT else field.default
    if value is None:
        return "not set"
    if isinstance(value, Secret):
        value = value.get_secret_value()
    if isinstance(value, timedelta):
        value = age_text(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"`{json.dumps(value, ensure_ascii=False, default=str)}`"


@pytest.mark.parametrize("key", SETTINGS)
def test_every_setting_stands_in_the_reference_with_default_and_environment_name(key: str) -> None:
    _, default, environment, meaning = row_of(key)
    assert meaning
    assert environment_name(tuple(key.partition("[]")[0].split("."))) in environment
    if key not in _TABLES:
        assert default == default_shown(SETTINGS[key])


def test_the_reference_names_no_setting_that_does_not_exist() -> None:
    sections = "|".join(name for name in Settings.__struct_fields__ if name != "home")
    told = re.findall(rf"^\| `((?:{sections})\.[^`]+)` \|", reference("settings"), re.MULTILINE)
    assert set(told) - set(SETTINGS) == set()


def test_every_column_alias_and_settings_file_stands_in_the_reference() -> None:
    told = reference("settings")
    names = [*TASK_COLUMNS, *RECEIPT_COLUMNS, *ALIASES, *CONFIG_FILES, "GENGFU_HOME", "GENGFU_CONFIG"]
    assert [name for name in names if f"`{name}`" not in told] == []
    assert [alias for alias, key in ALIASES.items() if f"| `{alias}` | `{'.'.join(key)}`" not in told] == []


# Jobs, queues, alerts


@pytest.mark.parametrize("job", all_jobs().values(), ids=list(all_jobs()))
def test_every_job_stands_in_the_reference_as_it_is_declared(job: Job) -> None:
    spec, told = job.spec, reference("jobs")
    cron = f"`{spec.cron}`" if spec.cron else "-"
    limits = f"{spec.soft_time_limit} / {spec.time_limit}"
    assert f"| `{spec.name}` | {cron} | `{spec.queue}` | {spec.priority} | {limits} |" in told
    assert f"`{spec.task_name}(" in section(told, f"### {spec.name}")


def test_every_queue_stands_in_the_reference() -> None:
    told = section(reference("jobs"), "## Queues")
    assert [queue for queue in QUEUES if f"| `{queue}` |" not in told] == []


@pytest.mark.parametrize("rule", DEFAULT_RULES)
def test_every_alert_rule_stands_in_the_reference_with_its_thresholds(rule: str) -> None:
    row = DEFAULT_RULES[rule]
    levels = [str(row["levels"].get(name, "")) for name in ("warning", "error", "critical")]
    told = next(line for line in reference("alerts").splitlines() if line.startswith(f"| `{rule}` |"))
    cells = [cell.strip() for cell in told.strip("|").split("|")]
    assert cells[1:6] == [row["alertname"], f"`{row['source']}` {row.get('op', '>')}", *levels]
    assert str(row.get("min_samples", "")) in cells[6]


def test_every_fact_channel_and_key_of_an_alert_stands_in_the_reference() -> None:
    told = reference("alerts")
    line = Alert(type="t", alertname="T", message="m", severity="error", rule="t").to_dict().keys() - {
        "severity",
        "rule",
    }
    names = [*SOURCES, *line, "timestamp", "level", "event", "fired_at", "count"]
    assert [name for name in names if f"`{name}`" not in told] == []
    assert [name for name in known_channels() if f"| `{name}` |" not in section(told, "## Channels")] == []


# Reports and files


def keys_of(document: Any) -> set[str]:
    """Return every key of a document, those of its parts included."""
    if isinstance(document, dict):
        return set(document).union(*map(keys_of, document.values()))
    return set().union(*map(keys_of, document)) if isinstance(document, list) else set()


def empty_day(zone: ZoneInfo) -> DayFigures:
    details = DayDetails(categories={}, distinct_messages=0, slowest=(), failed=())
    return day_figures([], Spread(), details, slots_of(*local_day_window(date(2026, 3, 9), zone), zone))


def test_every_key_of_the_daily_reports_sections_stands_in_the_reference() -> None:
    figures = empty_day(ZoneInfo("UTC"))
    today = PastDay(day=date(2026, 3, 9), figures=rollup_of(figures))
    start = datetime(2026, 3, 9, tzinfo=UTC)
    week = [PastDay(day=today.day - timedelta(days=back), figures=today.figures) for back in range(7, 0, -1)]
    facts = Facts(
        day=today.day,
        start=start,
        end=start + timedelta(days=1),
        figures=figures,
        trend=trend_analysis(today, week),
        system={},
        unmapped=(),
        rows_removed=0,
    )
    sections, told = build_sections(facts), reference("reports")
    assert [name for name in sections if f"### `{name}`" not in told] == []
    hours = {str(hour) for hour in range(24)}
    assert {key for key in keys_of(sections) - hours if f"`{key}`" not in told} == set()


def test_every_key_of_the_cleanup_report_and_of_the_days_alerts_stands_in_the_reference() -> None:
    cleanup = result_of(CleanupFacts(run_id="0" * 32, dry_run=False)).document
    told = section(reference("reports"), "## Clean-up")
    assert [key for key in cleanup if f"`{key}`" not in told] == []
    told = section(reference("reports"), "## Alerts of a day")
    assert [key for key in Entry.__struct_fields__ if f"`{key}`" not in told] == []


def test_every_key_of_a_disk_check_stands_in_the_reference() -> None:
    with open_context() as context:
        found = look_at_disks(context)
    told = section(reference("reports"), "## Disk")
    assert {key for key in keys_of(found) if f"`{key}`" not in told} == set()


def test_every_log_file_and_own_table_stands_in_the_reference() -> None:
    told = reference("logs-and-files")
    assert [name for name in (*ROLE_FILES.values(), *metadata.tables) if f"`{name}`" not in told] == []


# Pages


@pytest.mark.parametrize("page", READMES, ids=name_of)
def test_the_readme_is_short(page: Path) -> None:
    assert len(text_of(page).splitlines()) <= MOST_LINES


def test_both_readmes_show_the_same_code() -> None:
    english, chinese = ([line for line in text_of(page).splitlines() if line.startswith("    ")] for page in READMES)
    # Comments are translated.
    assert [line.partition(" #")[0].rstrip() for line in english] == [
        line.partition(" #")[0].rstrip() for line in chinese
    ]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    broken = [link for link in _LINK.findall(text_of(page)) if "://" not in link and not leads_somewhere(page, link)]
    assert broken == []


def leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return target.exists() and (not anchor or anchor in anchors(target))


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_of_the_docs_stands_in_the_index() -> None:
    index = set(_LINK.findall(text_of(DOCS / "README.md")))
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")} - {"README.md"}
    assert pages == index
