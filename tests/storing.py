"""Rows that are easy to make, for tests of the store."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, event, func, insert, select

from router.store import Store

# What is deferred to the commit: there the disk is full.
_FULL = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'the disk is full' USING ERRCODE = 'disk_full';
END $$;
CREATE CONSTRAINT TRIGGER refused AFTER INSERT ON event DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION refuse();
"""


def add(connection: Connection, store: Store, name: str | None) -> None:
    """Insert a row that is easy to make."""
    table = store.tables.worker
    row = {"id": name, "host": "here", "pid": 1, "started_at": 1, "seen_at": 1}
    connection.execute(insert(table), row)


def write(store: Store, *names: str | None, fail: BaseException | None = None) -> None:
    """Add these rows in one transaction, which fails at its end where it is to."""
    with store.writing() as connection:
        for name in names:
            add(connection, store, name)
        if fail is not None:
            raise fail


def count(store: Store) -> int:
    """Count those rows."""
    with store.reading() as connection:
        return connection.scalars(select(func.count()).select_from(store.tables.worker)).one()


def file_of(store: Store) -> str:
    """The database's file."""
    assert store.engine.url.database is not None
    return store.engine.url.database


@contextmanager
def failing_commits(store: Store) -> Iterator[None]:
    """Let each commit of an event fail, while the block lasts, because the disk does."""

    def fail(_connection: Connection) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    if store.engine.dialect.name == "sqlite":
        event.listen(store.engine, "commit", fail)
        yield
        event.remove(store.engine, "commit", fail)
        return
    with store.engine.begin() as connection:
        connection.exec_driver_sql(_FULL)
    yield
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DROP FUNCTION refuse CASCADE")
