"""`router db backup`: a log on SQLite into a file, while everything runs."""

import signal
import sys
from pathlib import Path

import click

from router.backups import back_up
from router.cli import output
from router.cli.settings import open_store, with_config
from router.config import Config
from router.doctor.findings import as_size


@click.command()
@click.option(
    "--to",
    "target",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The new file; one that is there is not overwritten.",
)
@output.json_option
@with_config
def backup(found: Config, *, target: Path, as_json: bool) -> None:
    """Copy a log on SQLite into a file, while everything runs.

    The file holds the log as it was at one moment, with all progress and the tables of plugins; it
    is read through before it gets its name. To restore it, stop everything, put it in the place
    of the database, remove what is beside that (-wal, -shm), and start.

    PostgreSQL has backups of its own: pg_dump, pg_basebackup.
    """
    store = open_store(found)
    # It ends as Ctrl-C does: half a copy, with what customers wrote, must not stay.
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        made = back_up(store, target, tell=_tell)
    finally:
        signal.signal(signal.SIGTERM, former)
        store.close()
    if as_json:
        output.print_json({"file": str(target), "bytes": made.size, "head": made.position})
        return
    output.print_text(f"{target}: {as_size(made.size)}, a sound log up to position {made.position}")


def _tell(done: int, total: int) -> None:
    """Show on a terminal how far it is."""
    if sys.stderr.isatty():
        click.echo(f"\rcopied {done} of {total} pages", err=True, nl=done == total)
