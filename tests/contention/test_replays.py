"""Tests of what lanes of one replay share: of two that end at once neither forgets the other."""

from collections import Counter
from functools import partial

import pytest
from sqlalchemy import update

from router.intents import DISCARD, REDRIVE, Intents
from router.lane import Lane
from router.lanes import Lanes
from router.log import EventLog
from router.rebuild_record import RebuildRecord, Switched
from router.replay import Replays
from router.replay_counts import Count, add_counts
from router.replay_runs import ReplayRuns
from tests.asking import ask, carry_out, free_lanes, states
from tests.clocks import StillClock
from tests.contention.standstill import Standstill
from tests.entries import append_messages
from tests.histories import park, settle, start_replay, subscribe
from tests.records import read_lanes


@pytest.fixture
def live(log: EventLog) -> list[Lane]:
    """The two lanes of a subscription; of the two messages in the log, one is of each."""
    append_messages(log, ["ana", "leo"])
    return subscribe(log, lanes=2)


@pytest.fixture
def lanes(log: EventLog, live: list[Lane]) -> list[Lane]:
    """The two lanes of a replay, which "w" owns."""
    start_replay(log)
    ReplayRuns(log.store).take_up(["crm"])
    return Lanes(log.store, worker="w").claim(["crm"])


def finish(log: EventLog, lane: Lane) -> None:
    """Do what the owner of a lane does at its end."""
    owner = Lanes(log.store, worker="w")
    counts: Counter[Count] = Counter({("message", "done"): 1})
    with owner.owning(lane, checkpoint=2, done=[]) as connection:
        owner.remove(lane, connection)
        ReplayRuns(log.store).finish(connection, lane)
        add_counts(connection, counts, tables=log.store.tables, number=lane.run)


def count(log: EventLog, lane: Lane) -> None:
    """Count one event of a lane as done."""
    counts: Counter[Count] = Counter({("message", "done"): 1})
    with Lanes(log.store, worker="w").owning(lane, checkpoint=2, done=[]) as connection:
        add_counts(connection, counts, tables=log.store.tables, number=lane.run)


def test_two_last_lanes_end_a_replay(log: EventLog, other: EventLog, lanes: list[Lane]) -> None:
    """The second waits to see whether the first leaves anything."""
    came = Standstill(log.store, behind="count(*)").run(
        partial(finish, log, lanes[0]), partial(finish, other, lanes[1])
    )
    assert came == (None, None, True)
    found = Replays(log).find(1)
    assert (found.state, found.done) == ("done", 2)


def test_two_lanes_count_together(log: EventLog, other: EventLog, lanes: list[Lane]) -> None:
    """What both have done is in the counts."""
    came = Standstill(log.store, behind="SELECT replay.counts").run(
        partial(count, log, lanes[0]), partial(count, other, lanes[1])
    )
    assert came == (None, None, True)
    found = Replays(log).find(1)
    assert (found.done, found.by_type) == (2, {"message": {"done": 2}})


def test_two_owners_carry_out_an_intent(log: EventLog, other: EventLog, live: list[Lane]) -> None:
    """The second finds that nothing is left to do, and strikes it off."""
    intents = Intents(log.store)
    park(log, 1)
    park(log, 2)
    asked = ask(intents, log.store, DISCARD)
    came = Standstill(log.store, behind="SELECT EXISTS").run(
        partial(carry_out, intents, log, live[0], asked),
        partial(carry_out, Intents(other.store), other, live[1], asked),
    )
    assert ([len(came.first), len(came.second)], came.has_waited) == ([1, 1], True)
    assert intents.find(["crm"]) == []
    assert states(log.store) == {}


def end(log: EventLog, lane: Lane) -> bool:
    """Do what an owner does who finds that all of a lane is settled; whether it was struck off."""
    owner, runs = Lanes(log.store, worker="w"), ReplayRuns(log.store)
    with owner.owning(lane, checkpoint=2, done=[]) as connection:
        if Intents(log.store).carry_out_all(connection, lane):
            return False
        owner.remove(lane, connection)
        runs.finish(connection, lane)
        return True


def test_what_is_redriven_while_its_lane_ends_is_not_left_behind(
    log: EventLog, other: EventLog, lanes: list[Lane]
) -> None:
    """The owner sees to it before it strikes the lane off, and so the lane stays."""
    for position in (1, 2):
        park(log, position, run=1)
    finish(log, lanes[0])
    came = Standstill(log.store, behind="UPDATE lane").run(
        partial(end, log, lanes[1]),
        partial(ask, Intents(other.store), other.store, REDRIVE, run=1),
    )
    assert (came.first, came.has_waited) == (False, False)
    assert states(log.store, run=1) == {1: "retry", 2: "retry"}
    assert Replays(log).find(1).state == "running"
    assert len(read_lanes(log.store, run=1)) == 2
    assert Intents(log.store).find(["crm"]) == []


def test_nobody_claims_what_is_being_switched(
    log: EventLog, other: EventLog, lanes: list[Lane]
) -> None:
    """The lanes belong to the switch until the new tables are in place."""
    for lane in lanes:
        settle(log, lane, checkpoint=2)
    with log.store.writing() as connection:
        connection.execute(update(log.store.tables.replay).values(rebuilds="[]"))
    free_lanes(log.store)
    record = RebuildRecord(log.store, worker="w")
    came = Standstill(log.store, behind="FROM lane", nth=2).run(
        partial(record.switch, "crm", 1, goal=2),
        partial(Lanes(other.store, worker="other").claim, ["crm"]),
    )
    assert came == (Switched(2, 0), [], False)
    assert [(row.checkpoint, row.owner) for row in read_lanes(log.store)] == [(2, None)] * 2


def test_a_lane_that_is_written_to_is_not_struck_off(
    log: EventLog, other: EventLog, lanes: list[Lane], clock: StillClock
) -> None:
    """Of a cancelled replay: its owner lives, although the lease has expired."""
    Replays(log).cancel(1, actor="ana")
    clock.put_past_leases()
    came = Standstill(log.store, behind="UPDATE lane").run(
        partial(settle, log, lanes[0], checkpoint=2),
        partial(ReplayRuns(other.store).take_up, ["crm"]),
    )
    assert (came.first, came.has_waited) == (None, False)
    assert [row.checkpoint for row in read_lanes(log.store, run=1)] == [2]
    settle(log, lanes[0], checkpoint=2)  # does not raise
