"""`router db copy`: a log moves to another database, with its progress and its plugins' tables."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import click
import msgspec
from sqlalchemy import Table, inspect, make_url
from sqlalchemy.exc import ArgumentError

from router import plugin_tables
from router.chunks import is_portable
from router.cli import bulk, output
from router.cli.settings import load_host, plugins_dir, with_config
from router.config import Config
from router.copies import COPYING, Copied, Copy
from router.dialects import find_dialect
from router.plugin_tables import Wanted
from router.secrets import Secret
from router.status import Status
from router.store import Store

WIDTH = 60  # of a line that tells of the progress


class Others(msgspec.Struct, frozen=True):
    """The tables of plugins that the source has.

    Attributes:
        copied: Those that are copied, by the plugin's name.
        left: The names of those that are not, since they have no key, or columns that engines
            understand in ways of their own.
    """

    copied: Mapping[str, list[Table]]
    left: list[str]


@click.command("copy")
@click.option(
    "--from", "source", metavar="URL", help="The log; default: the database in the settings."
)
@click.option("--to", "target", required=True, metavar="URL", help="A new database, upgraded.")
@output.json_option
@plugins_dir
@with_config
def copy(found: Config, *, source: str | None, target: str, as_json: bool) -> None:
    """Copy a whole log into a new database, to go on there.

    Stop everything that receives and works first, and create the tables with `router db upgrade
    --database URL`. All is copied: events with their positions and ids, what redeliveries are
    recognised by, subscriptions, how far each has come, retries, dead letters, replays; and the
    tables of the plugins at hand. Cut short, give it again: it goes on. In the end both sides are
    compared, row by row; until then nothing takes the new database for a log.

    A URL may be env:NAME or file:PATH, to keep a password off the command line.
    """
    host = load_host(found)
    host.require_sound()
    with _opened(found, source or found.database) as here, _opened(found, target) as there:
        if here.engine.url == there.engine.url:
            raise click.UsageError("--from and --to are the same database")
        others = _find_others(here, host.tables())
        plugin_tables.require(
            there.engine,
            {name: tables[0].metadata for name, tables in others.copied.items()},
        )
        tables = [table for tables in others.copied.values() for table in tables]
        copied = Copy(here, there, others=tables, tell=_tell).make(by=bulk.find_actor())
        _print(copied, others, as_json=as_json)
        _advise(there, others)


@contextmanager
def _opened(found: Config, database: str) -> Iterator[Store]:
    url = Secret(database, found.folder).resolve()
    try:
        has_schemas = find_dialect(make_url(url).get_backend_name()).HAS_SCHEMAS
    except ArgumentError as error:
        raise click.UsageError(f"the database URL cannot be read: {error}") from error
    schema = found.schema if has_schemas else None
    store = Store(url, schema=schema, table_prefix=found.table_prefix)
    try:
        yield store
    finally:
        store.close()


def _find_others(here: Store, wanted: Wanted) -> Others:
    copied: dict[str, list[Table]] = {}
    left = []
    inspector = inspect(here.engine)
    for plugin, metadata in wanted.items():
        for table in metadata.sorted_tables:
            if not inspector.has_table(table.name, schema=table.schema):
                continue
            if is_portable(table):
                copied.setdefault(plugin, []).append(table)
            else:
                left.append(table.fullname)
    return Others(copied, left)


def _print(copied: Copied, others: Others, *, as_json: bool) -> None:
    if as_json:
        sums = [
            {"table": name, **msgspec.structs.asdict(one)} for name, one in copied.tables.items()
        ]
        output.print_json({"head": copied.position, "tables": sums, "left": others.left})
        return
    rows = [(name, one.rows, one.digest) for name, one in copied.tables.items()]
    output.print_table(("table", "rows", "digest"), rows)
    output.print_text(f"the same on both sides, up to position {copied.position}")


def _advise(there: Store, others: Others) -> None:
    """Say what is left to do."""
    if others.left:
        output.note(
            f"Not copied, since engines differ in their columns, or they have no key: "
            f"{', '.join(others.left)}. Copy them before their plugins run."
        )
    names = {name for name, tables in others.copied.items() if tables}
    without = [
        one.name for one in Status(there).subscriptions(limit=1_000) if one.name not in names
    ]
    if without:
        output.note(
            f"No table of a plugin was copied for {', '.join(without)}: if it keeps any that the "
            "hook `tables` does not name, copy them before it runs."
        )
    if there.lanes > 1:
        output.note(
            "Subscriptions keep their number of lanes: `router subscriptions relane NAME "
            f"{there.lanes}` lets several workers share one."
        )


def _tell(what: str, table: str, rows: int) -> None:
    """Show how far it is: over the line before on a terminal, else when a table is compared."""
    line = f"{table}: {rows} rows {what}"
    if sys.stderr.isatty():
        click.echo(f"\r{line:<{WIDTH}}", err=True, nl=what != COPYING)
    elif what != COPYING:
        output.note(line)
