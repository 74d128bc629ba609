"""The settings of one plugin: its table and its variables, made into the type that it declares."""

import dataclasses
import re
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from router.errors import PluginError
from router.options import explain_unknown
from router.secrets import Secret

PREFIX = "ROUTER_PLUGINS__"
ENABLED = "enabled"  # the one key that is the router's

_KINDS = "settings() must return a msgspec Struct or a dataclass"
_UNIONS = (typing.Union, types.UnionType)
_MISSING = object()

Tables = Mapping[str, Mapping[str, object]]


class Key(msgspec.Struct, frozen=True):
    """One key that a plugin's settings have.

    Attributes:
        kind: The type of its value.
        is_required: Whether there is no default.
    """

    kind: object
    is_required: bool


class Given(msgspec.Struct, frozen=True, eq=False):
    """What the settings say about one plugin. A variable overrules the table's key.

    Attributes:
        name: The plugin's.
        table: ``[plugins.NAME]``; None where there is none.
        variables: The text of ``ROUTER_PLUGINS__NAME__KEY`` by KEY, in capitals.
        file: That holds the table, for messages; None for settings from code.
        folder: What ``file:PATH`` counts from.
    """

    name: str
    table: Mapping[str, object] | None = None
    variables: Mapping[str, str] = {}
    file: Path | None = None
    folder: Path = Path()

    @property
    def is_asked_for(self) -> bool:
        """Whether somebody has spoken of the plugin."""
        return self.table is not None or bool(self.variables)

    @property
    def is_off(self) -> bool:
        """Whether somebody has turned the plugin off."""
        return self._read(ENABLED, bool, default=True) is False

    def read(self, kind: type | None) -> object:
        """Return the settings as a ``kind``; None, where it is None and there are none.

        Raises:
            PluginError: A key is unknown, missing, or not of its type; says where it stands, and
                never what stands there, which may be a secret.
        """
        keys = {} if kind is None else _keys_of(self.name, kind)
        if not isinstance(self._read(ENABLED, bool, default=True), bool):
            raise PluginError(self.name, f"{self._place(ENABLED)} must be true or false")
        self._require_known(keys)
        values = {
            key: self._convert(key, value, one.kind)
            for key, one in keys.items()
            if (value := self._read(key, one.kind, default=_MISSING)) is not _MISSING
        }
        missing = [key for key, one in keys.items() if one.is_required and key not in values]
        if missing:
            raise PluginError(
                self.name, "; ".join(self._explain_missing(key, keys[key]) for key in missing)
            )
        try:
            return None if kind is None else msgspec.convert(values, kind)
        except msgspec.ValidationError as error:  # of a type that checks itself
            raise PluginError(self.name, f"{self._where} does not fit: {error}") from error

    def _read(self, key: str, kind: object, *, default: object) -> object:
        text = self.variables.get(_in_capitals(key))
        if text is not None:
            return _parse(text, kind)
        return default if self.table is None else self.table.get(key, default)

    def _convert(self, key: str, value: object, kind: object) -> object:
        try:
            return msgspec.convert(_wrap_secrets(value, kind, folder=self.folder), kind)
        except msgspec.ValidationError as error:
            reason = f"{self._place(key)} must be {_name(kind)}: {error}"
            raise PluginError(self.name, reason) from error

    def _require_known(self, keys: Iterable[str]) -> None:
        known = {ENABLED, *keys}
        for key in self.table or {}:
            if key not in known:
                reason = f"{self._where}.{key} {explain_unknown(key, known)}"
                raise PluginError(self.name, reason)
        capitals = {_in_capitals(key): key for key in known}
        for key in self.variables:
            if key not in capitals:
                names = [self._variable(one) for one in capitals]
                variable = self._variable(key)
                raise PluginError(
                    self.name, f"the variable {variable} {explain_unknown(variable, names)}"
                )

    def _explain_missing(self, key: str, one: Key) -> str:
        variable = self._variable(_in_capitals(key))
        return f"{self._where}.{key} is missing: add it, or set {variable}; it is {_name(one.kind)}"

    def _place(self, key: str) -> str:
        capitals = _in_capitals(key)
        is_variable = capitals in self.variables
        return self._variable(capitals) if is_variable else f"{self._where}.{key}"

    def _variable(self, key: str) -> str:
        return f"{PREFIX}{_in_capitals(self.name)}__{key}"

    @property
    def _where(self) -> str:
        table = f"[plugins.{self.name}]"
        return table if self.file is None else f"{self.file}: {table}"


class PluginSettings(msgspec.Struct, frozen=True, eq=False):
    """What the settings say about all plugins.

    Attributes:
        tables: ``[plugins.NAME]`` by name.
        variables: Those that begin with ``ROUTER_PLUGINS__``.
        file: That holds the tables; None for settings from code.
        folder: What ``file:PATH`` counts from.
    """

    tables: Tables = {}
    variables: Mapping[str, str] = {}
    file: Path | None = None
    folder: Path = Path()

    def of(self, name: str) -> Given:
        """Return what they say about the plugin of that name."""
        prefix = f"{PREFIX}{_in_capitals(name)}__"
        variables = {
            variable.removeprefix(prefix): text
            for variable, text in self.variables.items()
            if variable.startswith(prefix)
        }
        return Given(name, self.tables.get(name), variables, self.file, self.folder)

    def find_strays(self, names: Iterable[str]) -> list[str]:
        """Return the variables that are about none of the plugins of these ``names``."""
        prefixes = tuple(f"{PREFIX}{_in_capitals(name)}__" for name in names)
        return [variable for variable in self.variables if not variable.startswith(prefixes)]


def find_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return those variables that are about plugins. An empty one counts as not set."""
    return {name: text for name, text in environ.items() if name.startswith(PREFIX) and text}


def _in_capitals(name: str) -> str:
    """Return ``name`` as variables have it, which cannot hold a dash or a dot."""
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def _parse(text: str, kind: object) -> object:
    """Return what a variable holds: text where that is what is wanted, else what it says in JSON.

    What is no JSON stays text, for the error to tell.
    """
    try:
        msgspec.convert(_wrap_secrets(text, kind, folder=Path()), kind)
    except msgspec.ValidationError:
        pass
    else:
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _wrap_secrets(value: object, kind: object, *, folder: Path) -> object:
    """Make each text in ``value`` that is to be a `Secret` one."""
    parts = [one for one in typing.get_args(kind) if one is not type(None)]
    if typing.get_origin(kind) is typing.Annotated:
        return _wrap_secrets(value, parts[0], folder=folder)
    if isinstance(value, str) and (kind is Secret or _is_union_with_secret(kind)):
        return Secret(value, folder)
    if typing.get_origin(kind) in _UNIONS and len(parts) == 1:
        return _wrap_secrets(value, parts[0], folder=folder)
    if isinstance(value, list) and parts:
        return [_wrap_secrets(one, parts[0], folder=folder) for one in value]
    return value


def _is_union_with_secret(kind: object) -> bool:
    return typing.get_origin(kind) in _UNIONS and Secret in typing.get_args(kind)


def _name(kind: object) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")


def _keys_of(name: str, kind: type) -> dict[str, Key]:
    if issubclass(kind, msgspec.Struct):
        fields = msgspec.structs.fields(kind)
        return {one.encode_name: Key(one.type, one.required) for one in fields}
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        missing = dataclasses.MISSING
        return {
            one.name: Key(hints[one.name], one.default is missing is one.default_factory)
            for one in dataclasses.fields(kind)
            if one.init
        }
    raise PluginError(name, f"{_KINDS}, not {kind!r}")
