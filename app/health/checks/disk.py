"""How full the file systems are: space and inodes, as `df` counts them."""

import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

from app.health.settings import DiskSettings

Status = Literal["normal", "warning", "critical"]
DEADLINE_S = 10.0
"""Seconds until a file system that does not answer, such as a dead NFS server, is given up."""
_GIB = 1024**3
_RANK: dict[str, int] = {"normal": 0, "warning": 1, "critical": 2}
_stuck: dict[Path, threading.Thread] = {}


@dataclass(frozen=True, kw_only=True)
class _Measured:
    device: int
    mount: str
    read_only: bool
    figures: dict[str, Any]


@dataclass(kw_only=True)
class _Answer:
    measured: _Measured | None = None
    error: OSError | None = field(default=None)


def check_disks(paths: Iterable[Path], settings: DiskSettings, *, deadline_s: float = DEADLINE_S) -> dict[str, Any]:
    """Measure the file systems of `settings.mounts`, or of `paths` where none are configured; never raises.

    `disk_info` is the fullest one: total_gb, used_gb, free_gb (1 GB = 1024^3 bytes; free to ordinary users),
    usage_percent = used / (used + free), status `normal | warning | critical`. `mounts` lists all, each device once,
    with mount, device, read_only, the figures in bytes and inodes (None where the file system has no fixed number),
    inodes_percent and inodes_status; `status` is the worst of all. What could not be measured stands in `errors`;
    `success` is false if nothing could be.
    """
    found: dict[object, tuple[str, _Measured]] = {}
    errors: list[dict[str, str]] = []
    partitions = _partitions()
    for path in settings.mounts or tuple(paths):
        try:
            measured = _measured_in_time(path, settings, deadline_s)
        except OSError as error:
            errors.append({"path": str(path), "why": _explained(error)})
            continue
        name, key = _device(measured, partitions)
        # A bind mount may be read-only where the file system is not.
        if key not in found or (found[key][1].read_only and not measured.read_only):
            found[key] = (name, measured)
    mounts = [
        {"mount": one.mount, "device": name, "read_only": one.read_only, **one.figures} for name, one in found.values()
    ]
    return _result(mounts, errors)


def _result(mounts: list[dict[str, Any]], errors: list[dict[str, str]]) -> dict[str, Any]:
    if not mounts:
        why = errors[0] if errors else {"path": "", "why": "no folder to measure; name some in [health.disk] mounts"}
        error = f"{why['path']}: {why['why']}".removeprefix(": ")
        return {"success": False, "status": None, "disk_info": None, "mounts": [], "errors": errors, "error": error}
    fullest = max(mounts, key=lambda mount: mount["usage_percent"])
    statuses = [mount[key] for mount in mounts for key in ("status", "inodes_status")]
    return {
        "success": True,
        "status": max(statuses, key=_RANK.__getitem__),
        "disk_info": fullest,
        "mounts": mounts,
        "errors": errors,
    }


def _measured_in_time(path: Path, settings: DiskSettings, deadline_s: float) -> _Measured:
    """Measure in a thread: a call into a dead network file system never returns and can't be interrupted."""
    if (earlier := _stuck.get(path)) is not None and earlier.is_alive():
        raise TimeoutError("still does not answer since an earlier check")
    answer = _Answer()
    thread = threading.Thread(target=_measure_into, args=(answer, path, settings), daemon=True)
    thread.start()
    thread.join(deadline_s)
    if thread.is_alive():
        _stuck[path] = thread
        raise TimeoutError(f"did not answer within {deadline_s:g} s")
    _stuck.pop(path, None)
    if answer.measured is None:
        raise answer.error or OSError("no answer")
    return answer.measured


def _measure_into(answer: _Answer, path: Path, settings: DiskSettings) -> None:
    try:
        answer.measured = _measure(path, settings)
    except OSError as error:
        answer.error = error


def _measure(path: Path, settings: DiskSettings) -> _Measured:
    real = path.resolve(strict=True)
    status = os.statvfs(real)
    return _Measured(
        device=real.stat().st_dev,
        mount=str(_mount_of(real)),
        read_only=bool(status.f_flag & os.ST_RDONLY),
        figures=_figures(status, settings),
    )


def _mount_of(path: Path) -> Path:
    while not path.is_mount() and path != path.parent:
        path = path.parent
    return path


def _figures(status: os.statvfs_result, settings: DiskSettings) -> dict[str, Any]:
    """Judge the rounded figure: what is shown is what is judged."""
    block = status.f_frsize or status.f_bsize
    used = status.f_blocks - status.f_bfree
    usage = _percent(used, status.f_bavail)
    if usage is None:
        raise OSError("is no file system with a size")
    inodes = _percent(status.f_files - status.f_ffree, status.f_favail)
    return {
        "total_gb": round(status.f_blocks * block / _GIB, 2),
        "used_gb": round(used * block / _GIB, 2),
        "free_gb": round(status.f_bavail * block / _GIB, 2),
        "total_bytes": status.f_blocks * block,
        "used_bytes": used * block,
        "free_bytes": status.f_bavail * block,
        "usage_percent": usage,
        "status": _status(usage, settings.warning_percent, settings.critical_percent),
        "inodes_used": None if inodes is None else status.f_files - status.f_ffree,
        "inodes_free": None if inodes is None else status.f_favail,
        "inodes_percent": inodes,
        "inodes_status": _status(inodes or 0, settings.inodes_warning_percent, settings.inodes_critical_percent),
    }


def _percent(used: int, available: int) -> float | None:
    total = used + available
    return round(100 * used / total, 2) if total > 0 else None


def _status(percent: float, warning: float, critical: float) -> Status:
    if percent > critical:
        return "critical"
    return "warning" if percent > warning else "normal"


def _partitions() -> dict[str, tuple[str, str]]:
    """Mount point -> device and type; the last mount over a point is the one that is seen."""
    try:
        return {part.mountpoint: (part.device, part.fstype) for part in psutil.disk_partitions(all=True)}
    except OSError:
        return {}


def _device(measured: _Measured, partitions: Mapping[str, tuple[str, str]]) -> tuple[str, object]:
    """Return the device's name, and what tells it from others: subvolumes of btrfs share the space of their device."""
    numbers = f"{os.major(measured.device)}:{os.minor(measured.device)}"
    name, kind = partitions.get(measured.mount, ("", ""))
    return name or numbers, name if kind == "btrfs" else measured.device


def _explained(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "does not exist; mount its volume or correct [health.disk] mounts"
    return error.strerror or str(error)
