"""What went wrong in a run, one line each, bounded."""

_SHOWN = 50


class Problems:
    """Lines for the report's `errors`; the count is exact, the lines end at fifty."""

    def __init__(self) -> None:
        """Start with none."""
        self.count = 0
        self._lines: list[str] = []

    def add(self, line: str) -> None:
        """Note one problem; line breaks are taken out."""
        self.count += 1
        if len(self._lines) < _SHOWN:
            self._lines.append(" ".join(line.split()))

    def lines(self) -> list[str]:
        """Return at most fifty lines, the last telling how many more there were."""
        if self.count <= _SHOWN:
            return list(self._lines)
        return [*self._lines[:-1], f"and {self.count - _SHOWN + 1} more"]
