"""Tests of `router.status`: how subscriptions and workers stand."""

from datetime import timedelta

import pytest

from router.errors import UnknownName
from router.events import as_micros
from router.lane import LEASE_MICROS
from router.log import EventLog
from router.replay_runs import ReplayRuns
from router.roster import Roster
from router.status import Status
from router.store import Store
from tests.clocks import StillClock
from tests.entries import NOON, append, append_messages, make_entry
from tests.histories import park, settle, start_replay, subscribe
from tests.reparsed import fill, reparse


@pytest.fixture
def clock() -> StillClock:
    """The clock that ages are told by."""
    return StillClock(past=60)


@pytest.fixture
def status(store: Store) -> Status:
    """What is tested."""
    return Status(store)


def test_a_subscription_that_has_done_nothing_lags_by_all(log: EventLog, status: Status) -> None:
    """Lag is counted in positions, and its age from when the first unsettled event came."""
    append(log, make_entry(), make_entry(), make_entry())
    subscribe(log)

    crm = status.subscription("crm")

    assert (crm.name, crm.state, crm.last_error) == ("crm", "active", None)
    assert (crm.checkpoint, crm.head, crm.lag, crm.lag_seconds) == (0, 3, 3, 60.0)


def test_a_subscription_that_has_caught_up_does_not_lag(log: EventLog, status: Status) -> None:
    """At the head, lag and its age are 0."""
    append_messages(log, ["ana", "ben"])
    [lane] = subscribe(log)
    settle(log, lane, checkpoint=2)

    crm = status.subscription("crm")

    assert (crm.checkpoint, crm.lag, crm.lag_seconds) == (2, 0, 0.0)


def test_the_checkpoint_is_the_lowest_of_the_lanes(log: EventLog, status: Status) -> None:
    """What one lane has not settled, the subscription has not."""
    append_messages(log, ["ana", "ben", "cem", "dee"])
    first, second = subscribe(log, lanes=2)
    settle(log, first, checkpoint=4)
    settle(log, second, checkpoint=1)

    assert status.subscription("crm").checkpoint == 1


def test_the_age_is_that_of_the_first_event_behind(log: EventLog, status: Status) -> None:
    """Neither what is settled nor what came later counts."""
    append(log, *(make_entry(received_at=NOON + timedelta(seconds=at)) for at in (0, 20, 50)))
    [lane] = subscribe(log)
    settle(log, lane, checkpoint=1)

    assert status.subscription("crm").lag_seconds == 40.0


def test_the_age_is_not_that_of_what_is_for_replays_alone(log: EventLog, status: Status) -> None:
    """What was found in an old notification does not make a subscription look late by its age."""
    fill(log, 1)
    reparse(log)
    append(log, make_entry(received_at=NOON + timedelta(seconds=50)))
    [lane] = subscribe(log)
    settle(log, lane, checkpoint=1)

    crm = status.subscription("crm")

    assert (crm.lag, crm.lag_seconds) == (2, 10.0)


def test_a_clock_that_was_put_back_gives_no_negative_age(log: EventLog, status: Status) -> None:
    """An event from the future is as old as one of now."""
    append(log, make_entry(received_at=NOON + timedelta(days=1)))
    subscribe(log)

    assert status.subscription("crm").lag_seconds == 0.0


def test_others_and_replays_do_not_hold_a_checkpoint(log: EventLog, status: Status) -> None:
    """A subscription has come as far as its own live lanes have."""
    append_messages(log, ["ana", "ben"])
    [lane] = subscribe(log)
    subscribe(log, "mail")
    settle(log, lane, checkpoint=2)
    start_replay(log)
    ReplayRuns(log.store).take_up(["crm"])

    assert status.subscription("crm").checkpoint == 2


def test_failures_are_counted_by_what_comes_of_them(log: EventLog, status: Status) -> None:
    """Waiting deliveries, waiting subjects and dead letters are three counts."""
    append_messages(log, ["ana", "ben", "cem"])
    subscribe(log)
    park(log, 1, next_at=1, is_blocking=True)
    park(log, 2, next_at=1)
    park(log, 3, error="ValueError: the last", started_at=1_800_000_000_000_000)

    crm = status.subscription("crm")

    assert (crm.retrying, crm.blocked, crm.dead) == (2, 1, 1)
    assert crm.last_error == "ValueError: the last"


def test_failures_of_others_and_of_replays_are_not_counted(log: EventLog, status: Status) -> None:
    """A subscription answers for its own live delivery."""
    append_messages(log, ["ana"])
    subscribe(log)
    subscribe(log, "mail")
    park(log, 1, name="mail")
    park(log, 1, run=7)

    crm = status.subscription("crm")

    assert (crm.retrying, crm.blocked, crm.dead, crm.last_error) == (0, 0, 0, None)


def test_an_unknown_subscription_is_told_with_a_guess(log: EventLog, status: Status) -> None:
    """Whoever mistypes a name learns what was perhaps meant."""
    subscribe(log)

    with pytest.raises(UnknownName, match="'crn' is unknown: did you mean crm"):
        status.subscription("crn")


def test_subscriptions_are_listed_in_pages(log: EventLog, status: Status) -> None:
    """A page goes on behind the name where the one before it ended."""
    for name in ("mail", "crm", "audit"):
        subscribe(log, name)

    assert [one.name for one in status.subscriptions(limit=2)] == ["audit", "crm"]
    assert [one.name for one in status.subscriptions(limit=2, after="crm")] == ["mail"]


def test_workers_are_told_with_what_they_own(
    log: EventLog, status: Status, clock: StillClock
) -> None:
    """A worker is alive until the time of a lease has passed without a word of it."""
    owner = Roster(log.store, pid=4711)
    owner.enrol(["crm", "audit"])
    subscribe(log)
    with log.store.writing() as connection:
        connection.execute(log.store.tables.lane.update().values(owner=owner.worker))

    [worker] = status.workers()
    assert (worker.id, worker.pid, worker.lanes, worker.is_alive) == (owner.worker, 4711, 1, True)
    assert [str(one) for one in worker.owned] == ["crm: 1"]
    assert as_micros(worker.seen_at) == int(clock.now * 1_000_000)

    clock.now += LEASE_MICROS / 1_000_000 + 1
    assert [one.is_alive for one in status.workers()] == [False]
    assert status.workers(after=owner.worker) == []


def test_the_details_say_more_than_the_list(log: EventLog, status: Status) -> None:
    """Why it is in its state, and how many lanes it has, stand behind the agreed fields."""
    subscribe(log, lanes=3)
    with log.store.writing() as connection:
        paused = log.store.tables.subscription.update()
        connection.execute(paused.values(state="paused", state_reason="a deploy"))

    crm = status.subscription("crm")

    assert (crm.state, crm.state_reason, crm.lanes) == ("paused", "a deploy", 3)
    assert list(crm.as_details()) == [*crm.as_dict(), "state_reason", "lanes"]
