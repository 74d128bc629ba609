"""Tests of `router.store`: what is written is there, what fails is not, and trouble is named."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import func, make_url, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine

from router.errors import SchemaError, StoreError
from router.store import Store
from tests.storing import add, count, file_of, write


def test_what_is_written_is_committed_at_the_end(store: Store) -> None:
    """A block that ends well is there for every later reader, and not before."""
    with store.writing() as connection:
        add(connection, store, "a")
        assert count(store) == 0
    assert count(store) == 1


@pytest.mark.parametrize("error", [RuntimeError(), KeyboardInterrupt()])
def test_a_block_that_fails_leaves_nothing(store: Store, error: BaseException) -> None:
    """An exception undoes all of it, and neither connection nor gate stays taken."""
    with pytest.raises(type(error)):
        write(store, "a", fail=error)
    write(store, "b")
    assert count(store) == 1


def test_a_reader_sees_one_state(store: Store) -> None:
    """What others commit meanwhile is not seen before the next reading."""
    query = select(func.count()).select_from(store.tables.worker)
    with store.reading() as connection:
        assert connection.scalars(query).one() == 0
        write(store, "a")
        assert connection.scalars(query).one() == 0
    assert count(store) == 1


def test_refuses_tables_of_another_revision(store: Store) -> None:
    """A database that is not at this version's revision is refused, with the command."""
    store.require_current()
    with store.writing() as connection:
        connection.exec_driver_sql("UPDATE router_schema_version SET version_num = '9999'")
    with pytest.raises(SchemaError, match="9999"):
        store.require_current()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("router.db", "write one like sqlite:///router.db"),
        ("mysql://localhost/x", "stores on sqlite and postgresql, not on mysql"),
        ("postgresql+asyncpg://localhost/x", r"write postgresql\+psycopg://"),
        ("sqlite://", "loses everything"),
    ],
)
def test_refuses_other_databases(url: str, words: str) -> None:
    """A URL that is none, or of another engine, is refused with what would be right."""
    with pytest.raises(StoreError, match=words):
        Store(url)


def test_refuses_what_is_no_engine(tmp_path: Path) -> None:
    """An asynchronous engine, or a URL that is not text, is refused with what to do."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'router.db'}"
    for other in (create_async_engine(url), make_url(url)):
        with pytest.raises(StoreError, match=f"not {type(other).__name__}; .* from the URL"):
            Store(other)  # type: ignore[arg-type]


def test_the_clock_counts_microseconds(database: str) -> None:
    """Time is whole microseconds since 1970."""
    store = Store(database, clock=lambda: 1767268800.25)
    assert store.now() == 1767268800250000
    store.close()


def checkpointers() -> set[threading.Thread]:
    """The threads that keep write-ahead logs short."""
    return {one for one in threading.enumerate() if one.name == "router-checkpoints"}


@pytest.mark.engines("sqlite")
def test_any_writing_starts_the_checkpoints_once(database: str) -> None:
    """A process that only delivers keeps the write-ahead log short, too; a reader need not."""
    others = checkpointers()
    store = Store(database)
    count(store)
    assert checkpointers() <= others
    write(store, "a")
    write(store, "b")
    assert len(checkpointers() - others) == 1
    store.close()
    assert checkpointers() <= others


@pytest.mark.engines("sqlite")
def test_a_closed_store_leaves_one_whole_file(database: str) -> None:
    """After `close` all is in the database's own file."""
    store = Store(database)
    write(store, "a")
    path = Path(file_of(store))
    assert path.with_name("router.db-wal").exists()
    store.close()
    assert not path.with_name("router.db-wal").exists()


def test_an_engine_that_was_handed_in_stays_open(store: Store) -> None:
    """`close` lets go of it and no more: it belongs to the caller."""
    pool = store.engine.pool
    other = Store(store.engine)
    assert count(other) == 0
    other.close()
    assert store.engine.pool is pool


def test_two_logs_share_a_database(store: Store) -> None:
    """A prefix keeps the tables of one log apart from those of another."""
    other = Store(store.engine, table_prefix="other_")
    with pytest.raises(SchemaError, match="has no tables of the router"):
        other.require_current()
    assert other.tables.worker.name == "other_worker"


def test_writers_of_a_process_do_not_hinder_each_other(database: str) -> None:
    """Many threads write at once and none of them meets a lock, however short its patience."""
    is_sqlite = database.startswith("sqlite")
    store = Store(f"{database}?timeout=0" if is_sqlite else database)

    def write_some(number: int) -> None:
        for step in range(10):
            write(store, f"{number} {step}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write_some, range(8)))
    assert count(store) == 80
    store.close()


def test_a_rehearsal_leaves_nothing(store: Store) -> None:
    """What is written is there within the block; the same connection serves again."""
    for _ in range(2):
        with store.rehearsing(idle=1.0) as connection:
            add(connection, store, "a")
            table = store.tables.worker
            assert connection.scalars(select(func.count()).select_from(table)).one() == 1
    assert count(store) == 0
    write(store, "a")
    assert count(store) == 1


def test_a_rehearsal_that_fails_leaves_nothing(store: Store) -> None:
    """Neither connection nor gate stays taken."""
    with pytest.raises(IntegrityError), store.rehearsing(idle=1.0) as connection:
        add(connection, store, None)
    write(store, "b")
    assert count(store) == 1


def test_a_store_that_is_to_write_nothing_refuses_to(database: str) -> None:
    """Whatever the writing is for; it reads, and rehearses."""
    store = Store(database, writes=False)
    with pytest.raises(StoreError, match="nothing is written"):
        write(store, "a")
    with store.rehearsing(idle=1.0) as connection:
        add(connection, store, "a")
    assert count(store) == 0
    store.close()
