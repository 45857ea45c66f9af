"""The walls between rooms, read from the imports themselves."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "orchestrator"

LAYERS = [
    {"errors", "specs"},
    {"progress", "store"},
    {"data", "video", "backbones", "heads", "training", "search"},
    {"engine", "sweep", "reporting", "tracking"},
    {"study", "results", "driver", "api", "trailers12k"},
    {"cli", "cli_show", "cli_stop", "cli_options", "cli_trailers12k", "__init__", "__main__"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
ONLY_IN = {"ray": "engine", "mlflow": "tracking"}


def room_of(path: Path) -> str:
    part = path.relative_to(PACKAGE).parts[0]
    return part.removesuffix(".py")


def imports_of(path: Path) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append((node.lineno, node.module))
    return found


SOURCES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    room = room_of(path)
    assert room in LEVEL, f"{room} has no place among the layers"
    for line, module in imports_of(path):
        if module.startswith("orchestrator."):
            other = module.split(".")[1]
            assert LEVEL[other] <= LEVEL[room], f"{path}:{line}: {room} imports {other}, which lies above it"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_ray_and_mlflow_have_one_importer_each(path: Path) -> None:
    for line, module in imports_of(path):
        owner = ONLY_IN.get(module.split(".")[0])
        assert owner in (None, room_of(path)), f"{path}:{line}: only {owner} may import {module}"


@pytest.mark.parametrize(
    "module", ["orchestrator", "orchestrator.cli", "orchestrator.sweep.space", "orchestrator.sweep.plan"]
)
def test_planning_loads_nothing_heavy(module: str) -> None:
    code = (
        "import sys; heavy = {'torch', 'ray', 'mlflow', 'decord', 'matplotlib', 'timm'}; "
        f"import {module}; heavy &= set(sys.modules); "
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
