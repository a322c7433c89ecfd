"""Which category an error message belongs to."""

from app.reporting.settings import ErrorCategory


class Categories:
    """The ordered rules, ready for use."""

    def __init__(self, rules: tuple[ErrorCategory, ...]) -> None:
        self._rules = [(rule.name, tuple(word.casefold() for word in rule.contains)) for rule in rules[:-1]]
        self.fallback = rules[-1].name

    def of(self, message: str | None) -> str:
        """Return the name of the first category with a word that `message` contains, else the fallback's."""
        folded = (message or "").casefold()
        for name, words in self._rules:
            if any(word in folded for word in words):
                return name
        return self.fallback
