"""How many rows one transaction takes."""

from dataclasses import dataclass

_FEWEST_ROWS = 100
_SHORT_BATCHES = 3
_MOST_FAILURES = 3
_FEWEST_WORTH_WHILE = 1000
"""A batch costs some 3 ms whatever its size: where so few rows take long, the machine is busy, and smaller batches
would keep it busier and delete less."""
_TOO_LONG_S = 1.0
"""Unless it takes that long: then it is the rows."""
_SHORT_S, _LONG_S = 0.035, 0.07
_AIM_S = 0.05
"""Neither mostly round trips nor long enough for anybody to wait for."""


@dataclass(kw_only=True)
class BatchSize:
    """Half after each time-out; else towards batches of 50 ms: fewer after a long one, more after three short ones."""

    most: int
    rows: int
    short: int = 0
    failures: int = 0

    @property
    def hopeless(self) -> bool:
        """Three time-outs in a row: somebody else needs the table more."""
        return self.failures >= _MOST_FAILURES

    def succeeded(self, seconds: float = 0.0) -> None:
        """Take note of a batch and how long its transaction lasted."""
        self.failures = 0
        self.short = self.short + 1 if seconds < _SHORT_S else 0
        if seconds > _LONG_S:
            self.rows = self._at_least(self._fewer(seconds))
        elif self.short >= _SHORT_BATCHES:
            self.short = 0
            self.rows = min(self.most, int(self.rows * min(2.0, _AIM_S / max(seconds, 1e-3))))

    def failed(self) -> None:
        """Take note of a time-out."""
        self.short = 0
        self.failures += 1
        self.rows = self._at_least(self.rows // 2)

    def _fewer(self, seconds: float) -> int:
        fewer = int(self.rows * _AIM_S / seconds)
        if seconds > _TOO_LONG_S:
            return fewer
        # Half at most: a single slow commit says nothing about the rows.
        return max(fewer, self.rows // 2, min(_FEWEST_WORTH_WHILE, self.rows))

    def _at_least(self, rows: int) -> int:
        return max(min(_FEWEST_ROWS, self.most), rows)
