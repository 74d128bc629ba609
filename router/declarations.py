"""What a plugin says about itself when it is loaded: options, settings, additions; all checked."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, cast

import click
import msgspec
from sqlalchemy import MetaData

from router.errors import PluginError
from router.handlers import Implementation
from router.loading import explain
from router.options import merge_options
from router.plugin_settings import Given
from router.sources import Adapter, version_of

if TYPE_CHECKING:  # few processes serve: see `_read_routes`
    from starlette.routing import BaseRoute

Hooks = Mapping[str, Implementation]

_KINDS: Mapping[str, tuple[type, str]] = {
    "settings": (type, "a msgspec Struct or a dataclass"),
    "subscription_options": (Mapping, "a mapping of options"),
    "sources": (Mapping, "a mapping of adapters"),
    "tables": (MetaData, "a MetaData of SQLAlchemy (that of a declarative Base is Base.metadata)"),
    "routes": (Sequence, "a sequence of routes"),
    "commands": (Sequence, "a sequence of commands"),
}


class Declarations(msgspec.Struct, frozen=True, eq=False):
    """What one plugin says about itself.

    Attributes:
        options: Defaults for ``[subscriptions.NAME]``, as `merge_options` takes them.
        adapters: By the name that the configuration calls them.
        settings: The table ``[plugins.NAME]`` as the plugin's own type; None without such a type.
        tables: Those that it keeps beside the log; None where it keeps none, or does not run.
        routes: What it serves beside the webhooks; none where it does not run.
        commands: What it adds to ``router``, by name; likewise.
    """

    options: Mapping[str, object]
    adapters: Mapping[str, Adapter]
    settings: object
    tables: MetaData | None
    routes: "Sequence[BaseRoute]" = ()
    commands: Mapping[str, click.Command] = {}


def read_declarations(name: str, hooks: Hooks, given: Given, *, is_enabled: bool) -> Declarations:
    """Ask a plugin about itself.

    Args:
        name: Its name.
        hooks: Its implementations.
        given: What the settings say about it.
        is_enabled: Whether it runs; one that does not is asked for options and adapters alone.

    Raises:
        PluginError: One of its hooks fails or returns the wrong kind of thing, or the settings are
            not those that it takes.
        ConfigError: An option is unknown or its value not allowed.
    """
    options = cast("Mapping[str, object]", ask(name, hooks, "subscription_options", default={}))
    merge_options(options, {}, where=f"[subscriptions.{name}]")
    return Declarations(
        options=options,
        adapters=_read_adapters(name, hooks),
        settings=_read_settings(name, hooks, given) if is_enabled else None,
        tables=cast("MetaData | None", ask(name, hooks, "tables")) if is_enabled else None,
        routes=_read_routes(name, hooks) if is_enabled else (),
        commands=check_commands(name, _list(name, hooks, "commands")) if is_enabled else {},
    )


def _read_settings(name: str, hooks: Hooks, given: Given) -> object:
    return given.read(cast("type | None", ask(name, hooks, "settings")))


def _read_routes(name: str, hooks: Hooks) -> "Sequence[BaseRoute]":
    found = _list(name, hooks, "routes")
    if not found:
        return ()
    checked = import_module("router.routes").check_routes(name, found)  # loads Starlette
    return cast("Sequence[BaseRoute]", checked)


def _list(name: str, hooks: Hooks, hook: str) -> Sequence[object]:
    return cast("Sequence[object]", ask(name, hooks, hook, default=()))


def ask(name: str, hooks: Hooks, hook: str, *, default: object = None) -> object:
    """Return what the plugin's ``hook`` returns, or ``default`` where it has no such hook.

    Raises:
        PluginError: It fails, or returns the wrong kind of thing.
    """
    if hook not in hooks:
        return default
    try:
        answer = hooks[hook].call({})
    except (Exception, SystemExit) as error:
        raise PluginError(name, f"{hook}() failed: {explain(error)}") from error
    kind, words = _KINDS[hook]
    if not isinstance(answer, kind):
        raise PluginError(name, f"{hook}() must return {words}, not {answer!r}")
    return answer


def _read_adapters(name: str, hooks: Hooks) -> dict[str, Adapter]:
    adapters = cast("Mapping[str, Adapter]", ask(name, hooks, "sources", default={}))
    for key, adapter in adapters.items():
        if not isinstance(key, str) or not all(
            callable(getattr(adapter, method, None)) for method in ("make_source", "split")
        ):
            reason = "sources() must return adapters, with make_source() and split(), by name"
            raise PluginError(name, f"{reason}: {key!r} is none")
        version: object = version_of(adapter)
        if type(version) is not int or version < 0:
            reason = f"the version of the adapter {key!r} must be a whole number"
            raise PluginError(name, f"{reason}, not {version!r}")
    return dict(adapters)


def check_commands(plugin: str, commands: Sequence[object]) -> dict[str, click.Command]:
    """Return the ``commands`` of a plugin by name.

    Raises:
        PluginError: One is no command of click, or has no name, or two have the same.
    """
    found: dict[str, click.Command] = {}
    for command in commands:
        if not isinstance(command, click.Command) or not command.name:
            reason = "commands() must return commands of click, each with a name"
            raise PluginError(plugin, f"{reason}: {command!r} is none")
        if command.name in found:
            raise PluginError(plugin, f"two of its commands are called {command.name!r}")
        found[command.name] = command
    return found
