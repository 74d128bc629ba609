"""Tests of `router.head` and `router.postgresql`: who waits for whom, and who does not."""

from functools import partial

from sqlalchemy import text

from router.lanes import Lanes
from router.log import EventLog
from router.rows import Appended
from router.store import Store
from tests.contention.standstill import Standstill
from tests.entries import append_messages, make_entry
from tests.histories import settle, subscribe

MARK = "SELECT 'in the middle'"


def steer(store: Store) -> None:
    """Do what operators and workers do now and then."""
    with store.writing() as connection:
        connection.execute(text(MARK))


def test_appends_take_turns(log: EventLog, other: EventLog) -> None:
    """Whoever comes second knows the events of the first, and numbers its own behind them."""
    one, two = make_entry(), make_entry()
    came = Standstill(log.store, behind="FROM head").run(
        partial(log.append, [one]), partial(other.append, [one, two])
    )
    assert came.has_waited
    assert [found.positions for found in came.first] == [(1,)]
    assert [found.positions for found in came.second] == [(), (2,)]
    assert [event.position for event in log.read()] == [1, 2]


def test_a_reader_sees_nothing_of_an_append_under_way(log: EventLog, other: EventLog) -> None:
    """Neither its events nor its head, and it does not wait."""

    def look() -> tuple[int, int]:
        return other.head(), len(list(other.read()))

    came = Standstill(log.store, behind="UPDATE head").run(
        partial(append_messages, log, "ab"), look
    )
    assert (came.second, came.has_waited) == ((0, 0), False)
    assert look() == (2, 2)


def test_one_steers_at_a_time(log: EventLog, other: EventLog) -> None:
    """Of two transactions that go by what they read, the second begins when the first has ended."""
    came = Standstill(log.store, behind=MARK).run(
        partial(steer, log.store), partial(steer, other.store)
    )
    assert came == (None, None, True)


def test_steering_holds_up_no_append(log: EventLog, other: EventLog) -> None:
    """A provider is answered meanwhile."""
    came = Standstill(log.store, behind=MARK).run(
        partial(steer, log.store), partial(other.append, [make_entry()])
    )
    assert came.second == [Appended(came.second[0].events, 0)]
    assert not came.has_waited


def test_steering_holds_up_no_owner(log: EventLog, other: EventLog) -> None:
    """Nor delivery, nor the leases."""
    [lane] = subscribe(log)
    came = Standstill(log.store, behind=MARK).run(
        partial(steer, log.store), partial(settle, other, lane, checkpoint=1)
    )
    assert came == (None, None, False)
    came = Standstill(log.store, behind=MARK).run(
        partial(steer, log.store), Lanes(other.store, worker="w").renew
    )
    assert came == (None, {lane.key}, False)


def test_an_append_holds_up_nobody_else(log: EventLog, other: EventLog) -> None:
    """However long it takes, operators and owners go on."""
    [lane] = subscribe(log)
    came = Standstill(log.store, behind="FROM head").run(
        partial(append_messages, log, "a"), partial(steer, other.store)
    )
    assert came == ([1], None, False)
    came = Standstill(log.store, behind="FROM head").run(
        partial(append_messages, log, "a"), partial(settle, other, lane, checkpoint=1)
    )
    assert came == ([2], None, False)
