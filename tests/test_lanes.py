"""Tests of `router.lanes`: who may run what, and how far it has come."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from sqlalchemy import insert, select, update

from router.events import SHARDS
from router.lanes import FORGOTTEN_MICROS, LEASE_MICROS, LIVE, Lane, Lanes, LeaseLost, tile
from router.log import EventLog
from router.options import Options
from router.store import Store
from tests.entries import append_messages

EVERYTHING = Options(start="beginning")


class Clock:
    """A clock that stands still until it is put forward.

    Attributes:
        now: Its time, in seconds since 1970.
    """

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def put_past_leases(self) -> None:
        """Put it forward by the smallest step after which a lease has expired."""
        self.now += (LEASE_MICROS + 1) / 1_000_000


@pytest.fixture
def clock() -> Clock:
    """The clock that the leases go by."""
    return Clock()


@pytest.fixture
def store(database: str, clock: Clock) -> Iterator[Store]:
    """A store that goes by ``clock``."""
    store = Store(database, clock=lambda: clock.now)
    yield store
    store.close()


@pytest.fixture
def lanes(store: Store) -> Lanes:
    """A worker's view of the lanes."""
    return make_worker(store)


def make_worker(store: Store) -> Lanes:
    """Return another worker that has enrolled."""
    lanes = Lanes(store, pid=1)
    lanes.enrol(["crm", "audit"])
    return lanes


def lanes_of(store: Store, run: int = LIVE) -> list[tuple[int, int, int, str]]:
    """Return first and last shard, checkpoint and done of all lanes of a run."""
    lane = store.tables.lane.c
    query = select(lane.first_shard, lane.last_shard, lane.checkpoint, lane.done)
    with store.reading() as connection:
        rows = connection.execute(query.where(lane.run == run).order_by(lane.first_shard))
        return [tuple(row) for row in rows]


def subscription_of(store: Store, name: str) -> dict[str, object]:
    """Return what is on record of a subscription."""
    table = store.tables.subscription
    with store.reading() as connection:
        return dict(connection.execute(select(table).where(table.c.name == name)).mappings().one())


def workers_of(store: Store) -> set[str]:
    """Return the ids of the workers on record."""
    with store.reading() as connection:
        return set(connection.scalars(select(store.tables.worker.c.id)))


def owner_of(store: Store, lane: Lane) -> tuple[str | None, int, int]:
    """Return a lane's owner, epoch and takeovers as they are on record."""
    table = store.tables.lane.c
    query = select(table.owner, table.epoch, table.takeovers).where(
        table.subscription == lane.subscription,
        table.run == lane.run,
        table.first_shard == lane.first_shard,
    )
    with store.reading() as connection:
        owner, epoch, takeovers = connection.execute(query).one()
    return owner, epoch, takeovers


def set_state(store: Store, name: str, state: str) -> None:
    """Change a subscription's state as a command would."""
    table = store.tables.subscription
    with store.writing() as connection:
        connection.execute(update(table).where(table.c.name == name).values(state=state))


def test_a_subscription_is_born_at_the_end_of_the_log(store: Store, lanes: Lanes) -> None:
    """With start "now" it gets what comes after the newest event there is."""
    append_messages(EventLog(store), "abc")
    lanes.declare("crm", {}, Options(start="now"))
    assert subscription_of(store, "crm")["start_position"] == 3
    assert lanes_of(store) == [(0, SHARDS - 1, 3, "[]")]


def test_a_subscription_is_born_at_the_beginning(store: Store, lanes: Lanes) -> None:
    """With start "beginning" it gets everything that is in the log."""
    append_messages(EventLog(store), "abc")
    lanes.declare("crm", {}, Options(start="beginning"))
    assert subscription_of(store, "crm")["start_position"] == 0
    assert lanes_of(store) == [(0, SHARDS - 1, 0, "[]")]


def test_a_subscription_is_on_record_with_what_its_plugin_wants(store: Store, lanes: Lanes) -> None:
    """The types with their policies and the options can be read without the plugin."""
    lanes.declare("crm", {"message": "skip", "read": "allow"}, Options(timeout=5))
    row = subscription_of(store, "crm")
    assert row["state"] == "active"
    assert row["created_at"] == store.now()
    assert json.loads(str(row["types"])) == {"message": "skip", "read": "allow"}
    assert msgspec.json.decode(str(row["options"]), type=Options).timeout == 5


def test_a_subscription_is_born_once(store: Store, lanes: Lanes) -> None:
    """Later starts note what the plugin wants by now, but leave start, lanes and state alone."""
    lanes.declare("crm", {"message": "skip"}, Options(start="now", lanes=2))
    set_state(store, "crm", "paused")
    before = subscription_of(store, "crm")
    append_messages(EventLog(store), "abc")
    changed = Options(start="beginning", lanes=4, concurrency=5)
    lanes.declare("crm", {"message": "allow"}, changed)
    row = subscription_of(store, "crm")
    assert json.loads(str(row["types"])) == {"message": "allow"}
    assert msgspec.json.decode(str(row["options"]), type=Options) == changed
    assert {**row, "types": "", "options": ""} == {**before, "types": "", "options": ""}
    assert [first for first, *_ in lanes_of(store)] == [0, 512]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 1000, SHARDS])
def test_lanes_tile_the_shards(store: Store, lanes: Lanes, count: int) -> None:
    """However many lanes there are, each shard is in exactly one, and their sizes differ by one."""
    lanes.declare("crm", {}, Options(lanes=count))
    covered = [range(first, last + 1) for first, last, *_ in lanes_of(store)]
    assert [shard for one in covered for shard in one] == list(range(SHARDS))
    assert len(covered) == count
    assert max(map(len, covered)) - min(map(len, covered)) <= 1


def test_a_free_lane_is_claimed(store: Store, lanes: Lanes) -> None:
    """A claim makes the worker the lane's owner, in an epoch of its own."""
    lanes.declare("crm", {}, EVERYTHING)
    (lane,) = lanes.claim(["crm"])
    assert lane.key == ("crm", LIVE, 0, 1)
    assert (lane.checkpoint, lane.done) == (0, [])
    assert owner_of(store, lane) == (lanes.worker, 1, 0)


def test_a_lane_knows_whether_it_holds_all_shards(lanes: Lanes) -> None:
    """A lane of all shards asks for none in particular, so that its query needs no condition."""
    lanes.declare("whole", {}, Options(lanes=1))
    lanes.declare("halves", {}, Options(lanes=2))
    (whole,) = lanes.claim(["whole"])
    assert whole.shards is None
    assert [half.shards for half in lanes.claim(["halves"])] == [(0, 511), (512, 1023)]


def test_what_is_owned_is_not_claimed(store: Store, lanes: Lanes) -> None:
    """As long as a lease lasts nobody else gets the lane, nor its owner a second time."""
    lanes.declare("crm", {}, EVERYTHING)
    lanes.claim(["crm"])
    assert make_worker(store).claim(["crm"]) == []
    assert lanes.claim(["crm"]) == []


def test_only_subscriptions_asked_for_are_claimed(lanes: Lanes) -> None:
    """A worker leaves the lanes of plugins that it has not loaded to others."""
    lanes.declare("crm", {}, EVERYTHING)
    lanes.declare("audit", {}, EVERYTHING)
    assert [lane.subscription for lane in lanes.claim(["audit", "unknown"])] == ["audit"]


def test_a_paused_subscription_is_not_claimed(store: Store, lanes: Lanes) -> None:
    """The lanes of a subscription that is not active stay free until it is again."""
    lanes.declare("crm", {}, EVERYTHING)
    set_state(store, "crm", "paused")
    assert lanes.claim(["crm"]) == []
    set_state(store, "crm", "active")
    assert len(lanes.claim(["crm"])) == 1


def test_a_lease_lasts_until_its_very_end(store: Store, lanes: Lanes, clock: Clock) -> None:
    """In the microsecond in which a lease ends its lane is still taken, in the next it is free."""
    lanes.declare("crm", {}, EVERYTHING)
    lanes.claim(["crm"])
    other = make_worker(store)
    clock.now += LEASE_MICROS / 1_000_000
    assert other.claim(["crm"]) == []
    clock.now += 0.000_001
    assert len(other.claim(["crm"])) == 1


def test_taking_over_an_expired_lease_is_counted(store: Store, lanes: Lanes, clock: Clock) -> None:
    """A takeover is told from a lane that was given back, and begins a new epoch."""
    lanes.declare("crm", {}, EVERYTHING)
    lanes.claim(["crm"])
    other = make_worker(store)
    clock.put_past_leases()
    (lane,) = other.claim(["crm"])
    assert owner_of(store, lane) == (other.worker, 2, 1)
    clock.put_past_leases()
    (lane,) = lanes.claim(["crm"])
    assert owner_of(store, lane) == (lanes.worker, 3, 2)


def test_a_lane_goes_on_where_it_was(store: Store, lanes: Lanes, clock: Clock) -> None:
    """The next owner gets the checkpoint and the settled ranges that the former one wrote down."""
    lanes.declare("crm", {}, EVERYTHING)
    (lane,) = lanes.claim(["crm"])
    with lanes.owning(lane, checkpoint=7, done=[(9, 12), (14, 14)]):
        pass
    clock.put_past_leases()
    (later,) = make_worker(store).claim(["crm"])
    assert (later.checkpoint, later.done) == (7, [(9, 12), (14, 14)])


def test_renewing_prolongs_a_lease(store: Store, lanes: Lanes, clock: Clock) -> None:
    """A lease that is renewed in time never ends."""
    lanes.declare("crm", {}, EVERYTHING)
    (lane,) = lanes.claim(["crm"])
    other = make_worker(store)
    for _ in range(4):
        clock.now += LEASE_MICROS / 1_000_000
        assert lanes.renew() == {lane.key}
        assert other.claim(["crm"]) == []


def test_renewing_tells_which_lanes_were_lost(store: Store, lanes: Lanes, clock: Clock) -> None:
    """What a worker still holds is told by epoch: a lane that came back is another right."""
    lanes.declare("crm", {}, EVERYTHING)
    lanes.declare("audit", {}, EVERYTHING)
    audit, crm = lanes.claim(["crm", "audit"])
    other = make_worker(store)
    clock.put_past_leases()
    (taken,) = other.claim(["crm"])
    assert lanes.renew() == {audit.key}
    other.release(taken)
    (again,) = lanes.claim(["crm"])
    assert lanes.renew() == {audit.key, again.key}
    assert crm.key != again.key


def test_renewing_shows_that_the_worker_lives(store: Store, lanes: Lanes, clock: Clock) -> None:
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


def test_the_owner_writes_with_its_progress(store: Store, lanes: Lanes) -> None:
    """What an owner writes and how far its lane has come are one transaction."""
    lanes.declare("crm", {}, EVERYTHING)
    (lane,) = lanes.claim(["crm"])
    pause_as_owner(lanes, lane, checkpoint=3)
    assert lanes_of(store) == [(0, SHARDS - 1, 3, "[[5,6]]")]
    assert subscription_of(store, "crm")["state"] == "paused"


def test_nothing_is_written_when_the_owner_fails(store: Store, lanes: Lanes) -> None:
    """An error within an owner's transaction takes its progress back, too."""
    lanes.declare("crm", {}, EVERYTHING)
    (lane,) = lanes.claim(["crm"])
    with pytest.raises(RuntimeError, match="broken"):
        pause_as_owner(lanes, lane, checkpoint=3, failing="broken")
    assert lanes_of(store) == [(0, SHARDS - 1, 0, "[]")]
    assert subscription_of(store, "crm")["state"] == "active"


def test_a_former_owner_writes_nothing(store: Store, lanes: Lanes, clock: Clock) -> None:
    """Once another worker has the lane, the former owner is stopped before it writes anything."""
    lanes.declare("crm", {}, EVERYTHING)
    (mine,) = lanes.claim(["crm"])
    clock.put_past_leases()
    make_worker(store).claim(["crm"])
    with pytest.raises(LeaseLost, match=r"crm .* has another owner"):
        pause_as_owner(lanes, mine, checkpoint=3)
    assert lanes_of(store) == [(0, SHARDS - 1, 0, "[]")]
    assert subscription_of(store, "crm")["state"] == "active"


def test_progress_forgives_takeovers(store: Store, lanes: Lanes, clock: Clock) -> None:
    """Takeovers are counted as long as no owner gets anything done."""
    lanes.declare("crm", {}, EVERYTHING)
    lanes.claim(["crm"])
    clock.put_past_leases()
    (lane,) = lanes.claim(["crm"])
    assert owner_of(store, lane) == (lanes.worker, 2, 1)
    with lanes.owning(lane, checkpoint=1, done=[]):
        pass
    assert owner_of(store, lane) == (lanes.worker, 2, 0)


def test_a_released_lane_is_free_at_once(store: Store, lanes: Lanes) -> None:
    """A lane that was given back waits for no lease to expire, and counts as no takeover."""
    lanes.declare("crm", {}, EVERYTHING)
    (lane,) = lanes.claim(["crm"])
    lanes.release(lane)
    other = make_worker(store)
    (lane,) = other.claim(["crm"])
    assert owner_of(store, lane) == (other.worker, 2, 0)


def test_a_former_owner_cannot_release(store: Store, lanes: Lanes, clock: Clock) -> None:
    """Who has lost a lane cannot give it back for its new owner."""
    lanes.declare("crm", {}, EVERYTHING)
    (lost,) = lanes.claim(["crm"])
    clock.put_past_leases()
    other = make_worker(store)
    (lane,) = other.claim(["crm"])
    lanes.release(lost)
    assert owner_of(store, lane) == (other.worker, 2, 1)


def test_leaving_gives_all_back(store: Store, lanes: Lanes) -> None:
    """After a clean stop the lanes are free and the worker is off the record; others stay."""
    lanes.declare("crm", {}, Options(lanes=3))
    lanes.declare("audit", {}, EVERYTHING)
    other = make_worker(store)
    (audit,) = other.claim(["audit"])
    assert len(lanes.claim(["crm"])) == 3
    lanes.leave()
    assert workers_of(store) == {other.worker}
    assert owner_of(store, audit) == (other.worker, 1, 0)
    assert len(other.claim(["crm"])) == 3


def test_a_replay_goes_to_the_owner_of_the_live_lane(store: Store, lanes: Lanes) -> None:
    """Only who delivers a subject live may replay it, so that no two calls are about it at once."""
    lanes.declare("crm", {}, EVERYTHING)
    (live,) = lanes.claim(["crm"])
    with store.writing() as connection:
        tile(connection, store, "crm", run=9, after=4, lanes=1)
    assert make_worker(store).claim(["crm"]) == []
    (lane,) = lanes.claim(["crm"])
    assert (lane.run, lane.checkpoint, lane.range) == (9, 4, live.range)


def test_a_replay_is_claimed_lane_by_lane(store: Store, lanes: Lanes) -> None:
    """Of a replay's lanes each worker gets those whose live lane it owns."""
    lanes.declare("crm", {}, Options(lanes=2))
    low, high = lanes.claim(["crm"])
    lanes.release(low)
    other = make_worker(store)
    (low,) = other.claim(["crm"])
    with store.writing() as connection:
        tile(connection, store, "crm", run=9, after=0, lanes=2)
    assert [lane.range for lane in lanes.claim(["crm"])] == [high.range]
    assert [lane.range for lane in other.claim(["crm"])] == [low.range]


def test_a_finished_lane_is_struck_off(store: Store, lanes: Lanes) -> None:
    """Only the lane of that run goes; the live one stays."""
    lanes.declare("crm", {}, EVERYTHING)
    lanes.claim(["crm"])
    with store.writing() as connection:
        tile(connection, store, "crm", run=9, after=0, lanes=1)
    (replay,) = lanes.claim(["crm"])
    with store.writing() as connection:
        lanes.remove(replay, connection)
    assert lanes_of(store, run=9) == []
    assert len(lanes_of(store)) == 1


def test_workers_that_claim_at_once_share_no_lane(store: Store, lanes: Lanes) -> None:
    """However many workers look at the same moment, each lane has one owner."""
    lanes.declare("crm", {}, Options(lanes=64))
    workers = [lanes, *(make_worker(store) for _ in range(5))]
    with ThreadPoolExecutor(len(workers)) as threads:
        claims = list(threads.map(lambda one: one.claim(["crm"]), workers))
    claimed = [lane.first_shard for found in claims for lane in found]
    assert len(claimed) == len(set(claimed)) == 64


def test_a_subscription_is_born_once_however_many_start(store: Store) -> None:
    """Workers that start at the same moment bring each subscription into being together."""
    workers = [make_worker(store) for _ in range(4)]
    with ThreadPoolExecutor(len(workers)) as threads:
        list(threads.map(lambda one: one.declare("crm", {}, Options(lanes=3)), workers))
    assert len(lanes_of(store)) == 3


def test_a_worker_is_on_record_while_it_lives(store: Store) -> None:
    """Each process is written down with its number and host."""
    lanes = Lanes(store, pid=4711)
    lanes.enrol(["crm", "audit"])
    with store.reading() as connection:
        row = connection.execute(select(store.tables.worker)).one()
    assert (row.id, row.pid, row.started_at) == (lanes.worker, 4711, store.now())
    assert row.host


def test_a_lane_that_expired_while_its_subscription_was_paused_stays_free(
    store: Store, lanes: Lanes, clock: Clock
) -> None:
    """A pause holds for whoever comes next, too."""
    lanes.declare("crm", {}, EVERYTHING)
    lanes.claim(["crm"])
    set_state(store, "crm", "paused")
    clock.put_past_leases()
    assert make_worker(store).claim(["crm"]) == []


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


def test_a_worker_does_not_take_over_from_itself(store: Store, lanes: Lanes, clock: Clock) -> None:
    """A lane that the worker runs stays its own when its lease was not renewed in time."""
    lanes.declare("crm", {}, EVERYTHING)
    (lane,) = lanes.claim(["crm"])
    clock.put_past_leases()
    assert lanes.claim(["crm"], held={lane.key}) == []
    assert lanes.renew({lane.key}) == {lane.key}
    assert owner_of(store, lane) == (lanes.worker, 1, 0)


def test_a_lane_that_is_not_run_is_left_to_expire(store: Store, lanes: Lanes, clock: Clock) -> None:
    """What a worker owns on record and does not run is renewed by nobody."""
    lanes.declare("crm", {}, EVERYTHING)
    lanes.declare("audit", {}, EVERYTHING)
    audit, _crm = lanes.claim(["crm", "audit"])
    for _ in range(2):
        clock.now += LEASE_MICROS / 2_000_000
        assert lanes.renew({audit.key}) == {audit.key}
    clock.now += 0.000_001
    assert [lane.subscription for lane in make_worker(store).claim(["crm", "audit"])] == ["crm"]


def test_a_worker_that_was_not_seen_for_a_day_is_struck_off(store: Store, clock: Clock) -> None:
    """What processes that died leave behind does not grow for ever."""
    gone = make_worker(store)
    clock.now += FORGOTTEN_MICROS / 2_000_000
    quiet = make_worker(store)
    clock.now += FORGOTTEN_MICROS / 2_000_000 + 1
    new = make_worker(store)
    assert workers_of(store) == {quiet.worker, new.worker}
    assert gone.worker not in workers_of(store)
