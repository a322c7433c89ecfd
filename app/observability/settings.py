"""`[logging]`: how much is logged, and whether people see it on the terminal too."""

from typing import Annotated, Literal

from app.core.settings_file import Before, Section

Level = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR"],
    Before(lambda value: value.upper() if isinstance(value, str) else value),
]


class LoggingSettings(Section):
    """`[logging]`."""

    level: Level = "INFO"
    console: Literal["auto", "on", "off"] = "auto"
    """Readable lines on stderr: auto = only where stderr is a terminal."""
