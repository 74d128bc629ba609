"""Tests of `router.fence`: an owner writes upon nothing but what it wrote last."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, select, update

from router.errors import Unavailable
from router.lane import LeaseLost
from router.lanes import Lanes
from router.ledger import Counts, Ledger
from router.options import Options
from router.parking import Parking
from router.replay_counts import Count
from router.roster import Roster
from router.store import Store
from tests.storing import add, count


class LosingAnswers(Lanes):
    """Lanes whose owner does not hear of a commit while ``is_losing``."""

    is_losing = False

    @contextmanager
    def owning(self, *words: Any, **how: Any) -> Iterator[Connection]:  # noqa: ANN401
        """Yield a transaction, which is committed however this ends."""
        with super().owning(*words, **how) as connection:
            yield connection
        if self.is_losing:
            raise Unavailable("the answer to the commit was lost")


class Effect:
    """Work in a transaction: a row that has no key, and one position that it settles."""

    def __init__(self, store: Store, position: int) -> None:
        self.settled = [position]
        self.counts: Counts = Counter()
        self._store = store

    def __call__(self, connection: Connection) -> None:
        """Write the row."""
        add(connection, self._store, f"effect of {self.settled} {count(self._store)}")


@pytest.fixture
def lanes(store: Store) -> LosingAnswers:
    """Those of a worker, with one lane that nobody has claimed."""
    roster = Roster(store, pid=1)
    roster.enrol(["crm"])
    roster.declare("crm", {}, Options(start="beginning", lanes=1))
    return LosingAnswers(store, worker=roster.worker)


@pytest.fixture
def ledger(store: Store, lanes: LosingAnswers) -> Iterator[Ledger]:
    """The ledger of the lane; where the database does not answer, it answers the next time."""

    async def sleep(_seconds: float) -> None:
        lanes.is_losing = False

    (lane,) = lanes.claim(["crm"])
    with ThreadPoolExecutor(1) as storage:
        parking = Parking(store.tables)
        ledger = Ledger(lane, lanes=lanes, parking=parking, storage=storage, sleep=sleep)
        ledger.progress.take([1, 2, 3], reached=3)
        yield ledger


def test_what_was_committed_unheard_is_not_done_again(
    store: Store, lanes: LosingAnswers, ledger: Ledger
) -> None:
    """The answer to a commit is lost: its effects are there once, and the lane begins again."""
    before = count(store)
    lanes.is_losing = True
    with pytest.raises(LeaseLost, match="is not what is on record"):
        asyncio.run(ledger.write_with(Effect(store, 1)))
    assert count(store) == before + 1
    lanes.release(ledger.lane)
    (lane,) = lanes.claim(["crm"])
    assert lane.checkpoint == 1


def test_what_was_committed_unheard_is_not_written_again(
    store: Store, lanes: LosingAnswers, ledger: Ledger
) -> None:
    """The same holds for statements beside the progress."""
    before = count(store)

    def state(connection: Connection) -> Count | None:
        add(connection, store, f"number {count(store)}")
        return None

    lanes.is_losing = True
    with pytest.raises(LeaseLost):
        asyncio.run(ledger.write(state))
    assert count(store) == before + 1


def test_what_the_database_has_lost_is_not_taken_for_written(store: Store, ledger: Ledger) -> None:
    """After a crash that undid its last write, an owner goes on from what is on record."""
    table = store.tables.lane
    asyncio.run(ledger.write_with(Effect(store, 1)))
    with store.reading() as connection:
        row = connection.execute(select(table)).one()._asdict()
    asyncio.run(ledger.write_with(Effect(store, 2)))
    with store.writing() as connection:
        connection.execute(update(table).values(row))
    with pytest.raises(LeaseLost, match="is not what is on record"):
        asyncio.run(ledger.write_with(Effect(store, 3)))
    with store.reading() as connection:
        assert connection.execute(select(table)).one()._asdict() == row


def test_a_renewed_lease_is_no_other_write(
    store: Store, lanes: LosingAnswers, ledger: Ledger
) -> None:
    """A lease is prolonged beside its owner's writes, which go on."""
    for position in range(1, 4):
        asyncio.run(ledger.write_with(Effect(store, position)))
        assert lanes.renew() == {ledger.lane.key}
    with store.reading() as connection:
        assert connection.scalars(select(store.tables.lane.c.checkpoint)).one() == 3
