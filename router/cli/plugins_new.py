"""`router plugins new`: a package with a plugin, its settings and its tests, to begin with."""

import importlib.util
import keyword
import re
import sys
from collections.abc import Mapping
from importlib import metadata, resources
from pathlib import Path

import click

from router.cli import output
from router.errors import RouterError
from router.hookspecs import PROJECT
from router.loading import FIRST_PARTY
from router.plugin_settings import PREFIX

LONGEST = 50
FILES: Mapping[str, str] = {  # by where it goes: where its text is
    "pyproject.toml": "pyproject.toml.txt",
    "README.md": "README.md.txt",
    "router.toml": "router.toml.txt",
    "notification.json": "notification.json.txt",
    "{{module}}/__init__.py": "plugin.py.txt",
    "tests/test_{{module}}.py": "test_plugin.py.txt",
    ".gitignore": "gitignore.txt",
}

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_MARK = re.compile(r"\{\{(\w+)\}\}")


@click.command()
@click.argument("name")
@click.option(
    "--dir",
    "folder",
    metavar="DIR",
    default=".",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the folder NAME is made; default: the working directory.",
)
def new(*, name: str, folder: Path) -> None:
    """Write a package with a plugin called NAME, to begin with.

    It has a handler, typed settings, tests and a README that says how to go on. Nothing that is
    there is overwritten.
    """
    reason = find_fault(name)
    if reason:
        raise click.UsageError(f"{name!r} cannot be the name of a new plugin: {reason}.")
    place = folder / name
    write_package(name, place)
    output.print_text(str(place))
    output.note(f"Go on as {place / 'README.md'} says.")


def find_fault(name: str) -> str:
    """Return why a new plugin cannot be called ``name``; empty where it can."""
    module = name.replace("-", "_")
    if not _NAME.fullmatch(name) or len(name) > LONGEST:
        return (
            f"use 1 to {LONGEST} small letters and digits of ASCII, the first one a letter, with "
            "single dashes between them"
        )
    if keyword.iskeyword(module) or keyword.issoftkeyword(module):
        return "it is a word of Python's"
    if module in sys.stdlib_module_names or module in (PROJECT, "tests"):
        return f"its package, {module}, would hide another one"
    if any(entry.name == name for entry in metadata.entry_points(group=PROJECT)):
        return "a plugin of that name is installed"
    found = importlib.util.find_spec(module)
    if found is not None and found.origin is not None:  # a folder without code hides nothing
        return f"its package, {module}, would hide one that is installed"
    return ""


def write_package(name: str, place: Path) -> None:
    """Write the package of a plugin into a new folder.

    Args:
        name: The plugin's, in which `find_fault` finds none.
        place: The folder, which must not exist.

    Raises:
        RouterError: It exists, or cannot be written to.
    """
    words = {
        "name": name,
        "module": name.replace("-", "_"),
        "version": ".".join(metadata.version(FIRST_PARTY).split(".")[:2]),
        "variable": f"{PREFIX}{name.replace('-', '_').upper()}__GREETING",
    }
    texts = resources.files("router.cli") / "scaffold"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.mkdir()
        for target, source in FILES.items():
            file = place / _fill(target, words)
            file.parent.mkdir(exist_ok=True)
            file.write_text(_fill((texts / source).read_text("utf-8"), words), encoding="utf-8")
    except FileExistsError:
        raise RouterError(
            f"{place} is there already, and nothing of it is overwritten: take another name, or "
            "another folder with --dir"
        ) from None
    except OSError as error:
        raise RouterError(f"{place} cannot be written: {error.strerror}") from error


def _fill(text: str, words: Mapping[str, str]) -> str:
    return _MARK.sub(lambda mark: words[mark[1]], text)
