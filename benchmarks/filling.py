"""Logs of a given size that are kept in a folder: filled, and gone on with where it was stopped."""

import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from itertools import islice
from pathlib import Path

from benchmarks.engines import Database, make_tables
from benchmarks.notifications import draw_recipients, fill_log
from router import EventLog

SUBJECTS = 5_000
PROGRESS = 100_000  # events between two words about it


def find_log(folder: Path, size: int) -> Database:
    """Return the log of so many events in ``folder``, which is made where there is none."""
    place = folder / f"{size}"
    place.mkdir(parents=True, exist_ok=True)
    database = Database(place, f"sqlite:///{(place / 'router.db').absolute()}", "")
    if not (place / "router.db").exists():
        make_tables(database.url)
    return database


def read_head(database: Database) -> int:
    """Return how many events there are."""
    with closing(EventLog(database.url).store) as store:
        return EventLog(store).head()


def measure_disk(database: Database) -> float:
    """Return the bytes on disk for each event, once what was written is where it stays."""
    file = database.folder / "router.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return file.stat().st_size / read_head(database)


def fill(
    database: Database,
    size: int,
    *,
    seconds: float,
    monotonic: Callable[[], float] = time.monotonic,
) -> int:
    """Append statuses until there are ``size`` events, and return how many there are.

    Args:
        database: Where; what is there already is gone on with.
        size: How many events are wanted.
        seconds: After which it stops, however many there are; the next call goes on.
        monotonic: Seconds by a clock that only goes forward.
    """
    head, began = read_head(database), monotonic()

    def go_on(appended: int) -> bool:
        if appended % PROGRESS == 0:
            said = f"{head + appended:,} of {size:,} after {monotonic() - began:.0f} s"
            print(said, file=sys.stderr)
        return monotonic() - began < seconds

    recipients = islice(draw_recipients(SUBJECTS), head, max(head, size))
    return head + fill_log(database.url, recipients, first=head, go_on=go_on)
