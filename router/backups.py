"""Backups of a log on SQLite: a copy of the file, made while others write, and looked through."""

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import cast

import msgspec
from sqlalchemy import select
from sqlalchemy.engine import URL

from router import migrate, sqlite
from router.doctor.findings import Case
from router.doctor.history import examine_positions
from router.errors import RouterError, SchemaError
from router.store import Store

STEP = 1_024  # pages copied before progress is told: 4 MiB, with pages of the usual size
HEED = 100_000  # instructions of SQLite's between two moments at which a signal is heard: 10 ms

Tell = Callable[[int, int], None]  # how many pages are copied by then, and of how many


class BackupError(RouterError):
    """A backup was not made, and nothing of it is left; says why and what to do."""


class Backup(msgspec.Struct, frozen=True):
    """A backup that was made.

    Attributes:
        file: Where.
        size: Bytes.
        position: The head of the log in it: what came after that is not.
    """

    file: Path
    size: int
    position: int


def back_up(store: Store, target: Path, *, tell: Tell = lambda _done, _all: None) -> Backup:
    """Copy the database into a new file, which holds it as it was at one moment.

    Nobody waits for it: whoever appends or delivers goes on. Meanwhile SQLite's write-ahead log
    cannot begin anew, and grows by what is written. The copy is examined before it gets its name:
    SQLite's own check of the whole file, and that positions have no gap and end at the head.

    Args:
        store: The log, at whatever revision: a backup is what one makes before an upgrade.
        target: The new file; only its owner may read it.
        tell: Told of the progress.

    Raises:
        BackupError: There is such a file, it cannot be written, or the log is damaged.
        SchemaError: The database holds no log.
    """
    name = migrate.describe(store.engine)
    if store.engine.dialect.name != "sqlite":
        raise BackupError(
            f"{name} is no file: PostgreSQL makes its own backups, with pg_dump or pg_basebackup "
            "(docs/how-to/run-on-postgresql.md says how, and what a restore loses)"
        )
    if target.exists():
        raise _exists(target)
    if migrate.current(store.engine, store.tables) is None:
        raise SchemaError(f"{name} is empty: there is no log to back up")
    try:
        with _temporary(target) as partial:
            _copy(store, partial, tell=tell)
            position = _examine(partial, name=name)
            _keep(partial, target)
    except FileExistsError:
        raise _exists(target) from None
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise BackupError(f"no backup was made at {target}: {reason}") from error
    return Backup(target, target.stat().st_size, position)


def _exists(target: Path) -> BackupError:
    return BackupError(f"{target} is there already, and nothing is overwritten: name a new file")


@contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """Yield an empty file beside ``target``, which is gone after the block."""
    handle, name = tempfile.mkstemp(prefix=f"{target.name}.", suffix=".partial", dir=target.parent)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            Path(name + suffix).unlink(missing_ok=True)


def _copy(store: Store, partial: Path, *, tell: Tell) -> None:
    with store.reading() as connection, closing(sqlite3.connect(partial)) as there:
        # From the first read on this transaction sees one state, and so do all steps of the copy;
        # without it, each commit of another process would make the copy begin again.
        connection.execute(select(store.tables.head)).all()
        here = cast("sqlite3.Connection", connection.connection.driver_connection)
        here.backup(there, pages=STEP, progress=lambda _, left, total: tell(total - left, total))


def _examine(partial: Path, *, name: str) -> int:
    """Return the head of the log in a copy, once it is seen to be sound."""
    with closing(sqlite3.connect(f"{partial.resolve().as_uri()}?immutable=1", uri=True)) as copy:
        # The check is one call, of minutes: whoever ends the process meanwhile is heard in here.
        copy.set_progress_handler(lambda: 0, HEED)
        found = [line for (line,) in copy.execute("PRAGMA integrity_check(3)")]
    if found != ["ok"]:
        raise _damaged(name, "; ".join(found))
    engine = sqlite.open_engine(URL.create("sqlite", database=str(partial)), create=False)
    store = Store(engine)
    try:
        finding = examine_positions(Case(store=store, is_deep=False, clock=lambda: 0.0))
        with store.reading() as connection:
            position: int = connection.scalars(select(store.tables.head.c.position)).one()
    finally:
        store.close()
        engine.dispose()
    if not finding.is_sound:
        raise _damaged(name, finding.text)
    return position


def _damaged(name: str, what: str) -> BackupError:
    return BackupError(
        f"no backup was made, for {name} is damaged: {what}; `router doctor` says more. Keep the "
        "last good backup, and copy the file itself, with its -wal, while nothing runs"
    )


def _keep(partial: Path, target: Path) -> None:
    """Give the copy its name, if nobody else has taken it, for good.

    Raises:
        FileExistsError: Somebody has.
        OSError: It cannot be; nothing has that name then.
    """
    _sync(partial)  # before it has its name: what is found under that is whole
    try:
        os.link(partial, target)
    except FileExistsError:
        raise
    except OSError:  # a file system of a NAS, or of a USB stick, may have no links
        _move(partial, target)
    else:
        partial.unlink()
    if os.name != "nt":  # where a folder cannot be opened
        _sync(target.absolute().parent)


def _move(partial: Path, target: Path) -> None:
    """Do so where there are no links: the name is taken first, lest another's is overwritten."""
    target.touch(exist_ok=False)
    try:
        partial.replace(target)
    except BaseException:
        target.unlink()
        raise


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
