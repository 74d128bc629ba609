"""`router db`: the schema of the database, changed only when somebody says so."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from router import migrate
from router.cli import output
from router.cli.prune import prune
from router.cli.settings import open_store, with_config
from router.config import Config
from router.schema import make_tables
from router.secrets import Secret
from router.store import Store


@click.group()
def db() -> None:
    """Set up and check the tables, and prune the log."""


@db.command()
@with_config
def upgrade(found: Config) -> None:
    """Create the tables, or bring them to this version."""
    with _opened(found, create=True) as store:
        before = migrate.current(store.engine, store.tables)
        migrate.upgrade(store.engine, store.tables)
        after = migrate.current(store.engine, store.tables)
        name = store.engine.url.render_as_string(hide_password=True)
    change = f"at {after} already" if before == after else f"{before or 'no tables'} -> {after}"
    output.print_text(f"{name}: {change}")


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
@with_config
def check(found: Config, *, as_json: bool) -> None:
    """Say how the tables differ from this version's, and exit 3."""
    with _opened(found) as store:
        drift = migrate.find_drift(store.engine, store.tables)
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
@with_config
def sql(found: Config, *, dialect: str | None) -> None:
    """Print the SQL that creates the tables."""
    output.print_text(migrate.render_sql(make_tables(), dialect or _find_dialect(found)).rstrip())


db.add_command(prune)


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
