"""Who watches is killed, and whoever is left tells of it: a worker of beat, beat of a worker."""

import json
import os
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from home import Home, kill_family
from processes import PROJECT, run, wait_until

_SETTINGS = """
[health]
interval_s = 1

[alerts]
channels = ["log_files"]

[alerts.rules.worker_down]
levels = { warning = 5 }
keep_firing_for = "1s"
"""


@pytest.fixture
def watched(home: Home) -> Home:
    """A home on which somebody has been watching for an hour: nobody is given time to come up."""
    home.configure(_SETTINGS)
    assert run("-m", "app", "db", "upgrade", env=home.env).returncode == 0
    now = datetime.now(UTC)
    facts = json.dumps({"since": (now - timedelta(hours=1)).isoformat()})
    home.rows(
        "INSERT INTO gengfu_service_state (key, value, updated_at) VALUES ('monitor', ?, ?)",
        *(facts, now.replace(tzinfo=None).isoformat(sep=" ")),
    )
    home.broker()
    return home


def watches(home: Home, process: "subprocess.Popen[bytes]") -> bool:
    return home.number("SELECT pid FROM gengfu_lease WHERE name = 'alert-monitor'") == process.pid


def workers(home: Home) -> list[str]:
    found = home.rows("SELECT key FROM gengfu_service_state WHERE key LIKE 'worker:%' ORDER BY key")
    return [str(key).removeprefix("worker:").partition("@")[0] for (key,) in found]


def told(home: Home, level: str) -> list[Any]:
    return [json.loads(line) for line in home.log(f"{level}_alerts.log").splitlines()]


def names(home: Home, level: str) -> set[str]:
    return {line["alertname"] for line in told(home, level)}


def test_a_killed_worker_is_told_by_beat(watched: Home) -> None:
    worker = watched.worker("worker")
    wait_until(lambda: watches(watched, worker), "the worker watches")
    beat = watched.beat()
    wait_until(lambda: watched.leader() == beat.pid, "beat leads")
    kill_family(worker.pid)
    worker.wait()
    watched.let_leases_of_the_dead_end()
    wait_until(lambda: watches(watched, beat), "beat watches")
    wait_until(lambda: "WorkerDown" in names(watched, "warning"), "the worker's death is told")
    (line,) = [line for line in told(watched, "warning") if line["alertname"] == "WorkerDown"]
    assert line["labels"]["worker"].startswith("worker@")
    assert "BeatDown" not in names(watched, "critical")


def test_a_killed_beat_is_told_by_a_worker(watched: Home) -> None:
    beat = watched.beat()
    wait_until(lambda: watches(watched, beat) and watched.leader() == beat.pid, "beat leads and watches")
    worker = watched.worker()
    wait_until(lambda: workers(watched) == ["worker"], "the worker has signed")
    beat.kill()
    beat.wait()
    watched.let_leases_of_the_dead_end()
    wait_until(lambda: watches(watched, worker), "the worker watches")
    wait_until(lambda: "BeatDown" in names(watched, "critical"), "beat's death is told")
    assert "WorkerDown" not in names(watched, "warning")


def test_a_killed_broker_is_told(watched: Home) -> None:
    beat = watched.beat()
    wait_until(lambda: watches(watched, beat), "beat watches")
    watched.stop_broker()
    wait_until(lambda: "BrokerDown" in names(watched, "critical"), "the broker's death is told")
    (line,) = told(watched, "critical")
    assert line["event"] == "firing"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGQUIT], ids=["warm", "cold"])
def test_a_worker_that_is_stopped_takes_back_its_sign_and_its_watch(watched: Home, how: signal.Signals) -> None:
    worker = watched.worker()
    wait_until(lambda: watches(watched, worker) and workers(watched) == ["worker"], "the worker signs and watches")
    worker.send_signal(how)
    worker.wait(30)
    assert workers(watched) == []
    assert watched.number("SELECT count(*) FROM gengfu_service_state WHERE key = 'monitor'") == 0
    assert (
        watched.number("SELECT until > datetime('now', '+5 seconds') FROM gengfu_lease WHERE name = 'alert-monitor'")
        == 0
    )


def test_a_worker_whose_main_loop_hangs_is_told_and_so_is_its_end(watched: Home) -> None:
    gate = watched.folder / "gate"
    watched.celery_app = "hanging_app"
    path = os.pathsep.join([str(PROJECT), str(Path(__file__).parent)])
    watched.more = {"GATE": str(gate), "PYTHONPATH": path}
    worker = watched.worker()
    wait_until(lambda: watches(watched, worker) and workers(watched) == ["worker"], "the worker signs and watches")
    worker.send_signal(signal.SIGUSR2)
    wait_until(lambda: "WorkerDown" in names(watched, "warning"), "the hanging worker tells of itself")
    gate.touch()
    wait_until(lambda: "resolved" in events(watched), "its going on is told")
    assert worker.poll() is None


def events(home: Home) -> list[str]:
    return [line["event"] for line in told(home, "warning") if line["alertname"] == "WorkerDown"]


# A job killed on its way from what it found to its end

_KILLED_AT = """
import os, signal, sys
from app import jobs
from app.alerts.delivery.courier import Courier
from app.context import open_context
from app.execution import runner
from app.watch.desk import AlertDesk

def die(*_arguments, **_more):
    os.kill(os.getpid(), signal.SIGKILL)

points = {"committed": (AlertDesk, "_write_records"), "sent": (Courier, "_note_success"), "told": (runner, "_finish")}
if sys.argv[1] in points:
    setattr(*points[sys.argv[1]], die)
with open_context() as context:
    jobs.run_here(context, "disk-space-check")
"""

_FULL_DISK = """
[alerts]
channels = ["log_files"]

[alerts.rules.disk_usage_high]
levels = { warning = { raise = 0.001, clear = 0 }, critical = 101 }
"""


@pytest.mark.parametrize(("point", "most"), [("committed", 1), ("sent", 2), ("told", 1)])
def test_a_job_killed_between_what_it_found_and_its_end_is_told_all_the_same(home: Home, point: str, most: int) -> None:
    """Once it was committed nothing is lost, and only what was sent and not marked comes twice."""
    home.configure(_FULL_DISK)
    assert run("-m", "app", "db", "upgrade", env=home.env).returncode == 0
    killed = run("-c", _KILLED_AT, point, env=home.env)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert home.rows("SELECT state FROM gengfu_run") == [("running",)]
    assert home.number("SELECT count(*) FROM gengfu_alert_instance WHERE rule = 'disk_usage_high'") == 1
    # Who died sending holds the message for a minute.
    home.rows("UPDATE gengfu_alert_outbox SET lease_until = '2000-01-01 00:00:00' WHERE lease_until IS NOT NULL")
    again = run("-c", _KILLED_AT, "nowhere", env=home.env)
    assert again.returncode == 0, again.stderr
    assert home.rows("SELECT state FROM gengfu_run ORDER BY started_at") == [("interrupted",), ("succeeded",)]
    usage = [line for line in told(home, "warning") if line["alertname"] == "DiskUsageHigh"]
    assert [line["event"] for line in usage] == ["firing"] * most
    assert len({line["fired_at"] for line in usage}) == 1
    assert home.rows("SELECT state FROM gengfu_alert_outbox WHERE payload LIKE '%DiskUsageHigh%'") == [("sent",)]
