"""Tests of `router.store` in trouble: whatever the driver calls it, it has one name."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.exc import IntegrityError

from router.errors import Unavailable
from router.store import Store
from tests.storing import count, file_of, write


@contextmanager
def locked(path: str) -> Iterator[None]:
    """Hold the write lock as another process would."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.close()


@pytest.mark.engines("sqlite")
def test_a_lock_of_another_process_is_named(database: str) -> None:
    """Who cannot write because another process does is told so, in the driver's own words."""
    store = Store(f"{database}?timeout=0.01")
    with locked(file_of(store)):
        with pytest.raises(Unavailable, match=r"does not take it now: database is locked\Z"):
            write(store, "a")
        assert count(store) == 0
    write(store, "a")
    assert count(store) == 1
    store.close()


@pytest.mark.engines("sqlite")
def test_a_commit_that_fails_leaves_no_lock(store: Store) -> None:
    """The connection whose commit failed is not used again: its transaction ends with it."""

    def refuse(action: int, name: str | None, *_others: object) -> int:
        is_commit = action == sqlite3.SQLITE_TRANSACTION and name == "COMMIT"
        return sqlite3.SQLITE_DENY if is_commit else sqlite3.SQLITE_OK

    with store.engine.connect() as connection:  # the pool hands out the same one again
        driver: Any = connection.connection.dbapi_connection
        driver.set_authorizer(refuse)
    with pytest.raises(Unavailable, match="not authorized"):
        write(store, "a")
    assert not driver_is_open(driver)
    write(store, "b")
    assert count(store) == 1


def driver_is_open(driver: sqlite3.Connection) -> bool:
    """Whether a connection can still be used."""
    try:
        driver.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return False
    return True


@pytest.mark.engines("sqlite")
def test_a_full_disk_is_named(store: Store) -> None:
    """A transaction that does not fit is undone and reported as something that may pass."""
    with store.engine.connect() as connection:  # the pool hands out the same one again
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Unavailable, match="database or disk is full"):
        write(store, *(f"{number:036}" for number in range(1000)))
    assert count(store) == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no database at all" * 100, "file is not a database"),
        (b"", "no such table: worker; make it with `router db upgrade`"),
    ],
)
def test_a_broken_database_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    """What is no database of ours does not look like the fault of a row."""
    path = tmp_path / "router.db"
    path.write_bytes(content)
    store = Store(f"sqlite:///{path}")
    with pytest.raises(Unavailable, match=words):
        count(store)
    store.close()


def test_a_directory_is_no_database(tmp_path: Path) -> None:
    """A file that cannot be opened is reported, for an engine of a host's own, too."""
    store = Store(f"sqlite:///{tmp_path}")
    with pytest.raises(Unavailable, match="unable to open database file"):
        store.require_current()
    with pytest.raises(Unavailable, match="unable to open database file"):
        Store(store.engine)
    store.close()


def test_what_a_row_is_at_fault_for_is_not_translated(store: Store) -> None:
    """A row that breaks a constraint will not be taken later either."""
    with pytest.raises(IntegrityError):
        write(store, None)
    assert count(store) == 0


def test_errors_do_not_quote_what_was_to_be_stored(store: Store) -> None:
    """Parameters hold what providers send: the text of an error leaves them out."""
    with pytest.raises(IntegrityError) as caught:
        write(store, "+5215512345678", "+5215512345678")
    assert "+5215512345678" not in str(caught.value)


@pytest.mark.engines("sqlite")
def test_too_many_readers_are_named(database: str) -> None:
    """Who gets no connection in time is told so."""
    narrow = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.01}
    engine = create_engine(database, connect_args={"isolation_level": None}, **narrow)
    event.listen(engine, "connect", lambda driver, _entry: driver.execute("PRAGMA synchronous = 2"))
    store = Store(engine)
    with (
        store.reading(),
        pytest.raises(Unavailable, match="all connections to the database are in use"),
    ):
        count(store)
    assert count(store) == 0
    engine.dispose()
