"""Tests of `router.lanes`: who may run what, and how far it has come."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import insert, select

from router.claims import LIVE
from router.events import SHARDS
from router.lane import LEASE_MICROS, Lane, LeaseLost
from router.lanes import Lanes
from router.log import EventLog
from router.options import Options
from router.replay_states import CANCELLED, FAILED, PAUSED, PLANNED, RUNNING
from router.roster import Roster, tile
from router.store import Store
from tests.clocks import StillClock
from tests.entries import append_messages
from tests.owners import (
    lanes_of,
    make_owner,
    make_worker,
    owner_of,
    set_state,
    subscription_of,
)

EVERYTHING = Options(start="beginning", lanes=1)


@pytest.fixture
def clock() -> StillClock:
    """The clock that the leases go by."""
    return StillClock()


@pytest.fixture
def roster(store: Store) -> Roster:
    """A worker that has enrolled."""
    return make_worker(store)


@pytest.fixture
def lanes(store: Store, roster: Roster) -> Lanes:
    """That worker's view of the lanes."""
    return Lanes(store, worker=roster.worker)


def test_a_free_lane_is_claimed(store: Store, roster: Roster, lanes: Lanes) -> None:
    """A claim makes the worker the lane's owner, in an epoch of its own."""
    roster.declare("crm", {}, EVERYTHING)
    (lane,) = lanes.claim(["crm"])
    assert lane.key == ("crm", LIVE, 0, 1)
    assert (lane.checkpoint, lane.done) == (0, [])
    assert owner_of(store, lane) == (lanes.worker, 1, 0)


def test_a_lane_knows_whether_it_holds_all_shards(roster: Roster, lanes: Lanes) -> None:
    """A lane of all shards asks for none in particular, so that its query needs no condition."""
    roster.declare("whole", {}, Options(lanes=1))
    roster.declare("halves", {}, Options(lanes=2))
    (whole,) = lanes.claim(["whole"])
    assert whole.shards is None
    assert [half.shards for half in lanes.claim(["halves"])] == [(0, 511), (512, 1023)]


def test_what_is_owned_is_not_claimed(store: Store, roster: Roster, lanes: Lanes) -> None:
    """As long as a lease lasts nobody else gets the lane, nor its owner a second time."""
    roster.declare("crm", {}, EVERYTHING)
    lanes.claim(["crm"])
    assert make_owner(store).claim(["crm"]) == []
    assert lanes.claim(["crm"]) == []


def test_only_subscriptions_asked_for_are_claimed(roster: Roster, lanes: Lanes) -> None:
    """A worker leaves the lanes of plugins that it has not loaded to others."""
    roster.declare("crm", {}, EVERYTHING)
    roster.declare("audit", {}, EVERYTHING)
    assert [lane.subscription for lane in lanes.claim(["audit", "unknown"])] == ["audit"]


def test_a_paused_subscription_is_not_claimed(store: Store, roster: Roster, lanes: Lanes) -> None:
    """The lanes of a subscription that is not active stay free until it is again."""
    roster.declare("crm", {}, EVERYTHING)
    set_state(store, "crm", "paused")
    assert lanes.claim(["crm"]) == []
    set_state(store, "crm", "active")
    assert len(lanes.claim(["crm"])) == 1


def test_a_lease_lasts_until_its_very_end(
    store: Store, roster: Roster, lanes: Lanes, clock: StillClock
) -> None:
    """In the microsecond in which a lease ends its lane is still taken, in the next it is free."""
    roster.declare("crm", {}, EVERYTHING)
    lanes.claim(["crm"])
    other = make_owner(store)
    clock.now += LEASE_MICROS / 1_000_000
    assert other.claim(["crm"]) == []
    clock.now += 0.000_001
    assert len(other.claim(["crm"])) == 1


def test_taking_over_an_expired_lease_is_counted(
    store: Store, roster: Roster, lanes: Lanes, clock: StillClock
) -> None:
    """A takeover is told from a lane that was given back, and begins a new epoch."""
    append_messages(EventLog(store), ["ana"])
    roster.declare("crm", {}, EVERYTHING)
    lanes.claim(["crm"])
    other = make_owner(store)
    clock.put_past_leases()
    (lane,) = other.claim(["crm"])
    assert owner_of(store, lane) == (other.worker, 2, 1)
    clock.put_past_leases()
    (lane,) = lanes.claim(["crm"])
    assert owner_of(store, lane) == (lanes.worker, 3, 2)


def test_who_had_settled_everything_did_not_fall_silent_over_an_event(
    store: Store, roster: Roster, lanes: Lanes, clock: StillClock
) -> None:
    """Takeovers of a lane at the head are not counted: nothing in it can have ended a process."""
    append_messages(EventLog(store), ["ana"])
    roster.declare("crm", {}, EVERYTHING)
    lanes.claim(["crm"])
    clock.put_past_leases()
    (lane,) = lanes.claim(["crm"])
    assert lane.takeovers == 1
    with lanes.owning(lane, checkpoint=1, done=[]):
        pass
    clock.put_past_leases()
    (lane,) = lanes.claim(["crm"])
    assert lane.takeovers == 0


def test_a_lane_goes_on_where_it_was(
    store: Store, roster: Roster, lanes: Lanes, clock: StillClock
) -> None:
    """The next owner gets the checkpoint and the settled ranges that the former one wrote down."""
    roster.declare("crm", {}, EVERYTHING)
    (lane,) = lanes.claim(["crm"])
    with lanes.owning(lane, checkpoint=7, done=[(9, 12), (14, 14)]):
        pass
    clock.put_past_leases()
    (later,) = make_owner(store).claim(["crm"])
    assert (later.checkpoint, later.done) == (7, [(9, 12), (14, 14)])


def test_renewing_prolongs_a_lease(
    store: Store, roster: Roster, lanes: Lanes, clock: StillClock
) -> None:
    """A lease that is renewed in time never ends."""
    roster.declare("crm", {}, EVERYTHING)
    (lane,) = lanes.claim(["crm"])
    other = make_owner(store)
    for _ in range(4):
        clock.now += LEASE_MICROS / 1_000_000
        assert lanes.renew() == {lane.key}
        assert other.claim(["crm"]) == []


def test_renewing_tells_which_lanes_were_lost(
    store: Store, roster: Roster, lanes: Lanes, clock: StillClock
) -> None:
    """What a worker still holds is told by epoch: a lane that came back is another right."""
    roster.declare("crm", {}, EVERYTHING)
    roster.declare("audit", {}, EVERYTHING)
    audit, crm = lanes.claim(["crm", "audit"])
    other = make_owner(store)
    clock.put_past_leases()
    (taken,) = other.claim(["crm"])
    assert lanes.renew() == {audit.key}
    other.release(taken)
    (again,) = lanes.claim(["crm"])
    assert lanes.renew() == {audit.key, again.key}
    assert crm.key != again.key


def test_renewing_shows_that_the_worker_lives(
    store: Store, lanes: Lanes, clock: StillClock
) -> None:
    """When a worker was last seen is on record."""
    clock.now += 3
    lanes.renew()
    table = store.tables.worker.c
    with store.reading() as connection:
        row = connection.execute(select(table.started_at, table.seen_at)).one()
    assert row.seen_at == store.now() == row.started_at + 3_000_000


def pause_as_owner(lanes: Lanes, lane: Lane, *, checkpoint: int, failing: str = "") -> None:
    """Change something in a transaction of the lane's owner, which may fail."""
    with lanes.owning(lane, checkpoint=checkpoint, done=[(5, 6)]) as connection:
        connection.exec_driver_sql("UPDATE subscription SET state = 'paused'")
        if failing:
            raise RuntimeError(failing)


def test_the_owner_writes_with_its_progress(store: Store, roster: Roster, lanes: Lanes) -> None:
    """What an owner writes and how far its lane has come are one transaction."""
    roster.declare("crm", {}, EVERYTHING)
    (lane,) = lanes.claim(["crm"])
    pause_as_owner(lanes, lane, checkpoint=3)
    assert lanes_of(store) == [(0, SHARDS - 1, 3, "[[5,6]]")]
    assert subscription_of(store, "crm")["state"] == "paused"


def test_nothing_is_written_when_the_owner_fails(
    store: Store, roster: Roster, lanes: Lanes
) -> None:
    """An error within an owner's transaction takes its progress back, too."""
    roster.declare("crm", {}, EVERYTHING)
    (lane,) = lanes.claim(["crm"])
    with pytest.raises(RuntimeError, match="broken"):
        pause_as_owner(lanes, lane, checkpoint=3, failing="broken")
    assert lanes_of(store) == [(0, SHARDS - 1, 0, "[]")]
    assert subscription_of(store, "crm")["state"] == "active"


def test_a_former_owner_writes_nothing(
    store: Store, roster: Roster, lanes: Lanes, clock: StillClock
) -> None:
    """Once another worker has the lane, the former owner is stopped before it writes anything."""
    roster.declare("crm", {}, EVERYTHING)
    (mine,) = lanes.claim(["crm"])
    clock.put_past_leases()
    make_owner(store).claim(["crm"])
    with pytest.raises(LeaseLost, match=r"crm .* has another owner"):
        pause_as_owner(lanes, mine, checkpoint=3)
    assert lanes_of(store) == [(0, SHARDS - 1, 0, "[]")]
    assert subscription_of(store, "crm")["state"] == "active"


def test_progress_forgives_takeovers(
    store: Store, roster: Roster, lanes: Lanes, clock: StillClock
) -> None:
    """Takeovers are counted as long as no owner gets anything done."""
    append_messages(EventLog(store), ["ana"])
    roster.declare("crm", {}, EVERYTHING)
    lanes.claim(["crm"])
    clock.put_past_leases()
    (lane,) = lanes.claim(["crm"])
    assert owner_of(store, lane) == (lanes.worker, 2, 1)
    with lanes.owning(lane, checkpoint=1, done=[]):
        pass
    assert owner_of(store, lane) == (lanes.worker, 2, 0)


def test_a_released_lane_is_free_at_once(store: Store, roster: Roster, lanes: Lanes) -> None:
    """A lane that was given back waits for no lease to expire, and counts as no takeover."""
    roster.declare("crm", {}, EVERYTHING)
    (lane,) = lanes.claim(["crm"])
    lanes.release(lane)
    other = make_owner(store)
    (lane,) = other.claim(["crm"])
    assert owner_of(store, lane) == (other.worker, 2, 0)


def test_a_former_owner_cannot_release(
    store: Store, roster: Roster, lanes: Lanes, clock: StillClock
) -> None:
    """Who has lost a lane cannot give it back for its new owner."""
    append_messages(EventLog(store), ["ana"])
    roster.declare("crm", {}, EVERYTHING)
    (lost,) = lanes.claim(["crm"])
    clock.put_past_leases()
    other = make_owner(store)
    (lane,) = other.claim(["crm"])
    lanes.release(lost)
    assert owner_of(store, lane) == (other.worker, 2, 1)


def replay(store: Store, *, after: int = 0, lanes: int = 1, state: str = RUNNING) -> None:
    """Write down a replay of "crm", number 9, with its lanes."""
    row = {"id": 9, "subscription": "crm", "state": state, "filter": "{}", "reason": ""}
    row |= {"from_position": after + 1, "to_position": 99, "include_effects": False}
    row |= {"created_by": "", "created_at": 0, "total": 0, "done": 0, "failed": 0}
    with store.writing() as connection:
        connection.execute(store.tables.replay.insert().values(row))
        tile(connection, store, "crm", run=9, after=after, lanes=lanes)


def test_a_replay_goes_to_the_owner_of_the_live_lane(
    store: Store, roster: Roster, lanes: Lanes
) -> None:
    """Only who delivers a subject live may replay it, so that no two calls are about it at once."""
    roster.declare("crm", {}, EVERYTHING)
    (live,) = lanes.claim(["crm"])
    replay(store, after=4)
    assert make_owner(store).claim(["crm"]) == []
    (lane,) = lanes.claim(["crm"])
    assert (lane.run, lane.checkpoint, lane.range) == (9, 4, live.range)


def test_a_replay_is_claimed_lane_by_lane(store: Store, roster: Roster, lanes: Lanes) -> None:
    """Of a replay's lanes each worker gets those whose live lane it owns."""
    roster.declare("crm", {}, Options(lanes=2))
    low, high = lanes.claim(["crm"])
    lanes.release(low)
    other = make_owner(store)
    (low,) = other.claim(["crm"])
    replay(store, lanes=2)
    assert [lane.range for lane in lanes.claim(["crm"])] == [high.range]
    assert [lane.range for lane in other.claim(["crm"])] == [low.range]


@pytest.mark.parametrize("state", [PLANNED, PAUSED, CANCELLED, FAILED])
def test_a_replay_is_claimed_while_it_runs(
    store: Store, roster: Roster, lanes: Lanes, state: str
) -> None:
    """Nobody gets the lanes of a replay in any other state."""
    roster.declare("crm", {}, EVERYTHING)
    lanes.claim(["crm"])
    replay(store, state=state)
    assert lanes.claim(["crm"]) == []


def test_a_finished_lane_is_struck_off(store: Store, roster: Roster, lanes: Lanes) -> None:
    """Only the lane of that run goes; the live one stays."""
    roster.declare("crm", {}, EVERYTHING)
    lanes.claim(["crm"])
    replay(store)
    (lane,) = lanes.claim(["crm"])
    with store.writing() as connection:
        lanes.remove(lane, connection)
    assert lanes_of(store, run=9) == []
    assert len(lanes_of(store)) == 1


def test_workers_that_claim_at_once_share_no_lane(
    store: Store, roster: Roster, lanes: Lanes
) -> None:
    """However many workers look at the same moment, each lane has one owner."""
    roster.declare("crm", {}, Options(lanes=64))
    workers = [lanes, *(make_owner(store) for _ in range(5))]
    claimed: list[int] = []
    with ThreadPoolExecutor(len(workers)) as threads:
        # One that finds all of them in the hands of others, who take some, looks again.
        for _ in workers:
            claims = threads.map(lambda one: one.claim(["crm"]), workers)
            claimed += [lane.first_shard for found in claims for lane in found]
    assert len(claimed) == len(set(claimed)) == 64


def test_a_lane_that_expired_while_its_subscription_was_paused_stays_free(
    store: Store, roster: Roster, lanes: Lanes, clock: StillClock
) -> None:
    """A pause holds for whoever comes next, too."""
    roster.declare("crm", {}, EVERYTHING)
    lanes.claim(["crm"])
    set_state(store, "crm", "paused")
    clock.put_past_leases()
    assert make_owner(store).claim(["crm"]) == []


def test_a_name_that_no_plugin_declared_has_nothing_to_claim(store: Store, lanes: Lanes) -> None:
    """Lanes without a subscription on record are nobody's."""
    with store.writing() as connection:
        connection.execute(
            insert(store.tables.lane).values(
                subscription="ghost",
                run=LIVE,
                first_shard=0,
                last_shard=SHARDS - 1,
                checkpoint=0,
                done="[]",
                epoch=0,
                takeovers=0,
            )
        )
    assert lanes.claim(["ghost"]) == []


def test_a_worker_does_not_take_over_from_itself(
    store: Store, roster: Roster, lanes: Lanes, clock: StillClock
) -> None:
    """A lane that the worker runs stays its own when its lease was not renewed in time."""
    roster.declare("crm", {}, EVERYTHING)
    (lane,) = lanes.claim(["crm"])
    clock.put_past_leases()
    assert lanes.claim(["crm"], held={lane.key}) == []
    assert lanes.renew({lane.key}) == {lane.key}
    assert owner_of(store, lane) == (lanes.worker, 1, 0)


def test_a_lane_that_is_not_run_is_left_to_expire(
    store: Store, roster: Roster, lanes: Lanes, clock: StillClock
) -> None:
    """What a worker owns on record and does not run is renewed by nobody."""
    roster.declare("crm", {}, EVERYTHING)
    roster.declare("audit", {}, EVERYTHING)
    audit, _crm = lanes.claim(["crm", "audit"])
    for _ in range(2):
        clock.now += LEASE_MICROS / 2_000_000
        assert lanes.renew({audit.key}) == {audit.key}
    clock.now += 0.000_001
    assert [lane.subscription for lane in make_owner(store).claim(["crm", "audit"])] == ["crm"]
