"""One log on PostgreSQL, as two processes see it."""

from collections.abc import Iterator

import pytest

from router import postgresql
from router.log import EventLog
from router.store import Store
from tests import databases
from tests.clocks import StillClock
from tests.contention.standstill import SECONDS


@pytest.fixture
def clock() -> StillClock:
    """The clock that leases go by."""
    return StillClock()


@pytest.fixture
def database(postgres_database: str) -> str:
    """The URL of an empty log."""
    databases.reset(postgres_database)
    return postgres_database


@pytest.fixture(autouse=True)
def _is_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let who stands still do so for as long as a busy machine takes."""
    for name in ("APPEND_LOCK", "APPEND_IDLE", "OTHER_LOCK", "OTHER_IDLE", "STATEMENT"):
        monkeypatch.setattr(postgresql, name, 2 * SECONDS)


@pytest.fixture
def other(database: str, clock: StillClock) -> Iterator[EventLog]:
    """The same log in another process."""
    store = Store(database, clock=clock)
    yield EventLog(store)
    store.close()
