"""Where plugins come from: entry points, single files, code. Each is found, then loaded alone."""

import importlib
import itertools
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import msgspec

from router.errors import PluginError

FIRST_PARTY = "notification-router"


class BrokenPlugin(msgspec.Struct, frozen=True):
    """A plugin that was found and cannot be used.

    Attributes:
        name: What it would be called.
        origin: Where it comes from.
        reason: What is wrong with it and how to mend it.
    """

    name: str
    origin: str
    reason: str


class Candidate(msgspec.Struct, frozen=True, eq=False):
    """A plugin that was found, before any of its code has run.

    Attributes:
        name: Its name: the entry point's, the file's stem, or the object's own.
        origin: Where it comes from, for people.
        run: Runs its code and returns the module or object that bears its hooks.
        distribution: The name of the distribution that installed it; empty for files and code.
        version: That distribution's version.
    """

    name: str
    origin: str
    run: Callable[[], object]
    distribution: str = ""
    version: str = ""

    @property
    def is_first_party(self) -> bool:
        """Whether it came with the router itself."""
        return re.sub(r"[-_.]+", "-", self.distribution).lower() == FIRST_PARTY


def find_entry_points(entry_points: Iterable[EntryPoint]) -> list[Candidate]:
    """Return the plugins that are installed, the router's own first, then by name."""
    candidates = [_from_entry_point(entry) for entry in entry_points]
    return sorted(candidates, key=lambda found: (not found.is_first_party, found.name))


def _from_entry_point(entry: EntryPoint) -> Candidate:
    distribution = entry.dist.name if entry.dist else ""
    version = entry.dist.version if entry.dist else ""
    return Candidate(
        name=entry.name,
        origin=f"entry point {entry.name} = {entry.value} of {distribution} {version}".rstrip(),
        run=entry.load,
        distribution=distribution,
        version=version,
    )


def find_files(directories: Sequence[Path]) -> tuple[list[Candidate], list[BrokenPlugin]]:
    """Return the plugins that are single files, and a broken one for each missing directory.

    Every ``*.py`` whose name does not start with ``_`` or a dot is a plugin named by its stem.
    """
    candidates: list[Candidate] = []
    missing: list[BrokenPlugin] = []
    for directory in {path.resolve(): path for path in directories}.values():
        if directory.is_dir():
            paths = sorted(directory.glob("[!_.]*.py"))
            candidates += [_from_file(path) for path in paths if path.is_file()]
        else:
            reason = "there is no such directory: create it, or mend plugins_dir or --plugins-dir"
            missing.append(BrokenPlugin(str(directory), "directory of plugins", reason))
    return candidates, missing


def _from_file(path: Path) -> Candidate:
    return Candidate(name=path.stem, origin=f"file {path}", run=lambda: import_file(path))


def find_objects(plugins: Iterable[object]) -> list[Candidate]:
    """Return the plugins that were handed over in code, modules or objects."""
    return [_from_object(plugin) for plugin in plugins]


def _from_object(plugin: object) -> Candidate:
    if isinstance(plugin, ModuleType):
        place, default = plugin.__name__, plugin.__name__.rpartition(".")[2]
    else:
        kind = plugin if isinstance(plugin, type) else type(plugin)
        place, default = f"{kind.__module__}.{kind.__qualname__}", kind.__name__.lower()
    name = str(getattr(plugin, "plugin_name", default))
    return Candidate(name=name, origin=f"code {place}", run=lambda: plugin)


def import_file(path: Path) -> ModuleType:
    """Return a fresh module made from the file at ``path``.

    Its name is private and new, so that it hides no installed module, and two routers in one
    process share no plugin's variables. It stays in `sys.modules`, where dataclasses look it up.
    No bytecode is kept: what Python knows it by, size and second, misses a quick correction.
    """
    stem = re.sub(r"\W", "_", path.stem)
    names = (f"_router_plugin_{number}_{stem}" for number in itertools.count())
    module = ModuleType(next(name for name in names if name not in sys.modules))
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    try:
        exec(compile(path.read_bytes(), path, "exec", dont_inherit=True), vars(module))  # noqa: S102 - running the file is the task
    except BaseException:
        del sys.modules[module.__name__]
        raise
    return module


def load(candidate: Candidate) -> object:
    """Run the candidate's code and return its module or object.

    Raises:
        PluginError: Its code fails, or leads to something that cannot be a plugin.
    """
    name = candidate.name
    try:
        plugin = candidate.run()
    except (Exception, SystemExit) as error:
        way_out = f"mend it, or leave it out with `enabled = false` in [plugins.{name}]"
        reason = f"it cannot be imported, {explain(error)}: {way_out}"
        raise PluginError(name, reason) from error
    if isinstance(plugin, type):
        kind = plugin.__name__
        raise PluginError(name, f"{kind} is a class: give an object made from it, {kind}()")
    return plugin


def explain(error: BaseException) -> str:
    """Return what ``error`` says, with the file and line that raised it."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    place = place_of(error)
    return f"{said} ({place})" if place else said


def place_of(error: BaseException) -> str:
    """Return the file and line that raised ``error``; empty where no plugin's code did."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    places = [(one.filename, one.lineno) for one in frames if not _is_machinery(one.filename)]
    return f"{places[-1][0]}:{places[-1][1]}" if places else ""


def _is_machinery(filename: str) -> bool:
    importing = str(Path(importlib.__file__).parent)
    return filename == __file__ or filename.startswith(("<frozen ", importing))
