"""Which category an error message belongs to."""

from dataclasses import dataclass

from app.reporting.patterns import Pattern, compile_pattern
from app.reporting.settings import ErrorCategory


@dataclass(frozen=True, kw_only=True)
class _Rule:
    name: str
    words: tuple[str, ...]
    patterns: tuple[Pattern, ...]

    def fits(self, message: str, folded: str) -> bool:
        return any(word in folded for word in self.words) or any(
            one.search(message) is not None for one in self.patterns
        )


class Categories:
    """The ordered rules, ready for use."""

    def __init__(self, rules: tuple[ErrorCategory, ...]) -> None:
        self._rules = [
            _Rule(
                name=rule.name,
                words=tuple(word.casefold() for word in rule.contains),
                patterns=tuple(map(compile_pattern, rule.matches)),
            )
            for rule in rules[:-1]
        ]
        self.fallback = rules[-1].name

    def of(self, message: str | None) -> str:
        """Return the name of the first category that `message` fits, else the fallback's."""
        text = message or ""
        folded = text.casefold()
        return next((rule.name for rule in self._rules if rule.fits(text, folded)), self.fallback)
