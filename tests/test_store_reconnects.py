"""Tests of `router.store` after its server has ended its sessions: whoever comes next is served."""

from collections.abc import Iterator

import pytest
from sqlalchemy import event, text

from router.errors import Unavailable
from router.kind import Kind
from router.log import EventLog
from router.store import Store
from tests import databases
from tests.entries import append_messages
from tests.storing import count, write

THREADS = 3  # connections of each kind that are open


@pytest.fixture
def store(postgres_database: str) -> Iterator[Store]:
    """An open store on PostgreSQL, with several connections of each kind that were used before."""
    databases.reset(postgres_database)
    store = Store(postgres_database)
    with store.reading(), store.engine.connect(), store.engine.connect():
        write(store, "before")
    yield store
    store.close()


def end_sessions(store: Store) -> None:
    """End all sessions of the store, as a server that restarts does."""
    other = Store(store.engine.url.render_as_string(hide_password=False))
    query = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with other.reading() as connection:
        assert len(connection.execute(text(query)).all()) >= 1
    other.close()


def test_who_reads_next_does_not_notice(store: Store) -> None:
    """The connections that have died in the pool are replaced, and nobody is refused for them."""
    end_sessions(store)
    for _ in range(2 * THREADS):
        assert count(store) == 1


@pytest.mark.parametrize("kind", Kind)
def test_who_writes_next_does_not_notice(store: Store, kind: Kind) -> None:
    """The same holds for the connections that are kept for writing."""
    with store.writing(kind):
        pass
    end_sessions(store)
    for _ in range(2):
        with store.writing(kind):
            pass
    assert count(store) == 1


def test_who_is_amid_a_transaction_is_told(store: Store) -> None:
    """What was begun before is lost, and whoever began it hears of that."""

    def be_cut_off() -> None:
        with store.writing() as connection:
            connection.execute(text("SELECT 1"))
            end_sessions(store)
            connection.execute(text("SELECT 1"))

    with pytest.raises(Unavailable):
        be_cut_off()
    write(store, "after")
    assert count(store) == 2


def test_who_appends_next_does_not_notice(store: Store) -> None:
    """Nothing of an append is done when its first message finds nobody."""
    log = EventLog(store)
    assert append_messages(log, "a") == [1]
    end_sessions(store)
    assert append_messages(log, "bc") == [2, 3]


def test_who_is_amid_an_append_is_told_and_who_comes_next_is_served(store: Store) -> None:
    """Also when only the commit is left: all other connections are as dead as that one."""
    log = EventLog(store)
    append_messages(log, "a")
    sessions = [store]

    def end(_connection: object, _cursor: object, statement: str, *_others: object) -> None:
        if "INSERT" in statement and sessions:
            end_sessions(sessions.pop())

    event.listen(store.engine, "after_cursor_execute", end)
    with pytest.raises(Unavailable):
        append_messages(log, "b")
    assert append_messages(log, "c") == [2]
