"""How `gengfu alerts` shows alerts, silences, messages and rules to people, on 80 columns and more."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from app.alerts.text import visible
from app.cli._schedule_tables import local_time, span_text
from app.cli._table import folded, print_table, window_width

if TYPE_CHECKING:
    from app.alerts.life.rule_tests import TestOutcome

_NO_WRAP = frozenset({"id", "level", "since", "until", "state", "when", "event", "number", "failed", "now", "left"})
_COLOURS = {"critical": "red", "error": "red", "warning": "yellow"}
_STATES = {"recovering": "ending", "resolved": "over"}
_SHOWN_FIGURES = 3
_FACT_COLUMNS = 14
_SHOWN_DIGITS = 8
"""Of a fingerprint: commands take any beginning that is only one alert's."""


def print_alerts(alerts: Iterable[Mapping[str, Any]], zone: ZoneInfo, *, left_out: int = 0) -> None:
    """Show alerts, the most urgent first; `left_out` is how many more there are."""
    shown = list(alerts)
    rows = [
        (
            alert["fingerprint"][:_SHOWN_DIGITS],
            alert["level"],
            _local(alert["fired_at"] or alert["pending_since"], zone),
            _state(alert),
            alert["alertname"],
        )
        for alert in shown
    ]
    below = [(alert["message"], *_ended(alert, zone), *_held_back(alert, zone)) for alert in shown]
    print_table(("id", "level", "since", "state", "alert"), rows, whole=_NO_WRAP, below=below)
    if left_out:
        click.echo(f" and {left_out:,} more; --limit shows them\n")


def unwatched(watch: Mapping[str, Any]) -> str:
    """Tell why an alert may be missing; `watch` is what `who_watches` returns."""
    if not watch["enabled"]:
        return "[alerts] enabled = false, nothing is judged or sent"
    silent_s = watch["monitor_silent_s"]
    looked = "looks" if silent_s is None else f"has looked for {span_text(silent_s)}"
    return f"no monitor {looked}; start beat or a worker"


def print_alert(alert: Mapping[str, Any], zone: ZoneInfo) -> None:
    """Show all that is known of one alert, and what became of it."""
    click.secho(f"{alert['alertname']} ({alert['level']}, {_state(alert)})", fg=_COLOURS[alert["level"]], bold=True)
    for line in (alert["message"], *_held_back(alert, zone)):
        _say(line, indent="  ")
    click.echo()
    for name, value in _facts(alert, zone):
        _say_fact(name, value)
    print_events([{**event, "alertname": alert["alertname"]} for event in alert["events"]], zone)
    if alert["messages"]:
        print_messages(alert["messages"], zone)


def print_events(events: Iterable[Mapping[str, Any]], zone: ZoneInfo) -> None:
    """Show what became of alerts, newest first."""
    rows, below = [], []
    for event in events:
        when, number = _local(event["at"], zone), event["fingerprint"][:_SHOWN_DIGITS]
        rows.append((when, number, event["event"], event["level"], event["alertname"]))
        said = ": ".join(text for text in (event["by_whom"], event["comment"]) if text)
        below.append([event["message"], *([said] if said else [])])
    print_table(("when", "id", "event", "level", "alert"), rows, whole=_NO_WRAP, below=below)


def print_silences(silences: Iterable[Mapping[str, Any]], zone: ZoneInfo) -> None:
    """Show silences, the next to end first."""
    rows, below = [], []
    for silence in silences:
        until = _local(silence["ended_at"] or silence["ends_at"], zone)
        rows.append((silence["id"], silence["state"], _local(silence["starts_at"], zone), until))
        hours = [f"only {_hours(silence['recurrence'])}"] if silence["recurrence"] else []
        below.append([", ".join(silence["matchers"]), *hours, f"{silence['author']}: {silence['comment']}"])
    print_table(("id", "state", "since", "until"), rows, whole=_NO_WRAP, below=below)


def print_messages(messages: Iterable[Mapping[str, Any]], zone: ZoneInfo) -> None:
    """Show messages of the outbox, newest first."""
    rows, below = [], []
    for message in messages:
        when, tries = _local(message["sent_at"] or message["created_at"], zone), str(message["attempts"])
        rows.append((str(message["id"]), when, message["state"], tries, message["target"]))
        waits = f"next try {_local(message['next_at'], zone)}" if message["state"] == "pending" else ""
        below.append([text for text in (_about(message), message["last_error"], waits) if text])
    print_table(("number", "when", "state", "failed", "to"), rows, whole=_NO_WRAP, below=below)


def print_rules(rules: Iterable[Mapping[str, Any]]) -> None:
    """Show every rule with what it saw last and how far that is from its next threshold."""
    rows = [cells for rule in rules for cells in _figures(rule)]
    print_table(("rule", "now", "alerts at", "left", "state"), rows, whole=_NO_WRAP)


def print_test(outcome: "TestOutcome") -> None:
    """Show one rule test; of a failed one what was expected and what came."""
    if outcome.passed:
        click.echo(f"{click.style('ok', fg='green')}      {visible(outcome.name)}")
        return
    click.echo(f"{click.style('FAILED', fg='red')}  {visible(outcome.name)}")
    for line in outcome.differences:
        _say(line, indent="        ")


def _about(message: Mapping[str, Any]) -> str:
    """The alerts of a message, those of one name counted."""
    names = [f"{name} x{count}" if count > 1 else name for name, count in Counter(message["about"]).items()]
    more = [f"and {message['left_out']:,} more"] if message["left_out"] else []
    return ", ".join([*names, *more]) or str(message["kind"])


def _figures(rule: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str, str]]:
    """A line for each figure; the rule and its thresholds stand in the first."""
    name, limits = rule["rule"], f"{rule['op']} {', '.join(map(_number, rule['levels'].values()))}"
    figures = rule["figures"] if rule["enabled"] else []
    if not figures:
        yield name, "", limits, "", _without_figure(rule)
    for figure in figures[:_SHOWN_FIGURES]:
        about = "".join(f"\n  {label} {value}" for label, value in figure["labels"].items())
        unit = f" {rule['unit']}" if rule["unit"] else ""
        now = "-" if figure["value"] is None else f"{_number(figure['value'])}{unit}"
        left = "" if figure["distance"] is None else _number(figure["distance"])
        yield f"{name}{about}".strip("\n"), now, limits, left, figure["level"] or "ok"
        name = limits = ""
    more = len(figures) + rule["left_out"] - _SHOWN_FIGURES
    if figures and more > 0:
        yield f"  and {more:,} more", "", "", "", ""


def _without_figure(rule: Mapping[str, Any]) -> str:
    if not rule["enabled"]:
        return "off"
    if not rule["seen_at"]:
        return "not seen"
    return "ok" if rule["lists_only_what_is_broken"] else "no figure"


def _ended(alert: Mapping[str, Any], zone: ZoneInfo) -> Iterator[str]:
    if alert["resolved_at"]:
        reason = f", {alert['resolve_reason']}" if alert["resolve_reason"] else ""
        yield f"over since {_local(alert['resolved_at'], zone)}{reason}"


def _held_back(alert: Mapping[str, Any], zone: ZoneInfo) -> Iterator[str]:
    """Why nothing is sent of it."""
    if alert["acked_by"]:
        yield f"acknowledged by {alert['acked_by']} until {_local(alert['acked_until'], zone)}"
    if alert["silenced_by"]:
        yield f"silenced by {', '.join(alert['silenced_by'])}"
    if alert["inhibited_by"]:
        yield f"explained by {alert['inhibited_by'][:_SHOWN_DIGITS]}"
    if alert["muted"]:
        yield "muted at this hour by its rule"
    if alert["held_until"]:
        yield f"flapping, left alone until {_local(alert['held_until'], zone)}"


def _facts(alert: Mapping[str, Any], zone: ZoneInfo) -> Iterator[tuple[str, str]]:
    yield "fingerprint", alert["fingerprint"]
    yield "rule", alert["rule"]
    for name, value in alert["labels"].items():
        yield "label", f"{name} = {value}"
    if alert["value"] is not None:
        threshold = "" if alert["threshold"] is None else f", threshold {_number(alert['threshold'])}"
        samples = f", of {alert['samples']} samples" if alert["samples"] else ""
        yield "value", f"{_number(alert['value'])}{threshold}{samples}"
    for key, name in (("fired_at", "fired"), ("last_bad_at", "last bad"), ("last_seen_at", "last seen")):
        if alert[key]:
            yield name, _local(alert[key], zone)
    if alert["resolved_at"]:
        reason = f" ({alert['resolve_reason']})" if alert["resolve_reason"] else ""
        yield "over", f"{_local(alert['resolved_at'], zone)}{reason}"
    if alert["duration_s"] is not None:
        yield "lasted", span_text(alert["duration_s"])
    yield "times fired", str(alert["episode"])
    for name, value in alert["annotations"].items():
        yield name, value


def _state(alert: Mapping[str, Any]) -> str:
    state = str(alert["state"])
    return _STATES.get(state, state)


def _hours(window: Mapping[str, Any]) -> str:
    return f"{' '.join(window['days'])} {window['from']}-{window['to']} {window['timezone']}"


def _number(value: float) -> str:
    return f"{value:,.6g}"


def _local(instant: str | None, zone: ZoneInfo) -> str:
    return local_time(datetime.fromisoformat(instant), zone) if instant else "-"


def _say(text: str, *, indent: str = "") -> None:
    for line in folded(indent + visible(text), window_width()):
        click.echo(line)


def _say_fact(name: str, value: str) -> None:
    first, *rest = folded(visible(value), window_width() - _FACT_COLUMNS)
    click.echo(f"{name:<{_FACT_COLUMNS}}{first}".rstrip())
    for line in rest:
        click.echo(" " * _FACT_COLUMNS + line)


def print_counts(counts: Mapping[str, Mapping[str, int]]) -> None:
    """Show how many messages of each target are in which state."""
    for target, states in sorted(counts.items()):
        click.echo(f"{target}: {', '.join(f'{count:,} {state}' for state, count in sorted(states.items()))}")
    if not counts:
        click.echo("nothing was ever to be sent")
