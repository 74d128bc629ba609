"""Tests of `router.wakeups`: who listens hears soon, and it costs nobody anything."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from router.store import Store
from router.wakeups import Announcer, Listener
from tests.ears import listening


@contextmanager
def announcing(store: Store, *, gap: float = 0.01) -> Iterator[Announcer]:
    """Announce until the end of the block."""
    announcer = Announcer(store, gap=gap)
    announcer.start()
    try:
        yield announcer
    finally:
        announcer.stop()


@pytest.fixture
def server(postgres_store: Store) -> Store:
    """A store on an engine that has such messages."""
    return postgres_store


def test_what_is_announced_is_heard(server: Store) -> None:
    """Another process that listens is woken, again and again."""
    with listening(server) as ear, announcing(server) as announcer:
        announcer.ring()
        assert ear.wait_for(2)
        announcer.ring()
        assert ear.wait_for(3)


def test_rings_that_follow_soon_are_announced_together(server: Store) -> None:
    """However many there are, the first is told at once and the others with the last."""
    told: list[int] = []
    server.announce = lambda: told.append(1)  # type: ignore[method-assign]  # counts instead
    with announcing(server, gap=0.5) as announcer:
        for _ in range(1_000):
            announcer.ring()
    assert 1 <= len(told) <= 3


def test_another_log_in_the_database_is_not_woken(server: Store) -> None:
    """Each log has its own announcements: a prefix keeps them apart."""
    other = Store(server.engine, table_prefix="other_")
    with listening(other) as ear, listening(server) as own, announcing(server) as announcer:
        announcer.ring()
        assert own.wait_for(2)
        assert ear.heard == 1
    other.close()


def test_who_loses_the_connection_listens_again(server: Store) -> None:
    """A session that was ended is replaced, and what was missed meanwhile is looked for."""
    with listening(server) as ear, announcing(server) as announcer:
        with server.engine.connect() as connection:
            ended = connection.scalar(
                text(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query "
                    "LIKE 'LISTEN router_%' AND datname = current_database()"
                )
            )
        assert ended == 1
        assert ear.wait_for(2)
        announcer.ring()
        assert ear.wait_for(3)


def test_it_can_be_heard_at_another_url(server: Store) -> None:
    """Where the database is reached through a pooler, the server itself is listened to."""
    url = server.engine.url.render_as_string(hide_password=False)
    store = Store(url, listen=url)
    with listening(store) as ear, announcing(store) as announcer:
        announcer.ring()
        assert ear.wait_for(2)
    store.close()


@pytest.mark.parametrize("listen", ["off", None])
def test_without_it_nothing_runs(sqlite_store: Store, server: Store, listen: str | None) -> None:
    """It can be switched off, and SQLite has nothing of the kind: no thread is started."""
    store = sqlite_store
    if listen is not None:
        store = Store(server.engine, listen=listen)
    assert not store.has_wakeups
    before = threading.active_count()
    with announcing(store) as announcer:
        listener = Listener(store, on_wake=lambda: None)
        listener.start()
        announcer.ring()
        assert threading.active_count() == before
        listener.stop()
