"""Recipes as projects: what they import they ask for, and each is on the page that lists them."""

import ast
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.recipes import EXAMPLES, RECIPES

PAGE = EXAMPLES.parent / "how-to" / "recipes.md"
HEAD = re.compile(r"^# /// script\n(.*?)^# ///$", re.MULTILINE | re.DOTALL)
MODULES = [
    path
    for name in RECIPES
    for path in sorted((EXAMPLES / name).rglob("*.py"))
    if ".venv" not in path.parts
]


def read_project(path: Path) -> dict[str, Any]:
    """What says how a module is run: its own head, or its project."""
    if found := HEAD.search(path.read_text("utf-8")):
        return tomllib.loads(re.sub(r"^# ?", "", found[1], flags=re.MULTILINE))
    folder = EXAMPLES / path.relative_to(EXAMPLES).parts[0]
    project = folder / "pyproject.toml"
    if not project.exists():  # a module beside scripts has what they ask for
        return read_project(
            next(one for one in folder.glob("*.py") if HEAD.search(one.read_text()))
        )
    return tomllib.loads(project.read_text("utf-8"))


def find_foreign(path: Path) -> set[str]:
    """The distributions that a module imports from."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    folder = EXAMPLES / path.relative_to(EXAMPLES).parts[0]
    own = {one.stem for one in folder.iterdir()}
    foreign = names - own - sys.stdlib_module_names
    return {"notification-router" if name == "router" else name for name in foreign}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_what_is_imported_is_asked_for(path: Path) -> None:
    """A module imports nothing that an installation of its project would lack."""
    found = read_project(path)
    asked = found.get("dependencies") or found["project"]["dependencies"]

    # SQLAlchemy comes with the router, whose interface it is part of.
    assert find_foreign(path) <= {"sqlalchemy", *(re.split(r"[^\w-]", one)[0] for one in asked)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_the_router_is_found_in_the_clone(path: Path) -> None:
    """Where a recipe stands in a clone, the router it installs is that of the clone."""
    source = read_project(path)["tool"]["uv"]["sources"]["notification-router"]["path"]
    folder = EXAMPLES / path.relative_to(EXAMPLES).parts[0]

    assert (folder / source).resolve() == Path(__file__).parents[2]


@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_is_tried_and_listed(name: str) -> None:
    """A folder with a README is on the page, and a test follows it."""
    assert f"](../examples/{name}/README.md)" in PAGE.read_text("utf-8")
    tests = "".join(test.read_text("utf-8") for test in Path(__file__).parent.glob("test_*.py"))
    assert re.search(rf'(cooking\(|MOUNTS = .*)"{name}"', tests)
