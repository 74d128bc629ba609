"""Tests of `router.reparsing`: whatever runs beside it or before it, nothing is appended twice."""

import os
import threading

import pytest

from router.log import EventLog
from router.reparsing import BATCH, Reparsing
from router.store import Store
from tests.clocks import StillClock
from tests.entries import append
from tests.posting import StubSource
from tests.reparsed import (
    count,
    externals,
    fill,
    forget,
    make_redelivered,
    make_reparsing,
    read_flags,
    reparse,
    split_now,
)

IS_FULL = os.environ.get("ROUTER_TEST_SIZE") == "full"
MANY = 100_000 if IS_FULL else 3_000


@pytest.fixture
def clock() -> StillClock:
    """The clock of the log."""
    return StillClock()


def test_many_are_appended_once_whatever_was_forgotten(
    log: EventLog, store: Store, clock: StillClock
) -> None:
    """Neither what is older than the dedupe memory, nor what was appended then, comes again."""
    fill(log, MANY)
    forget(log, clock)
    head = log.head()

    for expected in ({"read": MANY}, {}):
        assert reparse(log) == expected
        assert log.head() == head + MANY
        forget(log, clock)
        head = log.head() - MANY
    found = externals(log)
    del found[None]  # what made the memory forget
    assert found.total() == len(found) == 2 * MANY
    assert len(read_flags(log)) == MANY
    assert count(store, "notification") == log.head() - MANY


def test_what_is_appended_is_remembered(log: EventLog) -> None:
    """When the provider sends it once more, it is known."""
    fill(log, 2)
    reparse(log)

    assert append(log, make_redelivered(1), make_redelivered(2)) == []


def test_a_crash_leaves_a_sound_log_and_the_next_run_goes_on(log: EventLog) -> None:
    """What was appended before it stays; what was not is found again."""
    fill(log, 3 * BATCH)
    told: list[int] = []

    def interrupt(_what: str, done: int) -> None:
        told.append(done)
        if done == 2 * BATCH:
            raise KeyboardInterrupt

    reparsing = make_reparsing(log)
    with pytest.raises(KeyboardInterrupt), reparsing.planned("shop") as plan:
        reparsing.append(plan, by="ana", tell=interrupt)

    assert told == [BATCH, 2 * BATCH]
    assert log.head() == 5 * BATCH
    assert reparse(log) == {"read": BATCH}
    assert set(externals(log).values()) == {1}


def test_others_get_their_turn(log: EventLog, store: Store) -> None:
    """Between two transactions it sleeps."""
    fill(log, BATCH + 1)
    pauses: list[float] = []
    source = StubSource("shop", splits=split_now)
    reparsing = Reparsing(log, {"shop": source}, sleep=pauses.append)
    with reparsing.planned("shop") as plan:
        found = reparsing.append(plan, by="ana")

    assert len(pauses) == 2
    assert min(pauses) > 0
    assert (found.total, found.first, found.last) == (BATCH + 1, BATCH + 2, 2 * BATCH + 2)


def test_two_plans_append_each_event_once(log: EventLog, clock: StillClock) -> None:
    """Whoever comes second finds it in the log, even if the dedupe memory has forgotten it."""
    fill(log, 3)
    reparsing = make_reparsing(log)
    with reparsing.planned("shop") as one, reparsing.planned("shop") as other:
        assert reparsing.append(one, by="ana").total == 3
        forget(log, clock)
        assert reparsing.append(other, by="ben").total == 0
        assert reparsing.append(one, by="ana").total == 0


def test_what_came_live_since_it_was_planned_is_known(log: EventLog) -> None:
    """Even between two transactions of the append."""
    fill(log, 2 * BATCH)

    def redeliver(_what: str, done: int) -> None:
        if done == BATCH:
            append(log, *(make_redelivered(number) for number in range(BATCH + 2, BATCH + 12)))

    reparsing = make_reparsing(log)
    with reparsing.planned("shop") as plan:
        append(log, make_redelivered(1))
        found = reparsing.append(plan, by="ana", tell=redeliver)

    assert (plan.total, found.total) == (2 * BATCH, 2 * BATCH - 11)
    assert set(externals(log).values()) == {1}


def test_reparses_and_live_appends_race(database: str, log: EventLog) -> None:
    """Two at once, while the same elements are redelivered live: each event is appended once."""
    many = 4 * BATCH
    fill(log, many)
    ready = threading.Barrier(3)
    errors: list[BaseException] = []

    def run(number: int) -> None:
        store = Store(database)
        try:
            mine = EventLog(store)
            if number == 0:
                ready.wait()
                for at in range(many, 0, -10):
                    append(mine, *(make_redelivered(one) for one in range(at, at - 10, -1)))
            else:
                reparsing = make_reparsing(mine)
                with reparsing.planned("shop") as plan:
                    ready.wait()
                    reparsing.append(plan, by="ana")
        except BaseException as error:
            errors.append(error)
            raise
        finally:
            store.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    found = externals(log)
    assert set(found.values()) == {1}
    assert found.total() == log.head() == 2 * many
    assert [event.position for event in log.read()] == list(range(1, 2 * many + 1))
