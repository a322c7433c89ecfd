"""`gengfu alerts`: what is wrong, who knows of it, and what was told to whom."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli import leave
from app.core.errors import BadArgument, ExitCode

if TYPE_CHECKING:
    from app.alerts.rules.windows import Window
    from app.context import Context


@click.group()
def command() -> None:
    """Alerts: what is wrong, who knows of it, and what was told to whom."""


_STATES = ("pending", "sent", "dead", "superseded")
_limit = click.IntRange(1, 10_000)
_as_json = click.option("--json", "as_json", is_flag=True, help="JSON instead of lines.")


@command.command(name="list")
@click.option("--all", "lately", is_flag=True, help="Also what is pending, and what ended since yesterday.")
@click.option("--limit", default=50, show_default=True, type=_limit, help="Most urgent alerts shown; JSON has all.")
@_as_json
def list_(lately: bool, limit: int, as_json: bool) -> None:
    """Show the alerts that fire, the most urgent first, why nothing is sent of one, and whether anybody watches."""
    from app.cli._alert_tables import print_alerts, unwatched
    from app.watch.views import alerts_now, who_watches

    with _ready() as context:
        found, watch = alerts_now(context, lately=lately), who_watches(context)
    if as_json:
        _print_json({**watch, "alerts": found})
        return
    if found:
        print_alerts(found[:limit], context.zone, left_out=len(found[limit:]))
    else:
        click.echo("no alert fires" if watch["watched"] else "no alert is known to fire")
    if not watch["watched"]:
        click.secho(f"note: {unwatched(watch)}", fg="yellow", err=True)


@command.command()
@click.argument("alert")
@_as_json
def show(alert: str, as_json: bool) -> None:
    """Show all that is known of ALERT (its id, or the beginning of it), what became of it, and what was sent."""
    from app.cli._alert_tables import print_alert
    from app.watch.views import alert_in_detail

    with _ready() as context:
        found = alert_in_detail(context, alert)
    _print_json(found) if as_json else print_alert(found, context.zone)


@command.command()
@click.argument("alert", required=False)
@click.option("--since", default="7d", show_default=True, metavar="TIME", help="How far back, such as 24h or 30d.")
@click.option("--limit", default=50, show_default=True, type=_limit, help="Newest events shown.")
@_as_json
def history(alert: str | None, since: str, limit: int, as_json: bool) -> None:
    """Show what became of all alerts, or of ALERT, newest first."""
    from app.cli._alert_tables import print_events
    from app.watch.views import events_since

    with _ready() as context:
        start = context.clock.now() - _span("--since", since)
        found = events_since(context, start, fingerprint=alert, limit=limit)
    _show(found, print_events, context, as_json=as_json, nothing=f"nothing happened in the last {since}")


@command.command()
@click.argument("alerts", nargs=-1, required=True)
@click.option("--for", "span", default="24h", show_default=True, metavar="TIME", help="How long no repeat is sent.")
@click.option("--comment", default="", help="What is being done; stands in the alert's history.")
@_as_json
def ack(alerts: tuple[str, ...], span: str, comment: str, as_json: bool) -> None:
    """Acknowledge ALERTS: no repeats until they end, rise to a higher level, or the time is over."""
    from app.watch.telling import acknowledge

    lasts = _span("--for", span)
    with _ready() as context:
        done = [acknowledge(context, one, by=_who(), comment=comment, lasts=lasts) for one in alerts]
        until = context.clock.now() + lasts
    if as_json:
        told = {"acked_by": _who(), "acked_until": until.isoformat()}
        _print_json([{"fingerprint": one.fingerprint, "alertname": one.alertname, **told} for one in done])
        return
    for one in done:
        click.echo(f"{one.fingerprint[:8]} {one.alertname}: no repeats until {_local(context, until)}")


@command.command()
@click.argument("matchers", nargs=-1, required=True, metavar="MATCHER...")
@click.option("--for", "span", metavar="TIME", help="How long, such as 2h.")
@click.option("--until", metavar="INSTANT", help="Instead of --for: until when, such as '2026-11-23 06:00'.")
@click.option("--from", "start", metavar="INSTANT", help="From when on; without it from now on.")
@click.option("--between", metavar="HH:MM-HH:MM", help="Only in these hours of each day.")
@click.option("--days", metavar="DAYS", help="Only on these days, such as sat,sun; the hours begin there.")
@click.option("--comment", required=True, help="Why; somebody will ask.")
@_as_json
def silence(
    matchers: tuple[str, ...],
    span: str | None,
    until: str | None,
    start: str | None,
    between: str | None,
    days: str | None,
    comment: str,
    as_json: bool,
) -> None:
    """Send nothing of the alerts that fit every MATCHER: alertname=DiskUsageHigh, mount=~/data.*, severity!=critical.

    What fires when the silence ends is told then. Labels are those of the alert and alertname, severity, type, rule.
    """
    from app.alerts.notices.matchers import parse_matchers
    from app.alerts.notices.silences import Silences
    from app.cli._alert_tables import print_silences
    from app.watch.views import told_silence

    with _ready() as context:
        try:
            wanted = parse_matchers(matchers)
        except ValueError as error:
            raise BadArgument(str(error)) from error
        starts_at = _instant(context, "--from", start) if start else context.clock.now()
        made = Silences(context.database, context.clock).create(
            wanted,
            starts_at=starts_at,
            ends_at=_end(context, starts_at, span, until),
            author=_who(),
            comment=comment,
            recurrence=_window(context, between, days),
        )
        told = told_silence(made, context.clock.now())
    _print_json(told) if as_json else print_silences([told], context.zone)


@command.command()
@click.option("--all", "over", is_flag=True, help="Also those of the past.")
@_as_json
def silences(over: bool, as_json: bool) -> None:
    """Show what is silent now or will be."""
    from app.cli._alert_tables import print_silences
    from app.watch.views import silences_now

    with _ready() as context:
        found = silences_now(context, over=over)
    _show(found, print_silences, context, as_json=as_json, nothing="nothing is silent")


@command.command()
@click.argument("silence_id", metavar="SILENCE")
@_as_json
def unsilence(silence_id: str, as_json: bool) -> None:
    """End SILENCE now; what fires is told at the next look."""
    from app.alerts.notices.silences import Silences
    from app.watch.views import told_silence

    with _ready() as context:
        told = told_silence(Silences(context.database, context.clock).end(silence_id), context.clock.now())
    _print_json(told) if as_json else click.echo(f"{told['id']} is over: {', '.join(told['matchers'])}")


@command.command()
@click.option("--state", type=click.Choice(_STATES), help="Only messages in this state.")
@click.option("--limit", default=50, show_default=True, type=_limit, help="Newest messages shown.")
@_as_json
def outbox(state: str | None, limit: int, as_json: bool) -> None:
    """Show what is to be sent, was sent, or could not be; exits 5 while there are dead messages."""
    from app.cli._alert_tables import print_counts, print_messages
    from app.watch.views import messages_now

    with _ready() as context:
        found = messages_now(context, state=state, limit=limit)
    if as_json:
        _print_json(found)
    else:
        if found["messages"]:
            print_messages(found["messages"], context.zone)
        print_counts(found["counts"])
    if any(counts.get("dead") for counts in found["counts"].values()):
        click.echo("send the dead ones again: gengfu alerts replay", err=True)
        leave(ExitCode.PARTIAL)


@command.command()
@click.argument("numbers", nargs=-1, type=int, metavar="NUMBER...")
@click.option("--to", "target", metavar="TARGET", help="Only messages to this target.")
@_as_json
def replay(numbers: tuple[int, ...], target: str | None, as_json: bool) -> None:
    """Send dead messages again: those with these NUMBERS, or all."""
    from app.alerts.notices.outbox import replay as replayed

    with _ready() as context, context.database.write() as connection:
        again = replayed(connection, context.clock.now(), list(numbers) or None, target)
        if again < len(set(numbers)):  # raised before the commit: none is sent again
            named = ", ".join(map(str, sorted(set(numbers))))
            raise BadArgument(f"not all of {named} are dead messages; `gengfu alerts outbox` shows which there are")
    if as_json:
        _print_json({"messages": again})
    else:
        click.echo(f"{again:,} messages will be sent again at the monitor's next look")


@command.command(name="test-channel")
@click.argument("target")
def test_channel(target: str) -> None:
    """Send a message that says it is a test to TARGET; exits 1 with the reason if that fails."""
    from app.alerts.channel import DeliveryError
    from app.context import open_context
    from app.watch.telling import try_target

    with open_context() as context:
        try:
            click.echo(f"{target}: {try_target(context, target)}")
        except DeliveryError as error:
            click.secho(f"error: {target}: {error}", fg="red", err=True)
            leave(ExitCode.FAILED)


@command.command()
def check() -> None:
    """Check rules and channels as the settings have them; exits 2 and one line for each thing that is wrong."""
    from app.settings import load

    alerts = load().alerts
    off = [rule_id for rule_id, rule in alerts.rules.items() if not rule.enabled]
    told = f", off: {', '.join(off)}" if off else ""
    click.echo(f"ok: {len(alerts.rules)} rules{told}")
    click.echo(f"channels: {', '.join(alerts.channels) or 'none'}")
    unused = [name for name in alerts.targets if name not in alerts.channels]
    if unused:
        click.secho(f"note: no alert goes to {', '.join(unused)}; add it to [alerts] channels", fg="yellow", err=True)
    if not alerts.enabled:
        click.secho("note: [alerts] enabled = false, nothing is judged or sent", fg="yellow", err=True)


@command.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
def test(files: tuple[Path, ...]) -> None:
    """Play the figures in FILES through the rules in force, and compare with the alerts they expect.

    Exit codes: 0 all as expected, 1 a test failed, 2 a file can't be used.
    """
    from app.alerts.life.rule_tests import read_tests, run_test
    from app.cli._alert_tables import print_test
    from app.settings import load

    tests = [one for file in files for one in read_tests(file)]
    rules = load().alerts.rules
    outcomes = [run_test(one, rules) for one in tests]
    for outcome in outcomes:
        print_test(outcome)
    failed = sum(not outcome.passed for outcome in outcomes)
    click.echo(f"{len(outcomes)} tests, {failed} failed")
    leave(ExitCode.FAILED if failed else ExitCode.OK)


@command.command()
@_as_json
def rules(as_json: bool) -> None:
    """Show every rule, the figure it saw last, and how far that is from its next threshold."""
    from app.cli._alert_tables import print_rules
    from app.watch.views import rules_now

    with _ready() as context:
        found = rules_now(context)
    _print_json(found) if as_json else print_rules(found)


@contextmanager
def _ready() -> "Iterator[Context]":
    """The wired parts, with our own tables there."""
    from app.context import open_context

    with open_context() as context:
        context.prepare_own_tables()
        yield context


def _show(found: list[Any], table: Callable[..., None], context: "Context", *, as_json: bool, nothing: str) -> None:
    if as_json:
        _print_json(found)
    elif found:
        table(found, context.zone)
    else:
        click.echo(nothing)


def _print_json(document: Any) -> None:
    click.echo(json.dumps(document, ensure_ascii=False, indent=2))


def _span(option: str, text: str) -> timedelta:
    from app.core.measures import parse_age

    try:
        span = parse_age(text)
    except ValueError as error:
        raise BadArgument(f"{option}: {error}") from error
    if not span:
        raise BadArgument(f"{option}: no time at all; give it a minute at least, such as 1m")
    return span


def _end(context: "Context", start: datetime, span: str | None, until: str | None) -> datetime:
    if (span is None) == (until is None):
        raise BadArgument("say how long: either --for 2h or --until '2026-11-23 06:00'")
    return start + _span("--for", span) if span is not None else _instant(context, "--until", str(until))


def _instant(context: "Context", option: str, text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadArgument(f"{option}: {text!r} is no time; write it like '2026-11-23 06:00'") from error
    return found if found.tzinfo else found.replace(tzinfo=context.zone)


def _window(context: "Context", between: str | None, days: str | None) -> "Window | None":
    from app.alerts.rules.windows import parse_window

    if between is None and days is None:
        return None
    start, _, end = (between or "00:00-24:00").partition("-")
    row: dict[str, Any] = {"from": start.strip(), "to": end.strip(), "timezone": context.zone.key}
    if days is not None:
        row["days"] = [day.strip().lower() for day in days.split(",")]
    try:
        return parse_window(row)
    except ValueError as error:
        raise BadArgument(f"--between and --days: {error}") from error


def _local(context: "Context", instant: datetime) -> str:
    from app.cli._schedule_tables import local_time

    return local_time(instant, context.zone)


def _who() -> str:
    import getpass
    import socket

    return f"{getpass.getuser()}@{socket.gethostname()}"
