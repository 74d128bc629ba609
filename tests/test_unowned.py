"""Tests of `router.unowned`: a lane that nobody owns is seen to by the command itself."""

import pytest

from router.intents import DISCARD, REDRIVE, SKIP, Intents
from router.lane import LeaseLost
from router.lanes import Lanes
from router.log import EventLog
from router.progress import dump_ranges
from tests.asking import ask, free_lanes, states
from tests.entries import append_messages
from tests.histories import park, settle, subscribe
from tests.records import read_lanes


@pytest.fixture
def intents(log: EventLog) -> Intents:
    """What sees to them, on a log of four messages; ana and leo are in different lanes of two."""
    append_messages(log, ["ana", "leo"] * 2)
    return Intents(log.store)


@pytest.mark.parametrize("was_silent", [False, True])
def test_a_lane_nobody_owns_is_seen_to_at_once(
    log: EventLog, intents: Intents, *, was_silent: bool
) -> None:
    """No intent is left, and what a former owner still writes changes nothing."""
    [lane] = subscribe(log)
    park(log, 1)
    free_lanes(log.store, **({"owner": "gone", "expires_at": 1} if was_silent else {}))

    intent = ask(intents, log.store, REDRIVE)

    assert intent.is_carried_out
    assert intents.find(["crm"]) == []
    assert states(log.store) == {1: "retry"}
    [row] = read_lanes(log.store)
    assert (row.owner, row.epoch, row.checkpoint) == (None, lane.epoch + 1, 0)
    with pytest.raises(LeaseLost):
        settle(log, lane, checkpoint=4)
    [again] = Lanes(log.store, worker="w").claim(["crm"])
    assert again.takeovers == was_silent  # a crash is counted once


def test_lanes_are_seen_to_one_by_one(log: EventLog, intents: Intents) -> None:
    """Where only some lanes are owned, those alone are left to their owners."""
    first, second = subscribe(log, lanes=2)
    Lanes(log.store, worker="w").release(first)
    park(log, 1)
    park(log, 2)

    intent = ask(intents, log.store, DISCARD)

    assert not intent.is_carried_out
    assert states(log.store) == {2: "dead"}
    settle(log, second, checkpoint=1)  # does not raise
    with pytest.raises(LeaseLost):
        settle(log, first, checkpoint=1)


def test_what_a_dead_owner_was_asked_is_done_with_the_next(log: EventLog, intents: Intents) -> None:
    """An intent whose owner fell silent is carried out when something else is asked, in order."""
    subscribe(log)
    park(log, 1)
    park(log, 2)
    ask(intents, log.store, DISCARD, 1)
    free_lanes(log.store, owner="gone", expires_at=1)

    ask(intents, log.store, REDRIVE, 2)

    assert states(log.store) == {2: "retry"}
    assert intents.find(["crm"]) == []


@pytest.mark.parametrize(
    ("checkpoint", "done", "after"),
    [
        (0, [(1, 1), (3, 4)], (2, "[[3,4]]")),
        (1, [(2, 4)], (2, "[[3,4]]")),
        (3, [(5, 5)], (3, "[[5,5]]")),
    ],
)
def test_a_skip_moves_a_lane_nobody_owns(
    log: EventLog,
    intents: Intents,
    checkpoint: int,
    done: list[tuple[int, int]],
    after: tuple[int, str],
) -> None:
    """Its checkpoint never goes back, and what is settled above it stays so."""
    subscribe(log)
    free_lanes(log.store, checkpoint=checkpoint, done=dump_ranges(done))

    intent = ask(intents, log.store, SKIP, skip_to=2)

    assert intent.is_carried_out
    [row] = read_lanes(log.store)
    assert (row.checkpoint, row.done) == after
