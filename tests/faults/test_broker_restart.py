"""A broker that is killed and comes back costs no worker and no message."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from celery import Celery
from processes import environment, free_port, started, valkey, wait_until

_WORKER = ("-m", "celery", "-A", "slow_app", "worker", "-Q", "file", "-c", "4", "-l", "INFO")
_FOLDER = Path(__file__).resolve().parent
# More slots than deliveries of the job in flight (one more for each restart): a worker whose slots are all taken
# does not read from its broker, and does not notice that it is gone.
_CONNECTED = b"Connected to redis"
_REFUSED = b"Cannot connect to redis"
_DEAD = b"Unrecoverable error: AttributeError"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A worker with one job in flight, and a broker to kill."""

    folder: Path
    port: int
    worker: "subprocess.Popen[bytes]"

    @property
    def gate(self) -> Path:
        """The job in flight ends when this file exists."""
        return self.folder / "gate"

    def log(self) -> bytes:
        return (self.folder / "worker.log").read_bytes()

    def kill(self, broker: "subprocess.Popen[bytes]") -> None:
        """Kill the broker and wait until the worker was refused: a restart it can bridge by itself would prove nothing.

        Of a loss that meets it while it connects it says nothing else.
        """
        before = len(self.log())
        broker.kill()
        broker.wait()
        wait_until(
            lambda: any(word in self.log()[before:] for word in (_REFUSED, _DEAD)),
            "the worker has noticed that its broker is gone",
        )

    def send(self, task: str, *args: object) -> None:
        with Celery("client", broker=f"redis://127.0.0.1:{self.port}/0") as client:
            client.conf.update(task_ignore_result=True, broker_transport_options={"priority_steps": list(range(10))})
            client.send_task(task, args=[str(arg) for arg in args], queue="file")


@contextmanager
def _scene(folder: Path, **more: str) -> Iterator[Scene]:
    port = free_port()
    env = environment(folder / "home", CELERY_BROKER_URL=f"redis://127.0.0.1:{port}/0", **more)
    env["PYTHONPATH"] = os.pathsep.join([env["PYTHONPATH"], str(_FOLDER)])
    with valkey(folder / "valkey", port) as broker, started(*_WORKER, env=env, log=folder / "worker.log") as worker:
        scene = Scene(folder=folder, port=port, worker=worker)
        scene.send("slow.wait_for", folder / "begun", scene.gate)
        wait_until((folder / "begun").exists, "the job is in flight")
        scene.kill(broker)
        yield scene


@pytest.mark.parametrize("restarts", [1, 2])
def test_a_worker_with_a_job_in_flight_survives_restarts_of_its_broker(tmp_path: Path, restarts: int) -> None:
    with _scene(tmp_path) as scene:
        for _ in range(1, restarts):
            before = len(scene.log())
            with valkey(tmp_path / "valkey", scene.port) as short_lived:
                wait_until(lambda n=before: _CONNECTED in scene.log()[n:], "connected again")
                scene.kill(short_lived)
        assert b"mingle" not in scene.log(), "which would look for the broker in silence"
        with valkey(tmp_path / "valkey", scene.port):
            scene.gate.touch()
            scene.send("slow.touch", tmp_path / "after")
            wait_until(
                lambda: (tmp_path / "after").exists() or scene.worker.poll() is not None, "the next message is done"
            )
            assert scene.worker.poll() is None, scene.log()[-3000:].decode()


@pytest.mark.parametrize("consumer", [{}, {"CELERYS_CONSUMER": "1"}], ids=["ours", "Celery's"])
def test_a_job_that_ends_while_the_broker_is_away_costs_no_worker(tmp_path: Path, consumer: dict[str, str]) -> None:
    with _scene(tmp_path, **consumer) as scene:
        _end_job(scene)
        with valkey(tmp_path / "valkey", scene.port):
            scene.send("slow.touch", tmp_path / "after")
            wait_until(
                lambda: (tmp_path / "after").exists() or scene.worker.poll() is not None, "the next message is done"
            )
            assert scene.worker.poll() is None, scene.log()[-3000:].decode()


def test_without_the_guard_the_worker_still_dies(tmp_path: Path) -> None:
    """When this fails, Celery or kombu has mended it: take tasks/broker_guard.py out for those versions."""
    with _scene(tmp_path, CELERYS_CONSUMER="1", WITHOUT_GUARD="1") as scene:
        scene.gate.touch()
        wait_until(lambda: scene.worker.poll() is not None, "the unguarded worker has died", within_s=30)
        assert _DEAD in scene.log()


def _end_job(scene: Scene) -> None:
    scene.gate.touch()
    wait_until(lambda: scene.worker.poll() is not None or b"succeeded in" in scene.log(), "the job has ended")
