"""Which files make a router what it is: its settings and the code of its plugins."""

import importlib.util
import os
from collections.abc import Iterable, Iterator
from importlib import metadata
from importlib.metadata import EntryPoint
from pathlib import Path

import msgspec

from router import config
from router.config import FILE_NAME, Config
from router.errors import ConfigError
from router.hookspecs import PROJECT
from router.loading import find_entry_points

CODE = ".py"


class Places(msgspec.Struct, frozen=True):
    """What is looked at for changes.

    Attributes:
        folders: Those whose ``*.py`` are code of plugins; not what is in folders within them.
        paths: Single files, and folders that are not there yet, with those above them.
    """

    folders: frozenset[Path]
    paths: frozenset[Path]

    @property
    def watched(self) -> list[Path]:
        """The folders that exist and in which all of it would be seen to change."""
        above = {_find_existing(path.parent) for path in self.paths}
        return sorted(above | self.folders)

    def holds(self, path: Path) -> bool:
        """Whether a change of ``path`` is one of them."""
        if path in self.paths:
            return True
        if path.parent not in self.folders or path.name.startswith((".", "__pycache__")):
            return False  # an editor's lock beside a file that it has open, or Python's own
        return path.suffix == CODE or path.is_dir()


def find_places(found: Config, *, entry_points: Iterable[EntryPoint] | None = None) -> Places:
    """Return where the settings and the plugins that ``found`` is about are kept.

    Args:
        found: The settings.
        entry_points: What is installed; None looks it up.
    """
    if entry_points is None:
        entry_points = metadata.entry_points(group=PROJECT)
    there = [folder.resolve() for folder in found.plugins_dir]
    code = {folder for folder in there if folder.is_dir()}
    missing = {one for folder in there for one in (folder, *folder.parents) if not one.is_dir()}
    for candidate, entry in _find_installed(entry_points):
        if found.plugins.get(candidate, {}).get("enabled") is not False:
            code |= set(_find_folders(entry.module))
    file = (found.file or Path.cwd() / FILE_NAME).resolve()
    return Places(frozenset(code), frozenset({file, *missing}))


def read_again(found: Config) -> Config:
    """Return the settings as they are by now; those of before where they cannot be read."""
    is_flag = found.origins["plugins_dir"].startswith("--")
    overrides: dict[str, object] = {"plugins_dir": list(found.plugins_dir)} if is_flag else {}
    try:
        return config.load(found.file, environ=os.environ, working=Path.cwd(), overrides=overrides)
    except ConfigError:
        return found  # whoever starts with them will say what is wrong


def _find_installed(entry_points: Iterable[EntryPoint]) -> Iterator[tuple[str, EntryPoint]]:
    entries = {entry.name: entry for entry in entry_points}
    for candidate in find_entry_points(entries.values()):
        if not candidate.is_first_party:
            yield candidate.name, entries[candidate.name]


def _find_folders(module: str) -> Iterator[Path]:
    """Yield the folders of the package that ``module`` is in, without running any of it."""
    try:
        spec = importlib.util.find_spec(module.partition(".")[0])
    except (ImportError, ValueError):
        return
    if spec is None:
        return
    for place in spec.submodule_search_locations or ():
        for folder, inner, _ in os.walk(place):
            inner[:] = [name for name in inner if name != "__pycache__"]
            yield Path(folder).resolve()
    if spec.submodule_search_locations is None and spec.origin is not None:
        yield Path(spec.origin).resolve().parent


def _find_existing(folder: Path) -> Path:
    return next(one for one in (folder, *folder.parents) if one.is_dir())
