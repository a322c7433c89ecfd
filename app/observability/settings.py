"""`[logging]`: how much is logged, and whether people see it on the terminal too."""

from typing import Annotated, Literal

from pydantic import BeforeValidator

from app.core.settings_file import Section

Level = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(lambda v: v.upper() if isinstance(v, str) else v)
]


class LoggingSettings(Section):
    """`[logging]`."""

    level: Level = "INFO"
    console: Literal["auto", "on", "off"] = "auto"
    """Readable lines on stderr: auto = only where stderr is a terminal."""
