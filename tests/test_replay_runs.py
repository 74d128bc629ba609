"""Tests of `router.replay_runs`: replays are taken up, halted, and brought to their end."""

import pytest

from router.errors import UnknownName
from router.lane import Lane
from router.lanes import Lanes
from router.log import EventLog
from router.replay import Replays
from router.replay_record import Replay
from router.replay_runs import ReplayRuns
from router.store import Store
from tests.asking import states
from tests.clocks import StillClock
from tests.entries import append_messages
from tests.histories import park, start_replay, subscribe
from tests.owners import lanes_of
from tests.records import count_attempts, read_blocked, read_lanes


@pytest.fixture
def clock() -> StillClock:
    """The clock that leases go by."""
    return StillClock()


@pytest.fixture
def log(store: Store) -> EventLog:
    """A log of two messages, of different lanes of two, and a subscription with two lanes."""
    log = EventLog(store)
    append_messages(log, ["ana", "leo"])
    subscribe(log, lanes=2)
    return log


@pytest.fixture
def replays(log: EventLog) -> Replays:
    """Where replays are on record."""
    return Replays(log)


@pytest.fixture
def runs(log: EventLog) -> ReplayRuns:
    """What is tested."""
    return ReplayRuns(log.store)


def take_up(log: EventLog) -> list[Lane]:
    """Take up a new replay, and return its lanes, claimed."""
    start_replay(log)
    ReplayRuns(log.store).take_up(["crm"])
    return Lanes(log.store, worker="w").claim(["crm"])


def finish(log: EventLog, lane: Lane) -> None:
    """Do what the owner of a lane does at its end."""
    owner = Lanes(log.store, worker="w")
    with owner.owning(lane, checkpoint=2, done=[]) as connection:
        owner.remove(lane, connection)
        ReplayRuns(log.store).finish(connection, lane)


def test_a_replay_is_taken_up_once(log: EventLog, runs: ReplayRuns, replays: Replays) -> None:
    """It gets lanes of the same shards as live delivery, from its first position on, and runs."""
    start_replay(log, first=2)
    runs.take_up(["crm"])
    found = replays.find(1)
    assert lanes_of(log.store, run=1) == [(0, 511, 1, "[]"), (512, 1023, 1, "[]")]
    assert (found.state, found.started_at is None) == ("running", False)
    Lanes(log.store, worker="w").claim(["crm"])
    before = read_lanes(log.store, run=1)
    runs.take_up(["crm"])
    assert (read_lanes(log.store, run=1), replays.find(1)) == (before, found)


def test_only_what_is_asked_for_is_taken_up(
    log: EventLog, runs: ReplayRuns, replays: Replays
) -> None:
    """Replays of other subscriptions wait, and so do paused ones."""
    start_replay(log)
    start_replay(log)
    replays.pause(2, actor="ana")
    runs.take_up(["mail"])
    assert replays.find(1).state == "planned"
    runs.take_up(["mail", "crm"])
    assert (replays.find(1).state, replays.find(2).state) == ("running", "paused")
    assert read_lanes(log.store, run=2) == []


@pytest.mark.parametrize("change", ["pause", "cancel"])
def test_a_replay_that_must_not_go_on_is_found(
    log: EventLog, runs: ReplayRuns, replays: Replays, change: str
) -> None:
    """Of those asked for; one that is on record no more is among them."""
    take_up(log)
    take_up(log)
    assert runs.find_halted([]) == set()
    assert runs.find_halted([1, 2]) == set()
    getattr(replays, change)(2, actor="ana")
    assert runs.find_halted([1, 2, 9]) == {2, 9}
    assert runs.find_halted([1]) == set()


def test_a_replay_is_done_with_its_last_lane(log: EventLog, replays: Replays) -> None:
    """Not before."""
    first, second = take_up(log)
    finish(log, first)
    assert replays.find(1).state == "running"
    finish(log, second)
    found = replays.find(1)
    assert (found.state, found.finished_at is None) == ("done", False)


def test_a_replay_that_was_cancelled_stays_so(
    log: EventLog, runs: ReplayRuns, replays: Replays
) -> None:
    """Though its last call was under way then, and has ended since; neither does it fail."""
    lanes = take_up(log)
    replays.cancel(1, actor="ana")
    cancelled = replays.find(1)
    for lane in lanes:
        finish(log, lane)
    runs.fail(1, "the plugin has changed")
    assert replays.find(1) == cancelled


def test_a_replay_that_comes_to_its_end_while_paused_is_done(
    log: EventLog, replays: Replays
) -> None:
    """There is nothing left to be resumed."""
    lanes = take_up(log)
    replays.pause(1, actor="ana")
    for lane in lanes:
        finish(log, lane)
    assert replays.find(1).state == "done"


def test_a_replay_may_fail(log: EventLog, runs: ReplayRuns, replays: Replays) -> None:
    """It ends then, and says why."""
    take_up(log)
    runs.fail(1, "the plugin has changed")
    found: Replay = replays.find(1)
    assert (found.state, found.last_error) == ("failed", "the plugin has changed")
    assert found.finished_at is not None


@pytest.mark.parametrize("ending", ["cancelled", "failed"])
def test_what_a_dead_owner_left_is_cleared_away(
    log: EventLog, clock: StillClock, runs: ReplayRuns, replays: Replays, ending: str
) -> None:
    """Once its lease is over: lanes, retries, their attempts and what they block; no dead letter.

    What is of another run stays.
    """
    take_up(log)
    take_up(log)
    for run in (0, 1, 2):
        park(log, 1, run=run, next_at=1, is_blocking=True)
        park(log, 2, run=run)
    if ending == "cancelled":
        replays.cancel(1, actor="ana")
    else:
        runs.fail(1, "the plugin has changed")
    runs.take_up(["crm"])
    assert states(log.store, run=1) == {1: "retry", 2: "dead"}  # its owner may be alive
    clock.put_past_leases()
    runs.take_up(["crm"])
    assert read_lanes(log.store, run=1) == []
    assert states(log.store, run=1) == {2: "dead"}
    assert read_blocked(log.store, run=1) == {}
    assert [count_attempts(log.store, at, run=1) for at in (1, 2)] == [0, 1]
    assert replays.find(1).state == ending
    for run in (0, 2):
        assert states(log.store, run=run) == {1: "retry", 2: "dead"}
        assert read_blocked(log.store, run=run) == {":ana": 1}
        assert len(read_lanes(log.store, run=run)) == 2


def test_a_replay_on_record_no_more_is_not_found(runs: ReplayRuns) -> None:
    """Who has a lane of it learns that."""
    with pytest.raises(UnknownName, match="replay 7 is on record no more"):
        runs.find(7)
