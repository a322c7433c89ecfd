"""Write many alerts at once, each only where it still is as it was when we looked.

Ten thousand alerts that stay and bring a new figure are written every minute: each database gets its rows in the way it
takes fastest, and of an alert of which only figures moved only those.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import cache, lru_cache
from operator import itemgetter
from typing import Any

import orjson
from sqlalchemy import JSON, Connection, Text, bindparam, cast, column, func, literal_column, select, update

from app.alerts.life.instance import Instance
from app.core.own_tables import alert_instance
from app.core.storable import storable, storable_text
from app.core.upsert import insert_into
from app.core.utc_datetime import UtcDateTime, to_sqlite_text

NAMES = tuple(each.name for each in fields(Instance))
_FIGURES = ("value", "threshold", "samples", "message", "last_bad_at", "last_seen_at", "good", "recent", "version")
"""What moves with each evaluation of an alert that stays; none of it has an index."""
_NARROW = ("fingerprint", *_FIGURES)
_lasting = itemgetter(*(name for name in NAMES if name not in _NARROW))
_narrow = itemgetter(*_NARROW)
TIMES = tuple(name for name in NAMES if isinstance(alert_instance.c[name].type, UtcDateTime))
_TEXTS = ("alertname", "type", "rule", "message", "resolve_reason", "acked_by")
DOCUMENTS = ("labels", "annotations", "changes")
_ONE: Any = literal_column("1")


def write(connection: Connection, changed: Sequence[Instance], before: Mapping[str, Instance]) -> bool:
    """Store instances whose `version` is one above what stands there; False where one has changed meanwhile.

    `before` are those that were loaded, by fingerprint. After False roll back, load anew and think again.
    """
    # Evaluators that take rows in one order never wait for each other in a circle.
    ordered = sorted(changed, key=lambda each: each.fingerprint)
    narrow: list[Instance] = []
    whole: list[Instance] = []
    for each in ordered:
        (narrow if _only_figures(before.get(each.fingerprint), each) else whole).append(each)
    write_some = _to_sqlite if connection.dialect.name == "sqlite" else _to_postgresql
    return all(
        write_some(connection, statement, rows) == len(rows)
        for statement, rows in ((_upsert, _whole_rows(whole)), (_figures, _narrow_rows(narrow)))
        if rows
    )


def _only_figures(before: Instance | None, after: Instance) -> bool:
    return before is not None and _lasting(before.__dict__) == _lasting(after.__dict__)


def _whole_rows(instances: Sequence[Instance]) -> list[dict[str, Any]]:
    return [_whole_row(each) for each in instances]


def _whole_row(instance: Instance) -> dict[str, Any]:
    row = dict(instance.__dict__)
    for name in _TEXTS:
        if (text := row[name]) is not None:
            row[name] = storable_text(text)
    row["labels"], row["annotations"] = storable(dict(instance.labels)), storable(dict(instance.annotations))
    row["changes"] = [each.isoformat() for each in instance.changes]
    return row


def _narrow_rows(instances: Sequence[Instance]) -> list[dict[str, Any]]:
    rows = [dict(zip(_NARROW, _narrow(each.__dict__), strict=True)) for each in instances]
    for row in rows:
        row["message"] = storable_text(row["message"])
    return rows


Statement = Callable[[str], Any]


def _to_sqlite(connection: Connection, statement: Statement, rows: list[dict[str, Any]]) -> int:
    """Hand the rows to the driver as they are: bound by SQLAlchemy they take four times as long."""
    compiled = statement("sqlite").compile(dialect=connection.dialect)
    names = compiled.positiontup or []
    times, documents = ([name for name in kind if name in rows[0]] for kind in (TIMES, DOCUMENTS))
    text_of = lru_cache(64)(to_sqlite_text)
    for row in rows:
        row["of_fingerprint"] = row["fingerprint"]
        for name in times:
            if (at := row[name]) is not None:
                row[name] = text_of(at)
        for name in documents:
            row[name] = orjson.dumps(row[name]).decode()
    values = [tuple(map(row.__getitem__, names)) for row in rows]
    return connection.exec_driver_sql(compiled.string, values).rowcount


def _to_postgresql(connection: Connection, statement: Statement, rows: list[dict[str, Any]]) -> int:
    """Send all rows as one JSON text: psycopg2 waits for an answer to each row of many."""
    return connection.execute(statement("postgresql"), {"rows": orjson.dumps(rows).decode()}).rowcount


@cache
def _upsert(dialect: str) -> Any:
    into = insert_into(alert_instance, dialect)
    if dialect == "sqlite":
        inserted = into.values({name: bindparam(name) for name in NAMES})
    else:
        rows = _unpacked(NAMES)
        inserted = into.from_select(NAMES, select(*(rows.c[name] for name in NAMES)))
    return inserted.on_conflict_do_update(
        index_elements=["fingerprint"],
        set_={name: inserted.excluded[name] for name in NAMES if name != "fingerprint"},
        where=alert_instance.c.version == inserted.excluded.version - _ONE,
    )


@cache
def _figures(dialect: str) -> Any:
    own = alert_instance.c
    if dialect == "sqlite":
        mine = (own.fingerprint == bindparam("of_fingerprint"), own.version == bindparam("version") - _ONE)
        return update(alert_instance).values({name: bindparam(name) for name in _FIGURES}).where(*mine)
    rows = _unpacked(_NARROW)
    mine = (own.fingerprint == rows.c.fingerprint, own.version == rows.c.version - _ONE)
    return update(alert_instance).values({name: rows.c[name] for name in _FIGURES}).where(*mine)


def _unpacked(names: Sequence[str]) -> Any:
    columns = [column(name, alert_instance.c[name].type) for name in names]
    rows = cast(bindparam("rows", type_=Text), JSON)
    return func.json_to_recordset(rows).table_valued(*columns).render_derived(with_types=True)
