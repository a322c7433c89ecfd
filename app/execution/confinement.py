"""Letting the kernel confine a process that cleans to the roots and the program's own folders (Landlock)."""

import tempfile
from pathlib import Path

import structlog

from app.context import Context
from app.core.errors import OutputUnwritable, SettingsError
from app.core.safe_files import landlock
from app.core.safe_files.landlock import LandlockState

_log = structlog.get_logger("gengfu.confinement")


def confine_process(context: Context) -> LandlockState:
    """Confine this process for ever, as far as `[retention] landlock` says and the kernel can.

    For processes that only do jobs: children of the worker's pool, and `gengfu retention run`. A folder that appears
    later (a volume mounted meanwhile) is not among those it may clean: its root is held until the process is replaced.
    Raises SettingsError where it is required and can't be had.
    """
    state = landlock.confine(writable_folders(context), context.settings.retention.landlock)
    _log.debug("landlock", state=state.state, detail=state.detail)
    return state


def require_confinement(context: Context) -> None:
    """Raise SettingsError where `landlock = "required"` and this process is not confined."""
    if context.settings.retention.landlock != "required":
        return
    state = landlock.current("required")
    if state.state != "active":
        raise SettingsError(
            f"[retention] landlock = required, but this process is not confined ({state.detail}); "
            "clean with a worker or `gengfu retention run`"
        )


def writable_folders(context: Context) -> list[Path]:
    """Return where jobs make and remove files: the roots, and what the program keeps itself. Own ones are made."""
    settings, paths = context.settings, context.settings.paths
    own = [paths.home / "reports", paths.logs, paths.var, paths.below_home(Path(settings.upkeep.backup_folder))]
    for folder in own:
        _make(folder)
    # SQLite keeps its journal beside the file; large sorts go to /var/tmp before TMPDIR was ever asked for.
    database = [context.database.file.parent] if context.database.file is not None else []
    return [*own, *database, *context.folders.values(), Path(tempfile.gettempdir()), Path("/var/tmp")]  # noqa: S108


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputUnwritable(
            f"the folder {folder} can't be made: {error.strerror}; check GENGFU_HOME and who may write there"
        ) from error
