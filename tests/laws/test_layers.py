"""Law 1: imports go strictly down; siblings import each other without circles. And the part of law 2 that is read."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[2] / "coca_cli"

LEVELS: tuple[tuple[str, ...], ...] = (
    ("version",),
    ("errors", "printable", "redaction", "refusals", "json_text"),
    ("extras",),
    ("files", "results", "details", "store", "progress", "world"),
    ("registry",),
    ("recipes",),
    ("options",),
    ("decoding_options", "training_options"),
    ("datasets",),
    ("media",),
    ("model",),
    ("tasks",),
    ("training", "reports"),
    ("suites", "doctor", "completion"),
    ("commands",),
    ("cli", "api"),
    ("__main__", "__init__"),
)
"""From the bottom up. A room that is named here twice or not at all breaks the law."""

SIBLINGS = ("files", "results", "details", "store", "progress", "world")
"""Files of one low level, which may import each other as the files of one room may."""

LIGHT = (
    "__init__",
    "version",
    "extras",
    "errors",
    "printable",
    "redaction",
    "refusals",
    "json_text",
    "files",
    "results",
    "details",
    "store",
    "options",
    "decoding_options",
    "training_options",
    "progress",
    "registry",
    "recipes",
    "datasets",
    "commands",
    "cli",
    "__main__",
)
"""The rooms that are loaded before the user's command is known."""

HEAVY = frozenset({"torch", "torchvision", "open_clip", "timm", "pandas", "sklearn", "scipy", "transformers"})
NEVER_IN_DATASETS = frozenset({"torch", "torchvision", "open_clip", "timm", "pandas", "transformers"})


class Import(NamedTuple):
    """One import statement's target: a module of the package, or another package's top name."""

    target: str
    line: int
    at_top: bool


def module_names(package: Path) -> dict[str, Path]:
    """Dotted names below the package, "" for its own __init__, and their files."""
    names = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def room_of(module: str) -> str:
    return module.partition(".")[0] or "__init__"


def level_of(module: str) -> int:
    return next(index for index, rooms in enumerate(LEVELS) if room_of(module) in rooms)


def _statements(tree: ast.AST, at_top: bool = True) -> Iterator[tuple[ast.stmt | ast.Call, bool]]:
    """Every import with whether it runs when the module is imported; imports for type checkers alone do not."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Call):
            yield node, at_top
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        checking = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        yield from _statements(node, at_top and not inside and not checking)


def read_imports(package: Path, module: str, known: Iterable[str]) -> list[Import]:
    """All imports of one module; those of the package itself as dotted names below it."""
    path, known, found = module_names(package)[module], set(known), []
    base = [package.name, *module.split(".")] if module else [package.name]
    if path.name != "__init__.py":
        base.pop()
    for node, at_top in _statements(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = base[: len(base) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            inner = [f"{source}.{alias.name}" for alias in node.names]
            names = [name if name.removeprefix(f"{package.name}.") in known else source for name in inner]
        elif isinstance(node, ast.Call) and "import_module" in ast.dump(node.func):
            names = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        for name in dict.fromkeys(names):
            own = name == package.name or name.startswith(f"{package.name}.")
            target = name[len(package.name) :].lstrip(".") if own else ":" + name.partition(".")[0]
            found.append(Import(target, node.lineno, at_top))
    return found


def find_climbs(package: Path) -> list[str]:
    """Imports that do not go down, in words."""
    faults = []
    known = module_names(package)
    for module in known:
        if not any(room_of(module) in rooms for rooms in LEVELS):
            faults.append(f"{module}: the room {room_of(module)!r} has no level; give it one in LEVELS")
    for module in known if not faults else ():
        for target, line, _ in read_imports(package, module, known):
            if target.startswith(":"):
                continue
            if target not in known:
                faults.append(f"{module}:{line} imports {target}, which does not exist")
                continue
            same_room = room_of(target) == room_of(module)
            siblings = room_of(target) in SIBLINGS and room_of(module) in SIBLINGS
            if not same_room and not siblings and level_of(target) >= level_of(module):
                faults.append(f"{module}:{line} imports {target}, which is not below it")
    return faults


def find_circles(package: Path) -> list[str]:
    """Modules that import each other in a circle, wherever the import statement stands."""
    known = module_names(package)
    edges = {
        module: {found.target for found in read_imports(package, module, known)} & set(known) - {module}
        for module in known
    }
    while leaves := [module for module, targets in edges.items() if not targets & set(edges)]:
        for leaf in leaves:
            del edges[leaf]
    # What only leads to a circle is no part of it.
    while roots := [module for module in edges if not any(module in targets for targets in edges.values())]:
        for root in roots:
            del edges[root]
    return sorted(edges)


def find_weights(package: Path) -> list[str]:
    """Modules of the light rooms that load a heavy package when they are imported, with the way to it, in words."""
    known = module_names(package)
    imports = {module: read_imports(package, module, known) for module in known}

    def way(module: str, seen: tuple[str, ...]) -> tuple[str, ...] | None:
        for target, _, at_top in imports[module]:
            if at_top and target.startswith(":") and target[1:] in HEAVY:
                return (*seen, target[1:])
        for target, _, at_top in imports[module]:
            for inner in _with_parents(target) if at_top and target in known else ():
                if inner not in seen and (found := way(inner, (*seen, inner))):
                    return found
        return None

    ways = (way(module, (module,)) for module in known if room_of(module) in LIGHT)
    return [" -> ".join(found) for found in ways if found]


def _with_parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def test_imports_go_strictly_down() -> None:
    assert find_climbs(PACKAGE) == []


def test_no_imports_in_circles() -> None:
    assert find_circles(PACKAGE) == []


def test_light_rooms_load_nothing_heavy() -> None:
    assert find_weights(PACKAGE) == []


def test_datasets_never_import_tensors() -> None:
    known = module_names(PACKAGE)
    faults = [
        f"{module}:{found.line} imports {found.target[1:]}"
        for module in known
        if room_of(module) == "datasets"
        for found in read_imports(PACKAGE, module, known)
        if found.target.startswith(":") and found.target[1:] in NEVER_IN_DATASETS
    ]
    assert faults == []


@pytest.mark.parametrize("call", ["eval", "exec", "__import__"])
def test_nothing_runs_text(call: str) -> None:
    faults = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in module_names(PACKAGE).values()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == call
    ]
    assert faults == []


def _tree(folder: Path, files: dict[str, str]) -> Path:
    for name, text in {"__init__.py": "", **files}.items():
        path = folder / "fake" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "fake"


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        ({"errors.py": "from fake import cli", "cli.py": ""}, "errors:1 imports cli, which is not below it"),
        ({"media/a.py": "import fake.model.b", "model/b.py": ""}, "media.a:1 imports model.b, which is not below it"),
        ({"tasks/a.py": "from fake.reports import b", "reports/b.py": ""}, "tasks.a:1 imports reports.b"),
        ({"model/a.py": "def f():\n  from ..tasks import b", "tasks/b.py": ""}, "model.a:2 imports tasks.b"),
        ({"model/__init__.py": "from ..cli import x", "cli.py": ""}, "model:1 imports cli, which is not below"),
        ({"registry.py": "import_module('fake.cli')", "cli.py": ""}, "registry:1 imports cli, which is not below it"),
        ({"model/a.py": "from fake.model.missing import x"}, "model.a:1 imports model.missing, which does not exist"),
        ({"utils/a.py": ""}, "utils.a: the room 'utils' has no level"),
    ],
)
def test_a_climb_is_found(tmp_path: Path, files: dict[str, str], fault: str) -> None:
    inits = {f"{Path(name).parent}/__init__.py": "" for name in files if "/" in name}
    faults = find_climbs(_tree(tmp_path, inits | files))
    assert faults
    assert all(found.startswith(fault) or "the room 'utils'" in found for found in faults)


def test_ways_down_and_siblings_are_free(tmp_path: Path) -> None:
    files = {
        "version.py": "",
        "errors.py": "from fake.version import __version__\nimport torch_free",
        "results.py": "from fake.errors import E",
        "model/__init__.py": "",
        "model/a.py": "from fake.model.b import x\nfrom fake.results import y\nimport torch",
        "model/b.py": "from . import c",
        "model/c.py": "",
        "commands/__init__.py": "",
        "commands/run.py": "import fake.errors\ndef f():\n  import torch\n  from fake.model import a",
        "cli.py": "from typing import TYPE_CHECKING\nfrom fake.commands import run\nif TYPE_CHECKING:\n  import torch",
    }
    package = _tree(tmp_path, files)
    assert (find_climbs(package), find_circles(package), find_weights(package)) == ([], [], [])


def test_a_circle_is_found(tmp_path: Path) -> None:
    files = {
        "model/__init__.py": "",
        "model/a.py": "from fake.model import b",
        "model/b.py": "def f():\n  from fake.model.c import x",
        "model/c.py": "from .a import x",
        "model/leads_to_it.py": "from fake.model import a",
        "cli.py": "from fake.model import leads_to_it",
    }
    assert find_circles(_tree(tmp_path, files)) == ["model.a", "model.b", "model.c"]


@pytest.mark.parametrize(
    ("files", "way"),
    [
        ({"cli.py": "import torch.nn"}, "cli -> torch"),
        ({"cli.py": "try:\n  import pandas\nexcept ImportError: pass"}, "cli -> pandas"),
        ({"cli.py": "from fake.model import a", "model/a.py": "import torch"}, "cli -> model.a -> torch"),
        ({"cli.py": "from fake.model import a", "model/__init__.py": "import timm"}, "cli -> model -> timm"),
    ],
)
def test_weight_is_found(tmp_path: Path, files: dict[str, str], way: str) -> None:
    assert find_weights(_tree(tmp_path, {"model/__init__.py": "", "model/a.py": ""} | files)) == [way]
