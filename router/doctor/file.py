"""Checks of SQLite's files and settings, and of the disk beneath them."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import func, select

from router.doctor.findings import Case, Finding, as_size, judge
from router.sqlite import CHECKPOINT_BYTES, HOLD_MILLIS, file_of

MEBI = 2**20
TRIES = 10
MOST_WAL = 256 * MEBI  # of the write-ahead log that no checkpoint can move
LEAST_FREE = 256 * MEBI
DAYS = 3  # of growth that the disk should have room for
DAY = 86_400_000_000  # microseconds


def examine_wal(
    case: Case, *, most: int = MOST_WAL, sleep: Callable[[float], None] = time.sleep
) -> Finding:
    """SQLite's write-ahead log can be moved into the database.

    Where it is long, it is moved as far as possible, as `router serve` does each second: nobody
    waits for that. What is left then is held by a transaction that began long ago.

    Args:
        case: What is examined.
        most: Bytes that may be left.
        sleep: Waits for some seconds.
    """
    wal = _wal_of(case)
    size = wal.stat().st_size if wal.exists() else 0
    if size <= min(CHECKPOINT_BYTES, most):
        return judge("wal", [], sound=f"{as_size(size)} in the write-ahead log", advice="")
    left = _checkpoint(case, sleep=sleep)
    text = f"the write-ahead log has {as_size(size)}, and {as_size(left)} of it cannot be moved"
    sound = text
    if size > most:
        sound += "; the file shrinks when the last process closes the database"
    return judge(
        "wal",
        [text] if left > most else [],
        sound=sound,
        advice="somebody reads in one long transaction (a backup, a notebook, a stopped process): "
        f"`fuser -v {str(wal).removesuffix('-wal')}` names who has it open; "
        "end that transaction",
    )


def examine_disk(
    case: Case, *, free_of: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free
) -> Finding:
    """The disk has room for some days of growth, and for the write-ahead log to grow again.

    Args:
        case: What is examined.
        free_of: Tells how many bytes are free beside a folder.
    """
    wal = _wal_of(case)
    path = wal.with_name(wal.name.removesuffix("-wal"))
    free = free_of(path.absolute().parent)
    size = path.stat().st_size
    growth = _find_growth(case, size=size)
    needed = max(LEAST_FREE, DAYS * growth, 3 * (wal.stat().st_size if wal.exists() else 0))
    text = f"{as_size(free)} free beside a database of {as_size(size)}"
    if growth:
        text += f" that grew by about {as_size(growth)} in the last day"
    return judge(
        "disk",
        [text] if free < needed else [],
        sound=text,
        advice="make room, or delete old events with `router db prune`: a full disk means 503 for "
        "every provider. SQLite uses again what is deleted, but gives nothing back without VACUUM",
    )


def examine_durability(case: Case) -> Finding:
    """SQLite keeps a write-ahead log and waits for the disk, on a connection of the router's."""
    with case.store.engine.connect() as connection:
        journal = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
        level = connection.exec_driver_sql("PRAGMA synchronous").scalar_one()
    names = {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}
    text = f"journal_mode={journal}, synchronous={names.get(level, level)}"
    is_durable = journal == "wal" and level >= 2
    return judge(
        "durability",
        [] if is_durable else [text],
        sound=text,
        advice="a power cut loses what was answered 200: let the router open the database itself, "
        "or set journal_mode=WAL and synchronous=FULL on every connection",
    )


def _wal_of(case: Case) -> Path:
    path = file_of(case.store.engine.url)
    if path is None:
        raise FileNotFoundError("the database is not a file")
    return path.with_name(path.name + "-wal")


def _checkpoint(case: Case, *, sleep: Callable[[float], None]) -> int:
    """Move what can be moved, and return the bytes that are left."""
    with case.store.engine.connect() as connection:
        ask = connection.exec_driver_sql
        for _ in range(TRIES):
            _busy, pages, moved = ask("PRAGMA wal_checkpoint(PASSIVE)").one()
            if pages >= 0:
                break
            sleep(HOLD_MILLIS / 1_000)  # another process is at it, for no longer than that
        left: int = max(0, pages - moved) * ask("PRAGMA page_size").scalar_one()
        return left


def _find_growth(case: Case, *, size: int) -> int:
    """Return the bytes that the last day added to the database, told by its share of the events."""
    notification, head = case.tables.notification.c, case.tables.head
    since = case.store.now() - DAY
    first = (
        select(notification.id)
        .where(notification.received_at >= since)
        .order_by(notification.received_at)
        .limit(1)
    )
    with case.store.reading() as connection:
        position = connection.scalars(first).first()
        newest = connection.scalars(select(head.c.position)).one()
        lowest = connection.scalars(select(func.min(notification.id))).one()
    if position is None or lowest is None or newest < lowest:
        return 0
    share = (newest - position + 1) / (newest - lowest + 1)
    return int(size * share)
