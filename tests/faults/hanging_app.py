"""The program's own Celery application, whose worker's main loop stands still from SIGUSR2 on until GATE exists."""

import os
import signal
import time
from pathlib import Path

from tasks.celery_app import app

__all__ = ["app"]


def _stand_still(*_facts: object) -> None:
    while not Path(os.environ["GATE"]).exists():
        time.sleep(0.05)


signal.signal(signal.SIGUSR2, _stand_still)
