"""Rows that are easy to make, for tests of the store."""

from sqlalchemy import Connection, func, insert, select

from router.store import Store


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
