"""`router db`: the schema of the database, changed only when somebody says so."""

import click

from router import migrate
from router.cli.settings import open_store, with_config
from router.config import Config


@click.group()
def db() -> None:
    """Create, upgrade and check the tables."""


@db.command()
@with_config
def upgrade(found: Config) -> None:
    """Bring the tables to this version; creates them, and a SQLite file, where there are none."""
    store = open_store(found, create=True)
    before = migrate.current(store.engine, store.tables)
    migrate.upgrade(store.engine, store.tables)
    after = migrate.current(store.engine, store.tables)
    click.echo(f"at {after} already" if before == after else f"{before or 'nothing'} -> {after}")
    store.close()


@db.command()
@with_config
def current(found: Config) -> None:
    """Print the revision of the database."""
    store = open_store(found)
    click.echo(migrate.current(store.engine, store.tables) or "none")
    store.close()
