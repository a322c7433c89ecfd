"""Notices that files were changed, by their content: two changes within a second have the same time."""

from collections.abc import Sequence
from pathlib import Path

from app.core.clock import Clock

LOOK_EVERY_S = 2.0


class FileWatch:
    """Watches a few small files, which may come and go."""

    def __init__(self, paths: Sequence[Path], clock: Clock) -> None:
        self._paths = paths
        self._clock = clock
        self._look_at = float("-inf")
        self._told: list[bytes | str | None] | None = None
        self._seen: list[bytes | str | None] | None = None

    def changed(self) -> bool:
        """Tell once of each new content, the very first included; looks every `LOOK_EVERY_S` at most.

        Told at the second look that finds the same: an editor may empty a file before it writes it again.
        """
        if self._clock.monotonic() < self._look_at:
            return False
        self._look_at = self._clock.monotonic() + LOOK_EVERY_S
        before, self._seen = self._seen, [_content(path) for path in self._paths]
        if self._seen != before or self._seen == self._told:
            return False
        self._told = self._seen
        return True


def _content(path: Path) -> bytes | str | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        return str(error)  # whoever reads it will tell
