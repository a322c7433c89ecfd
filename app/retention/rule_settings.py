"""`[retention.rules.NAME]`, `[retention.folders.NAME]`, `[retention.guards]`: what an operator adds to the defaults."""

from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from msgspec import Meta, field

from app.core.measures import Age, Size
from app.core.settings_file import Before, Check, Section, nearest
from app.retention.patterns import check_pattern

SHORTEST = timedelta(hours=1)
"""Nothing younger is ever deleted: a typing error must not empty a table of what is at work."""


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str | int) else value


_OURS = "gengfu_"
_RESERVED = ("temp", "logs")  # folder rules that are always there
_DEFAULT_RULES = ("completed", "failed")
_LONGEST_NAME = 100  # of a rule, as the run history stores it
Words = Annotated[list[str | int], Before(_as_list)]


def long_enough(value: timedelta) -> timedelta:
    """Return the age. Raises ValueError for one under an hour."""
    if value < SHORTEST:
        raise ValueError(f"{value.total_seconds():g} s is too young; keep everything for an hour at least")
    return value


KeptAge = Annotated[Age, Check(long_enough)]
PathPattern = Annotated[str, Check(check_pattern)]


class HoldSettings(Section):
    """One reason that pins a row: any of a rule's holds keeps it, whatever its age."""

    column: Annotated[str, Meta(min_length=1)]
    when: Literal["set", "true", "in", "future"] = "set"
    """`set`: the column is not NULL; `true`: it is neither NULL nor false, zero or empty; `in`: it has one of `values`;
    `future`: it holds a time that is still to come."""
    values: Words = field(default_factory=list)

    def __post_init__(self) -> None:
        if (self.when == "in") != bool(self.values):
            raise ValueError('values belong to when = "in", which needs at least one')


class ChildSettings(Section):
    """Rows that belong to a row of the rule's table and go with it, whatever their own age."""

    table: Annotated[str, Meta(min_length=1)]
    foreign_key: Annotated[str, Meta(min_length=1)]
    files: dict[str, str] = field(default_factory=dict)
    """Column -> root of the files it names."""


class RowRuleSettings(Section):
    """`[retention.rules.NAME]`: rows of one table that go at an age."""

    table: Annotated[str, Meta(min_length=1)]
    """With its schema where that is not the default one: `archive.jobs`."""
    key: Annotated[str, Meta(min_length=1)] = "id"
    """A unique column that orders rows of the same finish time."""
    finished: Annotated[str, Meta(min_length=1)]
    """The time from which a row's age counts."""
    fallback: str = ""
    """The time that counts for rows whose `finished` is NULL; without one such rows stay for ever."""
    created: str = ""
    """A row that was finished before it was created is taken for damaged and stays."""
    status: str = ""
    statuses: Words = field(default_factory=list)
    """Only rows whose status is one of these words go; a word not listed is kept."""
    keep: KeptAge
    hold: list[HoldSettings] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    """Column -> root of the files it names."""
    children: list[ChildSettings] = field(default_factory=list)
    order: Annotated[int, Meta(ge=0, le=10_000)] = 100
    """Rules with a lower number run first; the default rules have 0."""
    max_rows: Annotated[int, Meta(ge=1)] | None = None
    """Rows of one run; the next one goes on."""
    max_seconds: Annotated[int, Meta(ge=1, le=86_400)] | None = None
    keep_deleted: Age | None = None
    """Instead of `[retention] keep_deleted`."""
    enabled: bool = True

    def __post_init__(self) -> None:
        if bool(self.status) != bool(self.statuses):
            raise ValueError("status and statuses belong together: a column and the words in it that may go")


class FolderRuleSettings(Section):
    """`[retention.folders.NAME]`: files of one root that go at an age, or above a size."""

    root: Annotated[str, Meta(min_length=1)]
    match: Annotated[list[PathPattern], Meta(min_length=1)] = field(default_factory=lambda: ["*"])
    """Patterns of file names (`*.log`), or of paths below the root where they hold a slash (`cache/**/*.bin`)."""
    spare: list[PathPattern] = field(default_factory=list)
    """Patterns of what is never removed."""
    keep: KeptAge
    age: Literal["modified", "newest"] = "newest"
    """`modified`: since the last change of content; `newest`: also since the last access and status change."""
    keep_newest: Annotated[int, Meta(ge=0)] = 0
    """So many of the newest files of each folder stay, however old."""
    cap: Size | None = None
    """Above this many bytes on disk the oldest files go, down to `low_water`, also before their time."""
    low_water: Size | None = None
    """Default: nine tenths of `cap`."""
    remove_empty: bool = False
    """Folders that a removal left empty go too."""
    enabled: bool = True

    def __post_init__(self) -> None:
        if self.low_water is not None and (self.cap is None or self.low_water > self.cap):
            raise ValueError("low_water needs a cap that is not below it")


def check_rules(rules: Mapping[str, RowRuleSettings], roots: Collection[str]) -> None:
    """Raise ValueError for a row rule that can't be meant."""
    chosen: dict[tuple[object, ...], str] = {}
    root_of: dict[tuple[str, str], tuple[str, str]] = {}
    for name, rule in rules.items():
        _check_name(name)
        for table in (rule.table, *(child.table for child in rule.children)):
            if table.rpartition(".")[2].startswith(_OURS):
                raise ValueError(f"rules.{name} names {table!r}, a table of our own, which cleans up after itself")
        for table, column, root in _file_columns(rule):
            if root not in roots:
                raise ValueError(
                    f"rules.{name} names {root!r}, but there is no [retention.roots.{root}]{nearest(root, roots)}"
                )
            other, where = root_of.setdefault((table, column), (root, name))
            if other != root:
                raise ValueError(f"rules.{name} says {table}.{column} is in {root!r}, rules.{where} says {other!r}")
        if not rule.enabled:
            continue
        for word in (*rule.statuses,) or (None,):
            rows = (rule.table, rule.status, word, *sorted(repr(hold) for hold in rule.hold))
            if (other_name := chosen.setdefault(rows, name)) != name:
                raise ValueError(
                    f"rules.{name} and rules.{other_name} are about the same rows of {rule.table}; keep one"
                )


def _check_name(name: str) -> None:
    if name in _DEFAULT_RULES:
        raise ValueError(
            f"rules.{name}: {name!r} is the name of a default rule; choose another, and switch the default ones off "
            "with default_rules = false"
        )
    if len(name) > _LONGEST_NAME or not name.replace("_", "").replace("-", "").isalnum():
        raise ValueError(f"rules.{name}: {name!r} is no rule name; use at most 100 letters, digits, - and _")


def _file_columns(rule: RowRuleSettings) -> Iterator[tuple[str, str, str]]:
    for column, root in rule.files.items():
        yield rule.table, column, root
    for child in rule.children:
        for column, root in child.files.items():
            yield child.table, column, root


def check_folders(folders: Mapping[str, FolderRuleSettings], roots: Collection[str], of_rows: Collection[str]) -> None:
    """Raise ValueError for a folder rule that can't be meant; `of_rows` are the roots in which files of rows stand."""
    for name, rule in folders.items():
        if name in _RESERVED:
            raise ValueError(f"folders.{name}: {name!r} is the name of a rule of ours; choose another")
        if rule.root not in roots:
            raise ValueError(
                f"folders.{name} names {rule.root!r}, but there is no [retention.roots.{rule.root}]"
                f"{nearest(rule.root, roots)}"
            )
        if rule.root in of_rows:
            # There files go by age or size alone, whatever rows say.
            raise ValueError(f"folders.{name} names {rule.root!r}, which holds files of rows; give it its own folder")


class GuardSettings(Section):
    """`[retention.guards]`: what makes a rule stop before its first delete and ask (exit code 3)."""

    enabled: bool = True
    share: Annotated[float, Meta(gt=0, le=1)] = 0.3
    """Of a table's rows: more than this share and more than `rows` are held, unless an earlier run did the like."""
    rows: Annotated[int, Meta(ge=1)] = 50_000
    times_usual: Annotated[float, Meta(ge=1)] = 3.0
    """More than this many times the median of the rule's last seven runs, and more than `rows`."""
    whole_table: Annotated[int, Meta(ge=1)] = 1_000
    """Every row of a table of more than so many rows."""
    clock_s: Annotated[int, Meta(ge=1, le=3600)] = 60
    """Host and database clock may differ by so many seconds."""
    folder_share: Annotated[float, Meta(gt=0, le=1)] = 0.5
    """Of a root's files: folder rules that would remove more than this share and more than `folder_files` are held,
    unless an earlier run did the like."""
    folder_files: Annotated[int, Meta(ge=1)] = 10_000
    times_changed: Annotated[float, Meta(ge=1)] = 10.0
    """A rule that was changed so that it deletes this many times more than its last run would have."""
