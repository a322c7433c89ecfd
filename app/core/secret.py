"""A text that must not be shown: a password, or an address that holds one."""

from typing import Any

from app.core.redaction import MASK


class Secret:
    """Shown as `***` wherever it turns up, in repr, logs, JSON and pickles; empty it is shown as empty."""

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def get_secret_value(self) -> str:
        """Return the text itself; never for showing."""
        return self._text

    def __str__(self) -> str:
        return MASK if self._text else ""

    def __repr__(self) -> str:
        return f"Secret({str(self)!r})"

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return self._text == other._text if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._text)

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> "Secret":
        return self

    def __reduce__(self) -> tuple[type["Secret"], tuple[str]]:
        # What is pickled ends in files and messages. Whoever reads it back gets no password that works.
        return Secret, (str(self),)


class Sealed(Secret):
    """A text of which every part is secret, such as a key or a webhook's address: `config show` masks it whole.

    Of an ordinary `Secret` it shows what is left without the password, which tells people which database is meant.
    """

    __slots__ = ()

    def __reduce__(self) -> tuple[type["Secret"], tuple[str]]:
        return Sealed, (str(self),)
