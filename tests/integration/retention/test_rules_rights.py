"""Roles without rights, read-only servers and replicas."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from retention_shop import Shop
from sqlalchemy import event, make_url, text

from app.core.errors import DatabaseRefused


@contextmanager
def _as_role(shop: Shop, *grants: str) -> Iterator[None]:
    """Work as a role that may do with our own tables what it likes, and with jobs what is granted."""
    role, engine = f"r_{secrets.token_hex(4)}", shop.lab.database.engine
    with shop.lab.database.write() as connection:
        for line in (
            f"CREATE ROLE {role}",
            f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}",
            f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}",
            f"REVOKE ALL ON jobs FROM {role}",
            *(f"GRANT {grant} ON jobs TO {role}" for grant in grants),
        ):
            connection.execute(text(line))

    def become(driver: Any, _record: Any) -> None:
        with driver.cursor() as cursor:
            cursor.execute(f"SET ROLE {role}")
        driver.commit()

    event.listen(engine, "connect", become)
    engine.dispose()
    try:
        yield
    finally:
        event.remove(engine, "connect", become)
        engine.dispose()
        with shop.lab.database.write() as connection:
            connection.execute(text(f"DROP OWNED BY {role}"))
            connection.execute(text(f"DROP ROLE {role}"))


@pytest.mark.parametrize("grants", [("SELECT",), ("SELECT", "DELETE"), ("DELETE",), ()])
def test_a_role_without_a_right_is_refused_and_deletes_nothing(shop: Shop, grants: tuple[str, ...]) -> None:
    """FOR UPDATE needs the right to update, too."""
    if shop.lab.database.dialect == "sqlite":
        pytest.skip("SQLite knows no rights")
    shop.rules(old={})
    shop.job(1)
    with _as_role(shop, *grants):
        told = shop.told()
    assert (told["state"], told["rows"]) == ("refused", 0)
    assert shop.jobs() == {1}


def test_row_level_security_is_refused_instead_of_seeing_less(shop: Shop) -> None:
    if shop.lab.database.dialect == "sqlite":
        pytest.skip("SQLite has none")
    shop.rules(old={})
    shop.job(1)
    shop.job(2, label="mine")
    with shop.lab.database.write() as connection:
        connection.execute(text("ALTER TABLE jobs ENABLE ROW LEVEL SECURITY"))
        connection.execute(text("CREATE POLICY 只看自己的 ON jobs USING (label = 'mine')"))
    with _as_role(shop, "SELECT", "DELETE", "UPDATE"):
        told = shop.told()
    assert told["state"] == "refused"
    assert shop.jobs() == {1, 2}


def test_a_server_that_is_read_only_is_refused_before_anything_is_done(shop: Shop) -> None:
    database = shop.lab.database
    if database.dialect == "sqlite":
        pytest.skip("a server's setting")
    shop.rules(old={})
    shop.job(1)
    name = make_url(database.url).database
    with database.write() as connection:
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    database.dispose()
    with pytest.raises(DatabaseRefused, match="default_transaction_read_only"):
        shop.lab.run()
    assert shop.lab.document("dry", dry_run=True)["rules"][0]["rows"] == 1


def test_a_replica_is_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    if shop.lab.database.dialect == "sqlite":
        pytest.skip("an SQLite file has no replica")
    monkeypatch.setattr("app.retention.writable._READ_ONLY", text("SELECT true, false"))
    with pytest.raises(DatabaseRefused, match="replica"):
        shop.lab.run()


@pytest.mark.parametrize(("most", "lag", "state"), [(10, 10.0, "done"), (10, 10.5, "contended"), (0, 900.0, "done")])
def test_a_replica_that_lags_stops_the_rows(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, most: int, lag: float, state: str
) -> None:
    monkeypatch.setattr("app.retention.rows.replay_lag_s", lambda _: lag)
    shop.lab.with_settings(max_replay_lag_s=most)
    shop.rules(old={})
    shop.job(1)
    assert shop.told()["state"] == state
    assert (1 in shop.jobs()) is (state == "contended")
