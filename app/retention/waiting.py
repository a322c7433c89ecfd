"""What does not go on until somebody does something: held rules, held folders, held roots, each with its command."""

import re
import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

from app.core.database import Database
from app.core.safe_files import view_root
from app.retention.folder_guards import name_of_root
from app.retention.folder_rules import DirectoryRule
from app.retention.roots import open_roots
from app.retention.rule_runs import RuleRun, last_runs
from app.retention.rules import RowRule
from app.retention.verdict import NEVER_APPROVED

_RUNS = 100
_STOPPED = frozenset({"held", "refused"})
_COMMAND = re.compile(r"`(gengfu [^`]+)`")


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """One rule, the folder rules of one root, or one root."""

    kind: Literal["rule", "folders", "root"]
    name: str
    """Of folder rules `folders:ROOT`, by which they are approved."""
    state: Literal["held", "refused"]
    reasons: tuple[str, ...]
    go_on: str | None
    """The command that lets it go on; None: the reasons tell what is to be mended."""
    run_id: str | None = None
    """The last run that stopped it; None of a root, which is looked at now."""
    since: str | None = None
    """When the first of the runs in a row began that stopped it."""
    approved_by: str | None = None
    rules: tuple[str, ...] = ()
    """Of a root: the rules that wait for it."""

    def told(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "kind": self.kind,
            "name": self.name,
            "state": self.state,
            "reasons": list(self.reasons),
            "go_on": self.go_on,
            "run_id": self.run_id,
            "since": self.since,
            "approved_by": self.approved_by,
            "rules": list(self.rules),
        }


def waiting(
    database: Database, rows: Sequence[RowRule], folders: Sequence[DirectoryRule], paths: Mapping[str, Path]
) -> list[Waiting]:
    """Return all that is held or refused: roots as they stand now, rules as their last run found them.

    Raises DatabaseUnavailable, DatabaseBusy.
    """
    of_roots = sorted({name_of_root(rule.root) for rule in folders})
    names = [*(rule.name for rule in rows), *of_roots]
    with database.read() as connection:
        stopped = {name: list(_stopped(last_runs(connection, name, _RUNS))) for name in names}
    held_by = Counter(runs[0].run_id for runs in stopped.values() if runs)
    rules = (_rule(name, runs, held_by, of_roots) for name, runs in stopped.items() if runs)
    return [*_roots(database, rows, folders, paths), *rules]


def _stopped(runs: Iterable[RuleRun]) -> Iterator[RuleRun]:
    return takewhile(lambda run: run.state in _STOPPED, runs)


def _rule(name: str, runs: Sequence[RuleRun], held_by: Mapping[str, int], of_roots: Collection[str]) -> Waiting:
    last = runs[0]
    return Waiting(
        kind="folders" if name in of_roots else "rule",
        name=name,
        state="held" if last.state == "held" else "refused",
        reasons=tuple(reason.text for reason in last.reasons),
        go_on=_way_on(last, alone=held_by[last.run_id] == 1),
        run_id=last.run_id,
        since=runs[-1].started_at.isoformat(timespec="seconds"),
        approved_by=last.approved_by,
    )


def _way_on(run: RuleRun, *, alone: bool) -> str | None:
    if run.state == "refused":
        return "gengfu retention check"
    if run.codes & NEVER_APPROVED:
        return None
    if run.approved_at is not None:
        return "gengfu retention run"
    # Approving the run as a whole would let pass what nobody looked at.
    chosen = "" if alone else f" --rule {shlex.quote(run.rule)}"
    return f"gengfu retention approve {shlex.quote(run.run_id)}{chosen}"


def _roots(
    database: Database, rows: Sequence[RowRule], folders: Sequence[DirectoryRule], paths: Mapping[str, Path]
) -> Iterator[Waiting]:
    users: dict[str, list[str]] = {}
    for rule in rows:
        for root in {file.root for file in rule.all_files}:
            users.setdefault(root, []).append(rule.name)
    for folder in folders:
        users.setdefault(folder.root, []).append(folder.name)
    with open_roots(view_root, database, paths, users) as roots:
        held = dict(roots.held)
    for name, why in held.items():
        command = _COMMAND.search(why)
        yield Waiting(
            kind="root",
            name=name,
            state="held",
            reasons=(why,),
            go_on=command.group(1) if command else None,
            rules=tuple(users[name]),
        )
