"""The sections of the daily report: one file each, its name is the section's key, found by itself.

A section is a module with `build(facts: Facts) -> dict[str, Any]` returning JSON-able figures.
"""

import importlib
import pkgutil
from typing import Any

from app.reporting.facts import Facts


def build_sections(facts: Facts) -> dict[str, dict[str, Any]]:
    """Return every section of the report by its key."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}").build(facts) for name in names}
