"""Logs in files of a test's own: made, copied, and quick, since no power cut threatens them."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import event

from router import migrate
from router.store import Store


def make_log(path: Path) -> None:
    """Make an empty log in a file, unless there is one."""
    store = Store(f"sqlite:///{path}", create=True)
    hurry(store)
    migrate.upgrade(store.engine, store.tables)
    store.close()


def copy_log(source: Path, target: Path) -> None:
    """Copy a log that nobody writes to, over the one that is in ``target``, if any."""
    for name in (target, target.with_name(f"{target.name}-wal"), _shared(target)):
        name.unlink(missing_ok=True)
    if not source.with_name(f"{source.name}-wal").exists():
        shutil.copy(source, target)
        return
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def hurry(store: Store) -> None:
    """Leave out what only a power cut would tell: waiting for the disk."""
    event.listen(store.engine, "connect", _hurry)


def _hurry(connection: sqlite3.Connection, _entry: object) -> None:
    connection.execute("PRAGMA synchronous = OFF")


def _shared(path: Path) -> Path:
    return path.with_name(f"{path.name}-shm")
