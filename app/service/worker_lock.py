"""Where a ready worker leaves its sign of life, for `up` and `status` to read without broker or database."""

import re
from pathlib import Path


def worker_lock_path(var: Path, name: str) -> Path:
    """Return the lock file that the worker of this name (the part before `@`) holds while it is ready."""
    return var / "run" / f"worker-{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}.lock"
