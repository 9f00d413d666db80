"""Tasks are made in one place: a task that nobody holds or watches loses its exception, or itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
THE_ONE_PLACE = ROOT / "gogeta" / "kit" / "tasks.py"


def bare_tasks(source: str) -> Iterator[int]:
    """Lines that make a task on a loop object: what ruff cannot see. A TaskGroup watches its tasks, so it may."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "create_task":
            receiver = ast.unparse(node.func.value)
            if "loop" in receiver.lower():
                yield node.lineno


@pytest.mark.parametrize("package", ["gogeta", "passivator"])
def test_tasks_are_made_by_the_guarded_helper_alone(package: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted((ROOT / package).rglob("*.py"))
        if path != THE_ONE_PLACE
        for line in bare_tasks(path.read_text())
    ]
    assert found == []


def test_a_bare_task_is_found() -> None:
    source = "self._loop.create_task(f())\nasyncio.get_running_loop().create_task(f())\ngroup.create_task(f())\n"
    assert list(bare_tasks(source)) == [1, 2]
