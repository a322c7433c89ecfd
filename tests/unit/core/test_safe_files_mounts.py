"""Mount points below a root, with real mounts in a mount namespace of the test's own."""

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
ALONE = ("unshare", "--map-root-user", "--mount")

MOUNTED = """
import os, subprocess, sys
from pathlib import Path
from app.core.errors import PathRefused, RootRefused
from app.core.safe_files import create_marker, kernel, open_root

if sys.argv[2] == "stepwise":
    kernel.has_openat2 = lambda: False
base = Path(sys.argv[1])
place, outside = base / "root", base / "outside"
create_marker(place)
outside.mkdir()
for path in (outside / "canary", outside / "one", place / "file", place / "one"):
    path.write_text("alive")
for name in ("bind", "tmpfs", "plain"):
    (place / name).mkdir()
(place / "plain" / "x").touch()
mount = lambda *words: subprocess.run(["mount", *map(str, words)], check=True)
mount("--bind", outside, place / "bind")
mount("-t", "tmpfs", "none", place / "tmpfs")
mount("--bind", outside / "one", place / "one")
(place / "tmpfs" / "canary").write_text("alive")

def reason(action):
    try:
        action()
    except PathRefused as refusal:
        return refusal.reason
    return "done"

with open_root("r", place) as root:
    for relative in (b"bind/canary", b"tmpfs/canary", b"bind/missing"):
        assert reason(lambda: root.inspect(relative)) == "other_mount", relative
        assert reason(lambda: root.remove(relative, None)) == "other_mount", relative
    assert reason(lambda: root.remove(b"one", None)) == "ebusy"
    refusals = []
    found = {entry.relative for entry in root.walk(refusals.append)}
    assert found == {b"file", b"one", b"plain/x"}, found
    assert sorted(str(refusal) for refusal in refusals) == ["other_mount: bind", "other_mount: tmpfs"], refusals
    assert root.remove_empty_parents(b"tmpfs/x") == 0
    assert root.remove(b"file", None) is not None
for canary in (outside / "canary", outside / "one", place / "tmpfs" / "canary", place / "one"):
    assert canary.read_text() == "alive"

# Another volume over the root: its marker is another or none.
mount("-t", "tmpfs", "none", place)
try:
    open_root("r", place)
except RootRefused:
    print("all kept")
"""

# Files of a lower layer keep the device number of that layer: they are on the root's mount all the same.
OVERLAID = """
import subprocess, sys
from pathlib import Path
from app.core.safe_files import create_marker, open_root

base = Path(sys.argv[1])
mount = lambda *words: subprocess.run(["mount", *map(str, words)], check=True)
for name in ("layers", "lower", "root"):
    (base / name).mkdir()
mount("-t", "tmpfs", "none", base / "lower")
mount("-t", "tmpfs", "none", base / "layers")
(base / "lower" / "folder").mkdir()
(base / "lower" / "folder" / "file").write_text("old")
for name in ("upper", "work"):
    (base / "layers" / name).mkdir()
layers = f"lowerdir={base}/lower,upperdir={base}/layers/upper,workdir={base}/layers/work"
mount("-t", "overlay", "none", "-o", layers, base / "root")
create_marker(base / "root")
with open_root("r", base / "root") as root:
    entry = root.inspect(b"folder/file")
    assert entry.device != root.device
    assert root.remove(b"folder/file", entry.identity) is not None
    assert root.inspect(b"folder/file") is None
print("removed")
"""


def can_mount() -> bool:
    try:
        return (
            subprocess.run(
                [*ALONE, "mount", "-t", "tmpfs", "none", "/mnt"], check=False, capture_output=True
            ).returncode
            == 0
        )
    except OSError:
        return False


def run_alone(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*ALONE, sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=PROJECT, timeout=60)


pytestmark = pytest.mark.skipif(not can_mount(), reason="this system lets nobody mount in a namespace of his own")


@pytest.mark.parametrize("resolution", ["openat2", "stepwise"])
def test_nothing_beyond_a_mount_point_is_touched(tmp_path: Path, resolution: str) -> None:
    result = run_alone(MOUNTED, tmp_path, resolution)
    assert (result.stdout, result.stderr) == ("all kept\n", "")


def test_files_of_a_lower_layer_of_an_overlay_are_removed(tmp_path: Path) -> None:
    result = run_alone(OVERLAID, tmp_path)
    if "overlay" in result.stderr and "CalledProcessError" in result.stderr:
        pytest.skip("this system lets nobody mount an overlay")
    assert (result.stdout, result.stderr) == ("removed\n", "")
