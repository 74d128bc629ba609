"""`router db`: the schema of the database, changed only when somebody says so."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from router import migrate, plugin_tables
from router.cli import output
from router.cli.backup import backup
from router.cli.copying import copy
from router.cli.prune import prune
from router.cli.settings import load_host, open_store, plugins_dir, with_config
from router.config import Config
from router.schema import make_tables
from router.secrets import Secret
from router.store import Store


@click.group()
def db() -> None:
    """Set up and check the tables; back up, prune and move the log."""


@db.command()
@plugins_dir
@with_config
def upgrade(found: Config) -> None:
    """Create the tables, or bring them to this version.

    Then create the tables of plugins that are not there yet. What a plugin's table looks like is
    its own affair: one that exists is left as it is.
    """
    with _opened(found, create=True) as store:
        # First of all, for no plugin, not even a broken one, is to keep the log from running.
        is_changed = _upgrade(store)
        host = load_host(found)
        created: list[str] = []

        def tell(plugin: str, table: str) -> None:
            created.append(table)
            output.print_text(f"created table {table} of plugin {plugin}")

        plugin_tables.create(store.engine, host.tables(), tell=tell)
    host.require_sound()
    if not is_changed and not created:
        output.print_text("nothing is to do")


@db.command()
@output.json_option
@with_config
def current(found: Config, *, as_json: bool) -> None:
    """Print the revision of the database."""
    with _opened(found) as store:
        revision = migrate.current(store.engine, store.tables)
    if as_json:
        output.print_json({"revision": revision, "head": migrate.head()})
        return
    output.print_text(revision or "none")
    if revision != migrate.head():
        output.note(f"This version needs {migrate.head()}.")


@db.command()
@output.json_option
@plugins_dir
@with_config
def check(found: Config, *, as_json: bool) -> None:
    """Say how the tables differ from what they should be, and exit 3."""
    host = load_host(found)
    with _opened(found) as store:
        drift = migrate.find_drift(store.engine, store.tables)
        drift += plugin_tables.find_drift(store.engine, host.tables())
        drift += [f"plugin {one.name!r}: {one.reason} [{one.origin}]" for one in host.broken]
        revision = migrate.current(store.engine, store.tables)
    if as_json:
        output.print_json({"revision": revision, "drift": drift})
    else:
        output.print_text("\n".join([f"at {revision}", *drift]))
    if drift:
        raise click.exceptions.Exit(3)


@db.command()
@click.option(
    "--dialect",
    type=click.Choice(migrate.DIALECTS),
    help="Default: that of the database in the settings.",
)
@plugins_dir
@with_config
def sql(found: Config, *, dialect: str | None) -> None:
    """Print the SQL that creates the tables, those of plugins too."""
    name = dialect or _find_dialect(found)
    tables = make_tables(schema=found.schema, prefix=found.table_prefix)
    output.print_text(migrate.render_sql(tables, name).rstrip())
    host = load_host(found)
    if host.tables():
        output.print_text("\n" + plugin_tables.render_sql(host.tables(), name))
    host.require_sound()


db.add_command(backup)
db.add_command(copy)
db.add_command(prune)


def _upgrade(store: Store) -> bool:
    """Bring the router's own tables to this version and say so; return whether any changed."""
    before = migrate.current(store.engine, store.tables)
    migrate.upgrade(store.engine, store.tables)
    after = migrate.current(store.engine, store.tables)
    name = store.engine.url.render_as_string(hide_password=True)
    change = f"at {after} already" if before == after else f"{before or 'no tables'} -> {after}"
    output.print_text(f"{name}: {change}")
    return before != after


@contextmanager
def _opened(found: Config, *, create: bool = False) -> Iterator[Store]:
    store = open_store(found, create=create)
    try:
        yield store
    finally:
        store.close()


def _find_dialect(found: Config) -> str:
    try:
        return make_url(Secret(found.database, found.folder).resolve()).get_backend_name()
    except ArgumentError as error:
        raise click.UsageError(f"the database URL cannot be read: {error}") from error
