"""Tests of `router.roster`: who works, for which subscriptions, and what state these are in."""

import json
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from sqlalchemy import select

from router.events import SHARDS
from router.lane import LEASE_MICROS
from router.lanes import Lanes
from router.log import EventLog
from router.options import Options
from router.roster import FORGOTTEN_MICROS, Roster
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
    workers_of,
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


def test_a_subscription_is_born_at_the_end_of_the_log(store: Store, roster: Roster) -> None:
    """With start "now" it gets what comes after the newest event there is."""
    append_messages(EventLog(store), "abc")
    roster.declare("crm", {}, Options(start="now", lanes=1))
    assert subscription_of(store, "crm")["start_position"] == 3
    assert lanes_of(store) == [(0, SHARDS - 1, 3, "[]")]


def test_a_subscription_is_born_at_the_beginning(store: Store, roster: Roster) -> None:
    """With start "beginning" it gets everything that is in the log."""
    append_messages(EventLog(store), "abc")
    roster.declare("crm", {}, EVERYTHING)
    assert subscription_of(store, "crm")["start_position"] == 0
    assert lanes_of(store) == [(0, SHARDS - 1, 0, "[]")]


def test_a_subscription_is_on_record_with_what_its_plugin_wants(
    store: Store, roster: Roster
) -> None:
    """The types with their policies and the options can be read without the plugin."""
    roster.declare("crm", {"message": "skip", "read": "allow"}, Options(timeout=5))
    row = subscription_of(store, "crm")
    assert row["state"] == "active"
    assert row["created_at"] == store.now()
    assert json.loads(str(row["types"])) == {"message": "skip", "read": "allow"}
    assert msgspec.json.decode(str(row["options"]), type=Options).timeout == 5


def test_a_subscription_is_born_once(store: Store, roster: Roster) -> None:
    """Later starts note what the plugin wants by now, but leave start, lanes and state alone."""
    roster.declare("crm", {"message": "skip"}, Options(start="now", lanes=2))
    set_state(store, "crm", "paused")
    before = subscription_of(store, "crm")
    append_messages(EventLog(store), "abc")
    changed = Options(start="beginning", lanes=4, concurrency=5)
    roster.declare("crm", {"message": "allow"}, changed)
    row = subscription_of(store, "crm")
    assert json.loads(str(row["types"])) == {"message": "allow"}
    assert msgspec.json.decode(str(row["options"]), type=Options) == changed
    assert {**row, "types": "", "options": ""} == {**before, "types": "", "options": ""}
    assert [first for first, *_ in lanes_of(store)] == [0, 512]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 1000, SHARDS])
def test_lanes_tile_the_shards(store: Store, roster: Roster, count: int) -> None:
    """However many lanes there are, each shard is in exactly one, and their sizes differ by one."""
    roster.declare("crm", {}, Options(lanes=count))
    covered = [range(first, last + 1) for first, last, *_ in lanes_of(store)]
    assert [shard for one in covered for shard in one] == list(range(SHARDS))
    assert len(covered) == count
    assert max(map(len, covered)) - min(map(len, covered)) <= 1


def test_leaving_gives_all_back(store: Store, roster: Roster, lanes: Lanes) -> None:
    """After a clean stop the lanes are free and the worker is off the record; others stay."""
    roster.declare("crm", {}, Options(lanes=3))
    roster.declare("audit", {}, EVERYTHING)
    other = make_owner(store)
    (audit,) = other.claim(["audit"])
    assert len(lanes.claim(["crm"])) == 2  # its share
    roster.leave()
    assert workers_of(store) == {other.worker}
    assert owner_of(store, audit) == (other.worker, 1, 0)
    assert len(other.claim(["crm"])) == 3


def test_a_subscription_is_born_once_however_many_start(store: Store) -> None:
    """Workers that start at the same moment bring each subscription into being together."""
    workers = [make_worker(store) for _ in range(4)]
    with ThreadPoolExecutor(len(workers)) as threads:
        list(threads.map(lambda one: one.declare("crm", {}, Options(lanes=3)), workers))
    assert len(lanes_of(store)) == 3


def test_a_worker_is_on_record_while_it_lives(store: Store) -> None:
    """Each process is written down with its number and host."""
    roster = Roster(store, pid=4711)
    roster.enrol(["crm", "audit"])
    with store.reading() as connection:
        row = connection.execute(select(store.tables.worker)).one()
    assert (row.id, row.pid, row.started_at) == (roster.worker, 4711, store.now())
    assert row.host


def test_a_worker_that_was_not_seen_for_a_day_is_struck_off(
    store: Store, clock: StillClock
) -> None:
    """What processes that died leave behind does not grow for ever."""
    gone = make_worker(store)
    clock.now += FORGOTTEN_MICROS / 2_000_000
    quiet = make_worker(store)
    clock.now += FORGOTTEN_MICROS / 2_000_000 + 1
    new = make_worker(store)
    assert workers_of(store) == {quiet.worker, new.worker}
    assert gone.worker not in workers_of(store)


def state_of(store: Store, name: str = "crm") -> tuple[object, object]:
    """Return a subscription's state and the reason for it."""
    row = subscription_of(store, name)
    return row["state"], row["state_reason"]


def test_what_no_worker_offers_is_missing(store: Store, clock: StillClock) -> None:
    """As soon as a worker starts without it and none that lives has it; the others are not."""
    first = make_worker(store)
    first.declare("crm", {}, EVERYTHING)
    first.declare("audit", {}, EVERYTHING)
    clock.now += LEASE_MICROS / 1_000_000
    assert Roster(store, pid=2).enrol(["audit"]) == []
    clock.now += 0.000_001
    assert Roster(store, pid=3).enrol(["audit"]) == ["crm"]
    assert state_of(store)[0] == "missing"
    assert state_of(store)[1]
    assert state_of(store, "audit") == ("active", None)


@pytest.mark.parametrize("state", ["active", "failing", "missing"])
def test_a_plugin_that_is_back_is_active(store: Store, roster: Roster, state: str) -> None:
    """Whoever loads it starts from a clean slate."""
    roster.declare("crm", {}, EVERYTHING)
    set_state(store, "crm", state)
    make_worker(store).declare("crm", {}, EVERYTHING)
    assert state_of(store) == ("active", None)


def test_what_is_paused_is_neither_missing_nor_back(store: Store, roster: Roster) -> None:
    """What an operator wants stays, whoever comes and goes."""
    roster.declare("crm", {}, EVERYTHING)
    roster.leave()
    set_state(store, "crm", "paused")
    other = Roster(store, pid=2)
    assert other.enrol(["audit"]) == []
    other.declare("crm", {}, EVERYTHING)
    assert state_of(store)[0] == "paused"


def test_a_breaker_is_told_from_an_order(store: Store, roster: Roster) -> None:
    """It turns `active` into `failing` and back, with a reason, and no other state."""
    roster.declare("crm", {}, EVERYTHING)
    roster.note_breaker("crm", is_open=True)
    assert roster.states(["crm", "unknown"]) == {"crm": ("failing", state_of(store)[1])}
    assert state_of(store)[1]
    roster.note_breaker("crm", is_open=False)
    assert roster.states(["crm"]) == {"crm": ("active", "")}
    for state in ("paused", "missing"):
        set_state(store, "crm", state)
        for is_open in (True, False):
            roster.note_breaker("crm", is_open=is_open)
        assert roster.states(["crm"])["crm"][0] == state
