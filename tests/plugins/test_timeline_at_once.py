"""Tests of `router.plugins.timeline` where two workers handle statuses of one message at once."""

import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine

from router.plugins.timeline.model import METADATA
from tests import databases, samples
from tests.plugins.timelines import at, handle, read_messages, read_steps, statuses


@pytest.fixture
def engine(postgres_database: str) -> Iterator[Engine]:
    """PostgreSQL: on SQLite one write transaction keeps out all others."""
    databases.reset(postgres_database)
    engine = create_engine(postgres_database)
    METADATA.create_all(engine)
    yield engine
    engine.dispose()


@pytest.mark.parametrize("is_known", [False, True])
def test_statuses_that_come_at_once_are_merged(engine: Engine, is_known: bool) -> None:  # noqa: FBT001
    """The second waits for the first and adds to what that has made of it; neither fails."""
    sent, delivered, read = (
        statuses(samples.status(word, timestamp=at(second)))
        for second, word in enumerate(("sent", "delivered", "read"))
    )
    if is_known:
        with engine.begin() as connection:
            handle(connection, sent)
    with engine.begin() as second:
        pid = second.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        thread = threading.Thread(target=lambda: handle(second, read))
        with engine.begin() as first:
            handle(first, delivered[:1])
            thread.start()
            await_lock(engine, pid)
        thread.join()
    with engine.connect() as connection:
        [row] = read_messages(connection)
        assert (row.state, row.delivered_at is None) == ("read", False)
        assert (row.sent_at is None) == (not is_known)
        assert [step.subtype for step in read_steps(connection)] == ["read"]  # of one position


def await_lock(engine: Engine, pid: int) -> None:
    """Wait until that connection waits for another one."""
    end = time.monotonic() + 60
    with engine.connect() as connection:
        query = f"SELECT cardinality(pg_blocking_pids({pid}))"
        while not connection.exec_driver_sql(query).scalar_one():
            assert time.monotonic() < end, "nobody waits"
            time.sleep(0.005)
