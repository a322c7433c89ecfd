"""Tables that are not like ours, with rules of their own."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, MetaData, Table, Text, delete, insert, select, update
from sqlalchemy.types import TypeEngine

from app.core.settings_reader import read
from app.core.utc_datetime import UtcDateTime
from app.retention.rule_settings import RowRuleSettings

RULE = {
    "table": "jobs",
    "key": "no",
    "finished": "done_at",
    "status": "state",
    "statuses": ["done"],
    "keep": "30d",
}
WITH_CHILDREN = {"children": [{"table": "parts", "foreign_key": "job_no"}]}
WITH_FILES = WITH_CHILDREN | {"files": {"file": "uploads"}}


def tables(key: type[TypeEngine[Any]]) -> MetaData:
    """Jobs with parts and notes, whose keys are of any kind."""
    metadata = MetaData()
    Table(
        "jobs",
        metadata,
        Column("no", key, primary_key=True),
        Column("state", Text),
        Column("done_at", UtcDateTime),
        Column("touched_at", UtcDateTime),
        Column("made_at", UtcDateTime),
        Column("lease_until", UtcDateTime),
        Column("pinned", Boolean),
        Column("label", Text),
        Column("file", Text),
    )
    for name in ("parts", "notes"):
        Table(
            name,
            metadata,
            Column("id", BigInteger, primary_key=True),
            Column("job_no", key, ForeignKey("jobs.no"), index=True),
            Column("file", Text),
        )
    return metadata


@dataclass(kw_only=True)
class Shop:
    """The lab with jobs."""

    lab: Any
    key: type[TypeEngine[Any]] = BigInteger
    metadata: MetaData = field(init=False)
    children: int = 0

    def __post_init__(self) -> None:
        self.metadata = tables(self.key)
        with self.lab.database.write() as connection:
            self.metadata.create_all(connection)

    @property
    def now(self) -> datetime:
        now: datetime = self.lab.now
        return now

    def rules(self, **rules: dict[str, Any]) -> None:
        """Configure rules by name, each over `RULE`; the default ones are off."""
        made = {name: read(RowRuleSettings, RULE | values) for name, values in rules.items()}
        self.lab.with_settings(rules=made, default_rules=False)

    def job(self, no: Any, *, days: float | None = 40, **values: Any) -> Any:
        done = None if days is None else self.now - timedelta(days=days)
        self._insert("jobs", {"no": no, "state": "done", "done_at": done} | values)
        return no

    def child(self, table: str, job: Any, **values: Any) -> int:
        self.children += 1
        self._insert(table, {"id": self.children, "job_no": job} | values)
        return self.children

    def jobs(self) -> set[Any]:
        return self._keys("jobs", "no")

    def ids(self, table: str) -> set[Any]:
        return self._keys(table, "id")

    def change(self, no: Any, **values: Any) -> None:
        jobs = self.metadata.tables["jobs"]
        with self.lab.database.write() as connection:
            connection.execute(update(jobs).where(jobs.c.no == no).values(values))

    def clear(self) -> None:
        with self.lab.database.write() as connection:
            for table in reversed(self.metadata.sorted_tables):
                connection.execute(delete(table))

    def told(self, run_id: str = "r1", **how: Any) -> dict[str, Any]:
        """Run and return what the report says of the only rule, with the whole report as `document`."""
        document = self.lab.document(run_id, **how)
        return {**document["rules"][0], "document": document}

    def _insert(self, table: str, values: dict[str, Any]) -> None:
        with self.lab.database.write() as connection:
            connection.execute(insert(self.metadata.tables[table]).values(values))

    def _keys(self, table: str, column: str) -> set[Any]:
        with self.lab.database.read() as connection:
            return set(connection.execute(select(self.metadata.tables[table].c[column])).scalars())
