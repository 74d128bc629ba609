"""Secrets that settings name but do not hold, read only where they are used."""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from router.errors import ConfigError


class Secret(msgspec.Struct, frozen=True):
    """A secret, or the place where it is kept.

    Attributes:
        reference: ``env:NAME``, ``file:PATH``, or the secret itself.
        folder: What a relative PATH counts from.
    """

    reference: str
    folder: Path = Path()

    def resolve(self) -> str:
        """Return the secret.

        Raises:
            ConfigError: The variable is not set, or the file cannot be read, or what is found
                there is empty or not UTF-8.
        """
        kind, _, place = self.reference.partition(":")
        if kind == "env":
            value = os.environ.get(place, "")
        elif kind == "file":
            value = self._read(place)
        else:
            value = self.reference
        if not value:
            raise ConfigError(f"the secret {self} is empty: set it before it is used")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise ConfigError(f"the secret {self} is not text in UTF-8")
        return value

    def _read(self, place: str) -> str:
        try:
            return (self.folder / place).read_text("utf-8").rstrip("\r\n")
        except (OSError, ValueError) as error:
            raise ConfigError(f"the secret file:{place} cannot be read: {error}") from error

    def __repr__(self) -> str:
        """Show where the secret is kept, never the secret."""
        named = self.reference.startswith(("env:", "file:"))
        return self.reference if named else "(given in the settings)"

    __str__ = __repr__

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """Stand in for msgspec's own, which shows rich every field."""
        return [("reference", repr(self))]


def anchor(value: object, folder: Path) -> object:
    """Return ``value``, a setting of any kind, with each ``file:PATH`` in it counted from there."""
    if isinstance(value, Mapping):
        return {key: anchor(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [anchor(item, folder) for item in value]
    if isinstance(value, str) and value.startswith("file:"):
        return f"file:{folder / value.removeprefix('file:')}"
    return value
