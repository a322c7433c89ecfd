"""Only one module of the program removes or moves files (rule R1)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
SEARCHED = ("app", "tasks", "config", "celery_beat_manager.py")
OWNER = "app/core/safe_files"

ALLOWED: dict[str, str] = {
    "app/core/atomic_json.py": "replaces its target by its own temporary file, or removes that file",
    "app/core/shared_json.py": "moves a damaged report of ours to a free name beside it",
    "app/upkeep/backup.py": "gives its finished temporary copy its name",
}
"""Other files that may, each with what it removes or moves: something it made itself, under a fixed name."""

# Whatever they are called on: no object of ours has other methods of these names.
TELLING = frozenset({"unlink", "rmdir", "rmtree", "removedirs", "renames", "rename"})
# Harmless on lists, strings and dates, not on these modules.
MODULES = {"os": frozenset({"remove", "replace"}), "shutil": frozenset({"move"})}


def removals(source: str) -> list[str]:
    """Return "line: name" for everything in `source` that removes or moves a file, called or only mentioned."""
    tree = ast.parse(source)
    modules = dict(imported_modules(tree))
    return [f"{node.lineno}: {name}" for node in ast.walk(tree) for name in removal(node, modules)]  # type: ignore[attr-defined]


def imported_modules(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield (name used, module) of every import of a module, so that `import os as o` hides nothing."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.asname or alias.name, alias.name


def removal(node: ast.AST, modules: dict[str, str]) -> Iterator[str]:
    if isinstance(node, ast.ImportFrom):
        telling = MODULES.get(node.module or "", frozenset()) | TELLING
        yield from (alias.name for alias in node.names if node.module in {"os", "shutil"} and alias.name in telling)
    elif isinstance(node, ast.Attribute):
        owner = modules.get(node.value.id, "") if isinstance(node.value, ast.Name) else ""
        if node.attr in TELLING | MODULES.get(owner, frozenset()):
            yield node.attr
    elif isinstance(node, ast.Call) and is_path_replace(node):
        yield "replace"


def is_path_replace(call: ast.Call) -> bool:
    """Tell Path.replace(target) from str.replace(old, new) and from replace(year=...) by its one plain argument."""
    is_method = isinstance(call.func, ast.Attribute) and call.func.attr == "replace"
    return is_method and len(call.args) == 1 and not call.keywords


def sources() -> Iterator[Path]:
    for name in SEARCHED:
        path = PROJECT / name
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path] * path.exists()


def name_of(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def test_only_the_owner_and_the_listed_files_remove_or_move_files() -> None:
    offenders = {
        name_of(path): found
        for path in sources()
        if not name_of(path).startswith(OWNER) and name_of(path) not in ALLOWED
        if (found := removals(path.read_text(encoding="utf-8")))
    }
    assert offenders == {}, "use app.core.safe_files, or list the file in ALLOWED with its reason"


def test_every_listed_file_still_needs_its_place_in_the_list() -> None:
    idle = [name for name in ALLOWED if not removals((PROJECT / name).read_text(encoding="utf-8"))]
    assert idle == []


def test_the_owner_itself_is_seen_to_remove() -> None:
    found = [entry for path in (PROJECT / OWNER).rglob("*.py") for entry in removals(path.read_text(encoding="utf-8"))]
    assert {entry.partition(": ")[2] for entry in found} == {"unlink", "rmdir"}


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos.unlink('x')",
        "import os\nos.remove('x')",
        "import os as o\no.remove('x')",
        "import os\nos.rename('x', 'y')",
        "import os\nos.replace('x', 'y')",
        "from os import remove",
        "from os import unlink as u",
        "from shutil import rmtree",
        "import shutil\nshutil.rmtree('x')",
        "import shutil\nshutil.move('x', 'y')",
        "import os\nremover = os.unlink",
        "path.unlink(missing_ok=True)",
        "path.rmdir()",
        "path.rename(other)",
        "path.replace(other)",
    ],
)
def test_every_way_of_removing_is_noticed(source: str) -> None:
    assert removals(source) != []


@pytest.mark.parametrize(
    "source",
    [
        "'a'.replace('b', 'c')",
        "day.replace(hour=0)",
        "names.remove('x')",
        "import os\nos.listdir('.')",
        "replace(row, a=1)",
    ],
)
def test_what_only_looks_like_it_is_left_alone(source: str) -> None:
    assert removals(source) == []
