"""The settings of a router: flags over ``ROUTER_*`` variables over `router.toml` over defaults."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from router.errors import ConfigError
from router.layers import (
    Layer,
    check_keys,
    from_defaults,
    from_environ,
    from_file,
    from_flags,
)
from router.masks import is_private, mask, mask_database
from router.options import format_duration, merge_options, parse_duration
from router.plugin_settings import PluginSettings, find_variables
from router.reach import ALLOWED, make_reach

FILE_NAME = "router.toml"
SHORTEST_DEDUPE = 30 * 86_400.0  # seconds: Meta redelivers for 7 days, the rest is margin

DEFAULTS: Mapping[str, object] = {
    "database": "sqlite:///router.db",
    "schema": "",
    "table_prefix": "",
    "listen": "",
    "plugins_dir": [],
    "max_body": "4MiB",
    "dedupe": "30d",
    "http.allow": [],
}
_TABLES = ("sources", "subscriptions", "plugins")
_KNOWN = (*(key for key in DEFAULTS if "." not in key), "http", *_TABLES)
_SIZE = re.compile(r"(?P<number>[0-9]{1,15})(?P<unit>[KMG]I?B)?", re.IGNORECASE)
_UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_SOURCE_NAME = re.compile(r"(?!\.+\Z)[A-Za-z0-9._-]{1,100}")  # dots alone mean a folder in a URL


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)  # its text would show secrets
class SourceConfig:
    """A ``[sources.NAME]`` table.

    Attributes:
        adapter: The name of the adapter that is to make the source.
        settings: The other keys, for the adapter to check.
        folder: What ``file:PATH`` in them counts from.
    """

    adapter: str
    settings: dict[str, object]
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)  # its text would show secrets
class Config:
    """All settings of a router, checked as far as they can be without its plugins.

    Attributes:
        file: The file that was read; None where there is none.
        folder: What ``file:PATH`` in a value counts from: the file's folder, else the working
            directory.
        database: A database URL, or an ``env:`` or ``file:`` reference to one.
        schema: The one in which the tables live; empty or None is the database's default.
        table_prefix: Put before each table's name.
        listen: Where announcements of new events are heard: a URL or a reference to one, "off", or,
            empty or None, where the database is.
        plugins_dir: Folders in which each ``*.py`` is a plugin.
        max_body: Bytes that the body of a notification may have.
        http_allow: Networks and hosts, private ones too, that handlers may reach by HTTP.
        dedupe: How long an event is remembered at least, in seconds; None for "forever".
        sources: ``[sources.NAME]`` by name.
        subscriptions: ``[subscriptions.NAME]`` by name, as `merge_options` takes them.
        plugins: ``[plugins.NAME]`` by name, for each plugin to check.
        variables: Those that are about plugins, ``ROUTER_PLUGINS__NAME__KEY``, likewise.
        origins: Where each setting outside of these tables comes from.
    """

    file: Path | None
    folder: Path
    database: str
    schema: str | None
    table_prefix: str
    listen: str | None
    plugins_dir: tuple[Path, ...]
    max_body: int
    dedupe: float | None
    http_allow: tuple[str, ...]
    sources: dict[str, SourceConfig]
    subscriptions: dict[str, dict[str, object]]
    plugins: dict[str, dict[str, object]]
    variables: dict[str, str]
    origins: dict[str, str]

    @property
    def plugin_settings(self) -> PluginSettings:
        """All that is said about plugins."""
        return PluginSettings(self.plugins, self.variables, self.file, self.folder)


def load(
    path: Path | None,
    *,
    environ: Mapping[str, str],
    working: Path,
    overrides: Mapping[str, object],
) -> Config:
    """Return the settings.

    Args:
        path: The file to read; None for `router.toml` in ``working``, if there is one.
        environ: The environment's variables.
        working: The working directory.
        overrides: The flags, by the name of their setting.

    Raises:
        ConfigError: The file is missing or not TOML, or a key is unknown or its value not
            allowed; names the file and the key.
    """
    working = working.absolute()
    file = _find_file(path, working=working)
    written = from_file(file) if file else from_defaults({}, working=working)
    check_keys(written.values, _KNOWN, where=f"{file}: ")
    written = _spread_http(written)
    layers = (
        from_flags(overrides, known=DEFAULTS, working=working),
        from_environ(environ, known=DEFAULTS, lists=["plugins_dir"], working=working),
        written,
        from_defaults(DEFAULTS, working=working),
    )
    used = {key: next(layer for layer in layers if key in layer.values) for key in DEFAULTS}
    return Config(
        file=file,
        folder=written.folder,
        database=used["database"].read("database", _read_database),
        schema=used["schema"].read("schema", _read_name) or None,
        table_prefix=used["table_prefix"].read("table_prefix", _read_name),
        listen=used["listen"].read("listen", _read_listen),
        plugins_dir=used["plugins_dir"].read("plugins_dir", _read_folders),
        max_body=used["max_body"].read("max_body", _read_size),
        dedupe=used["dedupe"].read("dedupe", _read_dedupe),
        http_allow=used["http.allow"].read("http.allow", _read_allowed),
        sources=_read_sources(written),
        subscriptions=_read_subscriptions(written),
        plugins=_read_tables(written, "plugins"),
        variables=find_variables(environ),
        origins={key: layer.name(key) for key, layer in used.items()},
    )


def describe(config: Config) -> list[tuple[str, object, str]]:
    """Return each setting's key, its value with secrets masked, and where it comes from."""
    listen = config.listen or ""
    plain: dict[str, object] = {
        "database": mask_database(config.database),
        "schema": config.schema or "",
        "table_prefix": config.table_prefix,
        "listen": listen if listen in ("", "off") else mask_database(listen),
        "plugins_dir": [str(folder) for folder in config.plugins_dir],
        "max_body": config.max_body,
        "dedupe": "forever" if config.dedupe is None else format_duration(config.dedupe),
        "http.allow": list(config.http_allow),
    }
    rows = [(key, value, config.origins[key]) for key, value in plain.items()]
    sources = {
        name: {"adapter": source.adapter, **source.settings}
        for name, source in config.sources.items()
    }
    for kind, tables in zip(_TABLES, (sources, config.subscriptions, config.plugins), strict=True):
        for name, table in tables.items():
            for key, value in _flatten(mask(table), f"{kind}.{name}"):
                rows.append((key, value, str(config.file)))
    for variable, text in config.variables.items():
        is_secret = is_private(variable.rpartition("__")[2])  # by its key; a plugin may be "tokens"
        rows.append((variable, mask(text, private=is_secret), "environment"))
    return rows


def _flatten(value: object, key: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _flatten(item, f"{key}.{name}")
    else:
        yield key, value


def _find_file(path: Path | None, *, working: Path) -> Path | None:
    file = working / (path or FILE_NAME)
    if file.exists() or path is None:
        return file if file.exists() else None
    raise ConfigError(f"the file {file} does not exist: create it, or name another")


def _read_database(value: object, _: Path) -> str:
    if not (isinstance(value, str) and value):
        raise ValueError('a database URL such as "sqlite:///router.db"')
    return value


def _read_name(value: object, _: Path) -> str:
    if not isinstance(value, str):
        raise ValueError(f'a name such as "router", not {value!r}')
    return value


def _read_listen(value: object, _: Path) -> str | None:
    if not isinstance(value, str):
        raise ValueError('a database URL, or "off"')
    return value or None


def _read_folders(value: object, folder: Path) -> tuple[Path, ...]:
    if isinstance(value, list | tuple) and all(isinstance(place, str | Path) for place in value):
        return tuple(folder / place for place in value if place)
    raise ValueError(f'a list of folders such as ["handlers"], not {value!r}')


def _read_size(value: object, _: Path) -> int:
    match = _SIZE.fullmatch(str(value)) if isinstance(value, str | int) else None
    size = int(match["number"]) * _UNITS[(match["unit"] or "").lower()] if match else 0
    if not size:
        raise ValueError(f'a size such as "4MiB", or a number of bytes, not {value!r}')
    return size


def _read_dedupe(value: object, _: Path) -> float | None:
    if value == "forever":
        return None
    try:
        seconds = parse_duration(value)
    except ValueError:
        seconds = 0.0
    if seconds < SHORTEST_DEDUPE:
        shortest = format_duration(SHORTEST_DEDUPE)
        raise ValueError(f'a duration of at least "{shortest}", or "forever", not {value!r}')
    return seconds


def _spread_http(written: Layer) -> Layer:
    """Return ``written`` with the keys of its table ``http`` in their full length."""
    table = written.values.get("http", {})
    where = written.name("http")
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where}: http must be a table, headed [http]")
    known = [key.removeprefix("http.") for key in DEFAULTS if key.startswith("http.")]
    check_keys(table, known, where=f"{where}: http.")
    values = {**written.values, **{f"http.{key}": value for key, value in table.items()}}
    return replace(written, values=values)


def _read_allowed(value: object, _: Path) -> tuple[str, ...]:
    entries = value.replace(",", " ").split() if isinstance(value, str) else value
    if not (isinstance(entries, list) and all(isinstance(entry, str) for entry in entries)):
        raise ValueError(f"{ALLOWED}, not {value!r}")
    make_reach(entries)
    return tuple(entries)


def _read_sources(written: Layer) -> dict[str, SourceConfig]:
    found = {}
    for name, table in _read_tables(written, "sources").items():
        where = f"{written.name('sources')}: [sources.{name}]"
        if not _SOURCE_NAME.fullmatch(name):
            raise ConfigError(
                f"{where}: the name {name!r} cannot be part of a URL: "
                "use 1 to 100 letters and digits of ASCII, '-', '_' and '.'"
            )
        settings = dict(table)
        adapter = settings.pop("adapter", None)
        if not (isinstance(adapter, str) and adapter):
            raise ConfigError(
                f"{where} does not name its adapter: "
                'write the provider\'s, for example adapter = "whatsapp"'
            )
        found[name] = SourceConfig(adapter=adapter, settings=settings, folder=written.folder)
    return found


def _read_subscriptions(written: Layer) -> dict[str, dict[str, object]]:
    tables = _read_tables(written, "subscriptions")
    for name, table in tables.items():
        where = f"{written.name('subscriptions')}: [subscriptions.{name}]"
        merge_options({}, table, where=where)
    return tables


def _read_tables(written: Layer, kind: str) -> dict[str, dict[str, object]]:
    tables = written.values.get(kind, {})
    where = written.name(kind)
    if not isinstance(tables, dict):
        raise ConfigError(f"{where}: {kind} must be tables, each headed [{kind}.NAME]")
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ConfigError(
                f"{where}: {kind}.{name} is no table: settings stand beneath [{kind}.NAME]"
            )
    return tables
