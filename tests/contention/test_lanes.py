"""Tests of `router.lanes` and what else takes lanes: of two who want one, one gets it."""

from functools import partial

import pytest

from router.control import Control
from router.errors import RouterError
from router.intents import SKIP, Intents
from router.lane import Lane, LeaseLost
from router.lanes import Lanes
from router.log import EventLog
from tests.asking import ask, free_lanes
from tests.clocks import StillClock
from tests.contention.standstill import Standstill
from tests.entries import append_messages
from tests.histories import settle, subscribe
from tests.records import read_lanes

FENCE = "UPDATE lane"  # the first statement of an owner, and what a claim writes


@pytest.fixture
def lanes(log: EventLog) -> list[Lane]:
    """The two lanes of a subscription, which "w" owns, and a log of two messages."""
    append_messages(log, ["ana", "leo"])
    return subscribe(log, lanes=2)


def claim(log: EventLog, worker: str = "other") -> list[Lane]:
    """Claim the lanes of crm."""
    return Lanes(log.store, worker=worker).claim(["crm"])


@pytest.mark.parametrize("nth", [1, 2])
def test_of_two_who_claim_one_gets_all(
    log: EventLog, other: EventLog, lanes: list[Lane], nth: int
) -> None:
    """The other one does not wait, and leaves what the first is about to take to it."""
    free_lanes(log.store)
    came = Standstill(log.store, behind=FENCE, nth=nth).run(
        partial(claim, log, "w"), partial(claim, other)
    )
    assert ([lane.range for lane in came.first], came.second) == (
        [lane.range for lane in lanes],
        [],
    )
    assert not came.has_waited
    assert {row.owner for row in read_lanes(log.store)} == {"w"}


def test_a_lane_that_is_written_to_is_not_taken_over(
    log: EventLog, other: EventLog, lanes: list[Lane], clock: StillClock
) -> None:
    """Its owner lives, although the lease has expired: it is about to be prolonged."""
    clock.put_past_leases()
    came = Standstill(log.store, behind=FENCE).run(
        partial(settle, log, lanes[0], checkpoint=1), partial(claim, other)
    )
    assert [lane.range for lane in came.second] == [lanes[1].range]
    assert (came.first, came.has_waited) == (None, False)
    assert claim(other) == []
    settle(log, lanes[0], checkpoint=2)  # does not raise


def test_who_is_taken_over_meanwhile_writes_nothing(
    log: EventLog, other: EventLog, lanes: list[Lane], clock: StillClock
) -> None:
    """A former owner that comes a moment too late waits for the new one, and finds out."""
    clock.put_past_leases()
    came = Standstill(log.store, behind=FENCE).run(
        partial(claim, log, "other"), partial(settle, other, lanes[0], checkpoint=2)
    )
    assert isinstance(came.second, LeaseLost)
    assert [(row.checkpoint, row.owner) for row in read_lanes(log.store)] == [(0, "other")] * 2


def test_renewing_waits_for_no_transaction_of_an_owner(
    log: EventLog, other: EventLog, lanes: list[Lane]
) -> None:
    """A handler may take its time: the other leases of its worker are prolonged meanwhile."""
    came = Standstill(log.store, behind=FENCE).run(
        partial(settle, log, lanes[0], checkpoint=1), Lanes(other.store, worker="w").renew
    )
    assert came == (None, {lane.key for lane in lanes}, False)


def test_a_lane_that_is_written_to_is_left_to_its_owner(
    log: EventLog, other: EventLog, lanes: list[Lane], clock: StillClock
) -> None:
    """A command neither waits for it nor takes it: the owner will see to what is asked."""
    clock.put_past_leases()
    came = Standstill(log.store, behind=FENCE).run(
        partial(settle, log, lanes[0], checkpoint=1),
        partial(ask, Intents(other.store), other.store, SKIP, skip_to=2),
    )
    assert (came.first, came.second.is_carried_out, came.has_waited) == (None, False, False)
    assert [row.checkpoint for row in read_lanes(log.store)] == [1, 2]
    settle(log, lanes[0], checkpoint=2)  # does not raise


def test_a_lane_that_is_being_claimed_is_left_to_its_owner(
    log: EventLog, other: EventLog, lanes: list[Lane]
) -> None:
    """A command does not shut out whoever has just become the owner."""
    free_lanes(log.store)
    came = Standstill(log.store, behind=FENCE, nth=len(lanes)).run(
        partial(claim, log, "w"),
        partial(ask, Intents(other.store), other.store, SKIP, skip_to=2),
    )
    assert (came.second.is_carried_out, came.has_waited) == (False, False)
    for lane in came.first:
        settle(log, lane, checkpoint=2)  # does not raise


def test_nobody_claims_what_is_being_renamed(
    log: EventLog, other: EventLog, lanes: list[Lane]
) -> None:
    """Who finds a subscription at rest has it for itself until it is done."""
    free_lanes(log.store)
    rename = partial(Control(log.store).rename, "crm", "sales", actor="ana")
    came = Standstill(log.store, behind="SELECT lane.first_shard").run(
        rename, partial(claim, other)
    )
    assert (came.second, came.has_waited) == ([], False)
    assert not isinstance(came.first, Exception)
    rows = read_lanes(log.store, "sales")
    assert [row.owner for row in rows] == [None] * len(lanes)


def test_what_is_being_claimed_is_not_at_rest(
    log: EventLog, other: EventLog, lanes: list[Lane]
) -> None:
    """A command that needs rest waits for the claim, and is refused."""
    free_lanes(log.store)
    rename = partial(Control(other.store).rename, "crm", "sales", actor="ana")
    came = Standstill(log.store, behind=FENCE).run(partial(claim, log, "w"), rename)
    assert came.has_waited
    assert isinstance(came.second, RouterError)
    assert len(read_lanes(log.store)) == len(lanes)
