"""What a router is made from: its plugins, its sources and its subscriptions, as they are set."""

import importlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import TypedDict, cast

from router.config import Config
from router.errors import ConfigError, RouterError, UnknownName
from router.host import Host
from router.log import EventLog
from router.meters import Registry
from router.options import explain_unknown, merge_options
from router.schema import Tables
from router.secrets import Secret
from router.sources import Source
from router.subscriptions import Subscription
from router.tracing import TracerProvider, Tracing

MAX_BODY = 4 * 1024 * 1024
DEDUPE_SECONDS = 30 * 86_400.0

logger = logging.getLogger("router")


def make_host(plugins: Sequence[object] | Host, *, own: Tables) -> Host:
    """Return a host with these plugins, or the one that has loaded them already.

    Raises:
        PluginError: A plugin of a host that was handed over has a table with the name of one of
            the router's ``own``.
    """
    if not isinstance(plugins, Host):
        return Host.load(plugins=plugins, entry_points=(), own=own)
    plugins.require_apart(own)
    return plugins


def make_sources(config: Config, host: Host) -> list[Source]:
    """Return the sources that ``config`` describes, made by the adapters of ``host``.

    Raises:
        ConfigError: An adapter is unknown, or refuses its settings.
    """
    adapters = host.adapters()
    sources = []
    for name, wanted in config.sources.items():
        if wanted.adapter not in adapters:
            reason = explain_unknown(wanted.adapter, adapters)
            raise ConfigError(f"[sources.{name}].adapter {wanted.adapter!r} {reason}")
        adapter = adapters[wanted.adapter]
        sources.append(adapter.make_source(name, wanted.settings, folder=wanted.folder))
    return sources


class Arguments(TypedDict):
    """What a configuration says of a router as `Router` takes it, but for sources and plugins."""

    database: str
    subscriptions: Mapping[str, Mapping[str, object]]
    schema: str | None
    table_prefix: str
    listen: str | None
    max_body: int
    dedupe_seconds: float | None
    http_allow: Sequence[str]


def choose_arguments(config: Config) -> Arguments:
    """Return what ``config`` says of a router, its secrets resolved.

    Raises:
        ConfigError: A secret is not where it should be.
    """
    return Arguments(
        database=Secret(config.database, config.folder).resolve(),
        subscriptions=config.subscriptions,
        schema=config.schema,
        table_prefix=config.table_prefix,
        listen=config.listen and Secret(config.listen, config.folder).resolve(),
        max_body=config.max_body,
        dedupe_seconds=config.dedupe,
        http_allow=config.http_allow,
    )


def index_sources(sources: Sequence[Source]) -> dict[str, Source]:
    """Return the sources by name.

    Raises:
        ConfigError: Two have one name.
    """
    found: dict[str, Source] = {}
    for source in sources:
        if source.name in found:
            raise ConfigError(f"two sources are called {source.name!r}: rename one")
        found[source.name] = source
    return found


def make_subscriptions(
    host: Host, configured: Mapping[str, Mapping[str, object]]
) -> list[Subscription]:
    """Return the subscription of each plugin that handles events; warn of options for no plugin.

    Raises:
        ConfigError: An option is unknown or its value not allowed.
    """
    warn_of_unused(host, configured)
    return [
        Subscription(
            name=plugin.name,
            handlers=plugin.handlers,
            tables=plugin.declared.tables,
            settings=plugin.declared.settings,
            options=merge_options(
                plugin.declared.options,
                configured.get(plugin.name, {}),
                where=f"[subscriptions.{plugin.name}]",
            ),
        )
        for plugin in host.subscribers()
    ]


def find_subscription(subscriptions: Iterable[Subscription], name: str) -> Subscription:
    """Return the subscription of that name.

    Raises:
        UnknownName: No plugin of that name handles events.
    """
    for one in subscriptions:
        if one.name == name:
            return one
    raise UnknownName(f"this router has no plugin {name!r} that handles events")


def exposing(log: EventLog, registry: Registry | None) -> AbstractContextManager[None]:
    """Show the metrics of ``log`` in ``registry``, if there is one, while a block lasts.

    Raises:
        RouterError: The extra is not installed.
        ConfigError: The registry shows those of another router.
    """
    if registry is None:
        return nullcontext()
    shown = require_prometheus().exposing(log, registry)
    return cast("AbstractContextManager[None]", shown)


def require_prometheus() -> ModuleType:
    """Return `router.prometheus`, which shows metrics.

    Raises:
        RouterError: The extra is not installed.
    """
    try:
        return importlib.import_module("router.prometheus")  # an extra: most do without it
    except ImportError:
        raise RouterError(
            "metrics need prometheus-client, which is not installed: install the router with its "
            'extra "metrics", notification-router[metrics]'
        ) from None


def make_tracing(wanted: bool | TracerProvider) -> Tracing | None:  # noqa: FBT001  # a setting
    """Return what makes spans, if that is ``wanted``: by the process's own provider or a given one.

    Raises:
        RouterError: The extra is not installed.
    """
    if wanted is False:
        return None
    provider = None if wanted is True else wanted
    return cast("Tracing", require_opentelemetry().Spans(provider))


def require_opentelemetry() -> ModuleType:
    """Return `router.opentelemetry`, which makes spans.

    Raises:
        RouterError: The extra is not installed.
    """
    try:
        return importlib.import_module("router.opentelemetry")  # an extra: most do without it
    except ImportError:
        raise RouterError(
            "tracing needs opentelemetry-api, which is not installed: install the router with its "
            "extra \"tracing\": pip install 'notification-router[tracing]'"
        ) from None


def warn_of_unused(host: Host, names: Iterable[str]) -> None:
    """Log a warning for each of ``names``, which the settings speak of, that is no plugin's."""
    for name in host.unused(sorted(names)):
        logger.warning("the settings speak of plugin %r, which is not loaded", name)


def warn_of_strays(host: Host, config: Config) -> None:
    """Log a warning for each table and variable of ``config`` about a plugin that is not loaded.

    Of those that have a table of their subscription, too, `make_subscriptions` warns.
    """
    warn_of_unused(host, config.plugins.keys() - config.subscriptions.keys())
    for variable in host.unused_variables():
        logger.warning("the variable %s speaks of a plugin that is not loaded", variable)
