"""The options that most commands share: which configuration, which database, which plugins."""

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import click

from router import config
from router.assembly import make_subscriptions
from router.config import Config
from router.errors import RouterError, UnknownName
from router.host import Host
from router.log import EventLog
from router.secrets import Secret
from router.store import Store
from router.subscriptions import Subscription

P = ParamSpec("P")
T = TypeVar("T")


def with_config(command: Callable[Concatenate[Config, P], T]) -> Callable[..., T]:
    """Give a command ``--config`` and ``--database``, and the settings as its first argument."""

    @click.option(
        "--config",
        "config_file",
        envvar="ROUTER_CONFIG",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="The settings; default: router.toml in the working directory, if there is one.",
    )
    @click.option("--database", metavar="URL", help="The database; overrules the settings.")
    @functools.wraps(command)
    def run(config_file: Path | None, database: str | None, *args: P.args, **kwargs: P.kwargs) -> T:
        overrides: dict[str, object] = {"database": database}
        if "plugins_dir" in kwargs:
            overrides["plugins_dir"] = kwargs.pop("plugins_dir")
        found = config.load(
            config_file, environ=os.environ, working=Path.cwd(), overrides=overrides
        )
        return command(found, *args, **kwargs)

    return run


def with_log(command: Callable[Concatenate[EventLog, P], T]) -> Callable[..., T]:
    """Give a command ``--config`` and ``--database``, and the open log as its first argument."""

    @functools.wraps(command)
    def run(found: Config, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with opened_log(found) as log:
            return command(log, *args, **kwargs)

    return with_config(run)


plugins_dir = click.option(
    "--plugins-dir",
    "plugins_dir",
    metavar="DIR",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A folder in which each *.py is a plugin; may be given several times.",
)


def load_host(found: Config) -> Host:
    """Return all plugins that there are, sound or broken."""
    return Host.load(directories=found.plugins_dir, configured=found.plugin_settings)


def load_subscription(found: Config, name: str) -> Subscription:
    """Return the subscription of a plugin that is at hand, as it is now.

    Raises:
        UnknownName: There is no such plugin, or it handles no events.
    """
    host = load_host(found)
    host.require_sound()
    return find_subscription(host, found.subscriptions, name)


def find_subscription(
    host: Host, configured: Mapping[str, Mapping[str, object]], name: str
) -> Subscription:
    """Return the subscription of one of the plugins that are loaded.

    Args:
        host: The plugins.
        configured: The options of subscriptions, by name.
        name: Whose it is.

    Raises:
        UnknownName: There is no such plugin, or it handles no events.
    """
    known = {one.name: one for one in make_subscriptions(host, configured)}
    if name not in known:
        names = ", ".join(known) or "none"
        raise UnknownName(
            f"there is no plugin {name!r} that handles events (loaded: {names}): "
            "`router plugins list` shows them; --plugins-dir adds those of a folder"
        )
    return known[name]


def open_store(found: Config, *, create: bool = False, writes: bool = True) -> Store:
    """Return the database that the settings name; one that ``writes`` nothing, if so wanted."""
    url = Secret(found.database, found.folder).resolve()
    return Store(
        url,
        schema=found.schema,
        table_prefix=found.table_prefix,
        create=create,
        writes=writes,
    )


@contextmanager
def opened_log(found: Config, *, writes: bool = True) -> Iterator[EventLog]:
    """Open the log, as `open_log` does, for the length of a ``with`` block."""
    log = open_log(found, writes=writes)
    try:
        yield log
    finally:
        log.store.close()


def open_log(found: Config, *, writes: bool = True) -> EventLog:
    """Return the log, checked to be one that this version can read.

    Args:
        found: Say where it is.
        writes: Whether anything may be written to it.

    Raises:
        SchemaError: It is not.
    """
    store = open_store(found, writes=writes)
    try:
        store.require_current()
    except RouterError:
        store.close()
        raise
    return EventLog(store, dedupe_seconds=found.dedupe)
