"""How `gengfu retention` shows rules, plans and findings to people, on 80 columns and more."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from app.cli._schedule_tables import local_time
from app.cli._table import print_table
from app.core.measures import age_text

if TYPE_CHECKING:
    from app.retention.check import RuleCheck
    from app.retention.folder_plan import FolderPlan
    from app.retention.rule_plan import Figure, RulePlan
    from app.retention.undo import Undone

_NO_WRAP = frozenset({"rule", "expired", "next 24 h", "lag", "last success", "oldest", "state", "keep"})
_FIGURES = (_NO_WRAP - {"rule"}) | {"rows", "children", "files", "of", "on disk"}
_GO_ON = {
    ("rule", "held"): "if this is right",
    ("folders", "held"): "if this is right",
    ("root", "held"): "if this is the right folder",
    ("rule", "refused"): "what mends it",
    ("folders", "refused"): "what mends it",
}
_COLOURS = {"ok": "green", "go": "green", "warning": "yellow", "held": "yellow", "refused": "red"}


def print_status(facts: Mapping[str, Any], zone: ZoneInfo) -> None:
    """Show the backlog of every rule, and what is still to go of files."""
    titles = ("rule", "expired", "next 24 h", "lag", "last success", "last run")
    rows = []
    for state in facts["rules"]:
        lag = f"{state['lag_hours']:,.1f} h" if state["lag_hours"] else ""
        last = state["last"] or {}
        expired, soon = f"{state['expired']:,}", f"{state['next']:,}"
        last_success = _local(state["last_success"], zone)
        rows.append((state["rule"], expired, soon, lag, last_success, last.get("state", "-")))
    print_table(titles, rows, whole=_NO_WRAP)
    for one in facts["held"]:
        _print_waiting(one, zone)
    for name, why in facts["refused"].items():
        click.secho(f"{name}: refused: {why}", fg="red")
    retry = f", next attempt {_local(facts['next_retry_at'], zone)}" if facts["next_retry_at"] else ""
    click.echo(f"files of deleted rows: {facts['pending_files']:,} still to go{retry}")
    if facts["stuck_files"]:
        click.secho(f"{facts['stuck_files']:,} could not be removed in five attempts, among them:", fg="red")
        for file in facts["stuck"]:
            click.echo(f"  {file['root']}: {file['path']}" + (f" ({file['reason']})" if file.get("reason") else ""))
        click.echo("mend the cause, then: gengfu retention retry")


def print_rules(rows: Iterable[Mapping[str, Any]], folders: Iterable[Mapping[str, Any]]) -> None:
    """Show every rule, a line each."""
    titles = ("rule", "table", "rows", "age from", "keep", "files in")
    lines: list[tuple[str, ...]] = []
    for rule in rows:
        words = f"{rule['status']} in {', '.join(map(str, rule['words']))}" if rule["status"] else "all"
        roots = {*rule["files"].values(), *(root for child in rule["children"] for root in child["files"].values())}
        keep = age_text(timedelta(seconds=rule["keep_s"]))
        lines.append((rule["name"], rule["table"], words, rule["finished"], keep, ", ".join(sorted(roots))))
    lines += (
        (rule["name"], f"root {rule['root']}", ", ".join(rule["match"]), rule["age"], rule["keep"], "")
        for rule in folders
    )
    print_table(titles, lines, whole=_NO_WRAP)


def print_checks(checks: "Iterable[RuleCheck]") -> None:
    """Show what the catalogue says of each rule."""
    for check in checks:
        told = check.told()
        click.secho(f"{check.rule} ({check.table}): {told['state']}", fg=_COLOURS[told["state"]])
        for remark in check.remarks:
            click.echo(f"  {remark.level}: {remark.text}")
            if remark.mend and remark.mend not in remark.text:
                click.echo(f"    {remark.mend};")


def print_plans(plans: "Sequence[RulePlan]", folders: "Sequence[FolderPlan]" = ()) -> None:
    """Show what each rule would do, of rows first, then of folders."""
    if plans:
        _print_row_plans(plans)
    if folders:
        _print_folder_plans(folders)


def _print_row_plans(plans: "Sequence[RulePlan]") -> None:
    titles = ("rule", "rows", "children", "files", "on disk", "oldest", "state")
    rows = []
    for plan in plans:
        figures = (_figure(plan.rows), _figure(plan.children), _figure(plan.files), _figure(plan.bytes, size=True))
        rows.append((plan.name, *figures, (plan.oldest or "")[:10], plan.state))
    print_table(titles, rows, whole=_FIGURES)
    for plan in plans:
        _print_details(plan)


def _print_folder_plans(plans: "Sequence[FolderPlan]") -> None:
    titles = ("folder rule", "root", "files", "of", "on disk", "oldest", "state")
    rows = []
    for plan in plans:
        figures = (_figure(plan.files), _figure(plan.root_files), _figure(plan.bytes, size=True))
        rows.append((plan.name, plan.root, *figures, (plan.oldest or "")[:10], plan.state))
    print_table(titles, rows, whole=_FIGURES)
    for plan in plans:
        _print_folder_details(plan)


def print_undone(done: "Undone", zone: ZoneInfo) -> None:
    """Show what came back and what did not."""
    word = "kept" if done.dry_run else "back"
    for name, count in done.rows.items():
        click.echo(f"{name}: {count:,} rows {word}")
    for name, count in done.conflicts.items():
        click.secho(f"{name}: {count:,} rows not written, their key is in use again", fg="yellow")
    for why, count in done.refused.items():
        click.secho(f"{count:,} rows not taken: {why}", fg="yellow")
    if done.missing:
        click.secho(f"{done.missing:,} rows are gone for good: no archive holds them, or no longer", fg="red")
    for what, count in done.files.items():
        click.echo(f"files: {count:,} {what}")
    for line in done.lines:
        click.echo(f"  {line}")
    if done.dry_run:
        click.echo(f"kept until {_local(done.purge_at, zone)}")
    elif done.rows:
        click.echo("these rows are still expired: lengthen keep, or hold them, before the next clean-up")


def _print_waiting(one: Mapping[str, Any], zone: ZoneInfo) -> None:
    by = f" by run {one['run_id']}, since {_local(one['since'], zone)}" if one["run_id"] else ""
    name = f"root {one['name']}" if one["kind"] == "root" else one["name"]
    click.secho(f"{name}: {one['state']}{by}", fg=_COLOURS[one["state"]])
    for reason in one["reasons"]:
        click.echo(f"  {reason}")
    if one["rules"]:
        click.echo(f"  rules that wait for it: {', '.join(one['rules'])}")
    if one["approved_by"]:
        click.echo(f"  approved by {one['approved_by']} for its next run")
    if one["go_on"]:
        click.echo(f"  {_GO_ON[one['kind'], one['state']]}: {one['go_on']}")
    elif one["kind"] != "root":
        click.echo("  no approval helps: mend what is told")


def _print_details(plan: "RulePlan") -> None:
    index = f"by {', '.join(plan.indexes)}" if plan.indexes else "by reading the whole table"
    about = "" if plan.stays_exact else "about "
    stays = ", ".join(f"{about}{count:,} {reason}" for reason, count in plan.stays.items()) or "none"
    click.echo(f"{plan.name}: {plan.table} before {plan.cutoff:%Y-%m-%d %H:%M} UTC ({plan.keep})")
    if plan.rows is not None:
        click.echo(f"  found {index}; stay in spite of their age: {stays}")
    _print_reasons(plan.state, plan.reasons)
    for warning in plan.warnings:
        click.secho(f"  {warning}", fg="yellow")


def _print_folder_details(plan: "FolderPlan") -> None:
    click.echo(f"{plan.name}: root {plan.root}, files before {plan.cutoff:%Y-%m-%d %H:%M} UTC ({plan.keep})")
    if plan.files is not None:
        stays = ", ".join(f"{count:,} {reason}" for reason, count in plan.stays.items()) or "none"
        evicted = f"{plan.evicted:,} go early, because of the cap; " if plan.evicted else ""
        click.echo(f"  {evicted}stay: {stays}")
    _print_reasons(plan.state, plan.reasons)
    for warning in plan.warnings:
        click.secho(f"  {warning}", fg="yellow")


def _print_reasons(state: str, reasons: "Sequence[str]") -> None:
    for reason in reasons:
        click.secho(f"  {state}: {reason.replace(' RUN`', ' RUN` (the run that is held)')}", fg=_COLOURS[state])


def _figure(figure: "Figure | None", *, size: bool = False) -> str:
    if figure is None:
        return "?"
    show = _bytes if size else _count
    if figure.exact:
        return show(figure.value)
    if figure.high is None:
        return f">= {show(figure.low)}"
    # On lines of their own: side by side the columns of a plan don't fit into 80.
    return f"~{show(figure.value)}\n>= {show(figure.low)}\n<= {show(figure.high)}"


def _count(number: int) -> str:
    return f"{number:,}"


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:  # noqa: PLR2004 - a decimal unit
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def _local(instant: str | None, zone: ZoneInfo) -> str:
    return local_time(datetime.fromisoformat(instant), zone) if instant else "-"
