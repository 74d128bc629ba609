"""The places that a setting can come from: a flag, a variable, a file, or its default."""

import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from router.errors import ConfigError
from router.options import explain_unknown

T = TypeVar("T")


@dataclass(frozen=True, slots=True, repr=False)  # its text would show secrets
class Layer:
    """What one place says.

    Attributes:
        values: Settings by key, unchecked.
        folder: What their relative paths count from.
        name: Says where a key's value stands, for messages.
    """

    values: Mapping[str, object]
    folder: Path
    name: Callable[[str], str]

    def read(self, key: str, reader: Callable[[object, Path], T]) -> T:
        """Return what ``reader`` makes of the value and the folder.

        Raises:
            ConfigError: The reader answers ValueError; its text says what is allowed.
        """
        try:
            return reader(self.values[key], self.folder)
        except ValueError as error:
            raise ConfigError(f"{self.name(key)}: {key} must be {error}") from error


def from_flags(given: Mapping[str, object], *, known: Iterable[str], working: Path) -> Layer:
    """Return what the command line says. None and an empty sequence count as not given."""
    check_keys(given, known, where="flag ")
    values = {key: value for key, value in given.items() if value not in (None, (), [])}
    return Layer(values, working, lambda key: "--" + key.replace("_", "-"))


def from_environ(
    environ: Mapping[str, str], *, known: Iterable[str], lists: Iterable[str], working: Path
) -> Layer:
    """Return what ``ROUTER_*`` variables say. An empty one counts as not set.

    Variables that name no setting are left to others: some name options of commands. Those in
    ``lists`` hold several paths, separated as in ``PATH``.
    """
    variables = {key: name_variable(key) for key in known}
    values: dict[str, object] = {
        key: environ[name] for key, name in variables.items() if environ.get(name)
    }
    for key in values.keys() & set(lists):
        values[key] = environ[variables[key]].split(os.pathsep)
    return Layer(values, working, variables.__getitem__)


def name_variable(key: str) -> str:
    """Return the name of the variable that overrules the setting ``key``."""
    return "ROUTER_" + key.upper().replace(".", "_")


def from_file(file: Path) -> Layer:
    """Return what a TOML file says.

    Raises:
        ConfigError: It cannot be read, is not UTF-8, or not TOML; names the file and the line.
    """
    return Layer(_parse(file), file.parent, lambda _: str(file))


def from_defaults(values: Mapping[str, object], *, working: Path) -> Layer:
    """Return what holds where no other place says anything."""
    return Layer(values, working, lambda _: "default")


def check_keys(table: Iterable[str], known: Iterable[str], *, where: str) -> None:
    """Return when each key of ``table`` is ``known``.

    Raises:
        ConfigError: One is not; says what was perhaps meant.
    """
    names = set(known)
    for key in table:
        if key not in names:
            raise ConfigError(f"{where}{key} {explain_unknown(key, names)}")


def _parse(file: Path) -> dict[str, object]:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{file} is not UTF-8: look at line {line}") from error
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # The parser gives line and column, except where something is missing at the very end.
        end = text.count("\n") + 1
        reason = str(error).replace("at end of document", f"at end of document, line {end}")
        raise ConfigError(f"{file} is not TOML: {reason}") from error
