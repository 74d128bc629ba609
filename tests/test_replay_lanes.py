"""Tests of `router.replay_lanes`: what failed in a replay is seen to after its end, too."""

import pytest
from sqlalchemy import delete, select, update

from router.errors import RouterError
from router.intents import DISCARD, REDRIVE, Intents
from router.lanes import Lanes
from router.log import EventLog
from router.replay import Replays
from router.replay_runs import ReplayRuns
from tests.asking import ask, free_lanes, states
from tests.entries import append_messages
from tests.histories import end_replay, park, start_replay, subscribe
from tests.records import read_blocked, read_lanes


@pytest.fixture
def intents(log: EventLog) -> Intents:
    """What asks for it, on a log of four messages."""
    append_messages(log, ["ana", "leo"] * 2)
    return Intents(log.store)


def test_a_replay_that_is_done_gets_its_lanes_back(log: EventLog, intents: Intents) -> None:
    """For its redriven dead letter alone: it is at its end, and one fewer has failed."""
    subscribe(log)
    replay = start_replay(log)
    end_replay(log, failed=2)
    park(log, 1, run=replay.id)

    intent = ask(intents, log.store, REDRIVE, run=replay.id)

    assert intent.is_carried_out
    assert states(log.store, run=replay.id) == {1: "retry"}
    [row] = read_lanes(log.store, run=replay.id)
    assert (row.checkpoint, row.owner) == (replay.end - 1, None)
    assert row.epoch > 1  # that of any owner it had
    found = Replays(log).find(replay.id)
    assert (found.state, found.failed) == ("running", 1)


def test_discarding_leaves_a_replay_ended(log: EventLog, intents: Intents) -> None:
    """There is nothing to run for it."""
    subscribe(log)
    replay = start_replay(log)
    end_replay(log, failed=1)
    park(log, 1, run=replay.id)

    assert ask(intents, log.store, DISCARD, run=replay.id).is_carried_out

    assert states(log.store, run=replay.id) == {}
    assert Replays(log).find(replay.id).state == "done"


def test_a_replay_that_was_cancelled_takes_nothing_up(log: EventLog, intents: Intents) -> None:
    """The command fails, says so, and changes nothing."""
    subscribe(log)
    replay = start_replay(log)
    end_replay(log, failed=1)
    park(log, 1, run=replay.id)
    table = log.store.tables.replay
    with log.store.writing() as connection:
        connection.execute(update(table).values(state="cancelled"))

    with pytest.raises(RouterError, match="is cancelled: start another one"):
        ask(intents, log.store, REDRIVE, run=replay.id)

    with log.store.reading() as connection:
        assert connection.scalars(select(log.store.tables.parked.c.intent)).all() == [None]


def test_a_lane_that_has_come_to_its_end_is_missed_by_nobody(
    log: EventLog, intents: Intents
) -> None:
    """While another one still runs, what failed in it is discarded at once, or gets it back."""
    first, _ = subscribe(log, lanes=2)
    replay = start_replay(log)
    ReplayRuns(log.store).take_up(["crm"])
    lane = log.store.tables.lane
    with log.store.writing() as connection:
        of_replay = lane.c.run == replay.id
        connection.execute(delete(lane).where(of_replay, lane.c.first_shard == first.first_shard))
    for position in (1, 3):
        park(log, position, run=replay.id)

    assert ask(intents, log.store, DISCARD, 1, run=replay.id).is_carried_out
    free_lanes(log.store, owner="other", expires_at=2**62)
    assert ask(intents, log.store, REDRIVE, 3, run=replay.id).is_carried_out

    assert states(log.store, run=replay.id) == {3: "retry"}
    back, other = read_lanes(log.store, run=replay.id)
    assert (back.owner, back.checkpoint) == (None, replay.end - 1)
    assert (other.owner, other.checkpoint, other.epoch) == ("other", 0, 1)


def test_what_a_cancelled_replay_leaves_goes_with_its_last_lane(
    log: EventLog, intents: Intents
) -> None:
    """Even where that one has come to its end, while another was given back with retries."""
    subscribe(log, lanes=2)
    replay, owner, runs = start_replay(log), Lanes(log.store, worker="w"), ReplayRuns(log.store)
    runs.take_up(["crm"])
    first, last = owner.claim(["crm"])
    park(log, 1, run=replay.id, next_at=0, is_blocking=True)
    park(log, 2, run=replay.id)
    Replays(log).cancel(replay.id, actor="ana")
    owner.release(first)
    runs.take_up(["crm"])
    assert states(log.store, run=replay.id) == {1: "retry", 2: "dead"}

    with owner.owning(last, checkpoint=4, done=[]) as connection:
        owner.remove(last, connection)
        runs.finish(connection, last)

    assert states(log.store, run=replay.id) == {2: "dead"}
    assert read_blocked(log.store, run=replay.id) == {}
    assert Replays(log).find(replay.id).state == "cancelled"
