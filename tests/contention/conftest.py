"""One log on PostgreSQL, as two processes see it."""

from collections.abc import Iterator

import pytest

from router.log import EventLog
from router.store import Store
from tests import databases
from tests.clocks import StillClock


@pytest.fixture
def clock() -> StillClock:
    """The clock that leases go by."""
    return StillClock()


@pytest.fixture
def database(postgres_database: str) -> str:
    """The URL of an empty log."""
    databases.reset(postgres_database)
    return postgres_database


@pytest.fixture
def other(database: str, clock: StillClock) -> Iterator[EventLog]:
    """The same log in another process."""
    store = Store(database, clock=clock)
    yield EventLog(store)
    store.close()
