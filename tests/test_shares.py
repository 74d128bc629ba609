"""Tests of `router.shares`: who has a plugin divides its lanes with whoever else has it."""

import pytest

from router.options import Options
from router.roster import Roster
from router.shares import count_left
from router.store import Store
from tests.clocks import StillClock
from tests.owners import make_owner


@pytest.fixture
def clock() -> StillClock:
    """A clock of our own, which the store goes by."""
    return StillClock()


def declare(store: Store, name: str = "crm", *, lanes: int) -> None:
    """Bring a subscription into being."""
    Roster(store, pid=1).declare(name, {}, Options(lanes=lanes))


def enrol(store: Store, *names: str) -> str:
    """Write down another worker with these plugins, and return its id."""
    roster = Roster(store, pid=1)
    roster.enrol(names)
    return roster.worker


def count(store: Store, worker: str, *names: str) -> dict[str, int]:
    """Return how many lanes of each of these subscriptions the worker may claim."""
    with store.reading() as connection:
        return dict(count_left(connection, store.tables, names, worker, now=store.now()))


@pytest.mark.parametrize(
    ("lanes", "workers", "share"), [(8, 1, 8), (8, 2, 4), (8, 3, 3), (7, 2, 4), (2, 5, 1)]
)
def test_shares_are_equal_and_rounded_up(
    store: Store, lanes: int, workers: int, share: int
) -> None:
    """Every lane finds an owner, whoever comes first: together they may have one each too many."""
    declare(store, lanes=lanes)
    ids = [enrol(store, "crm") for _ in range(workers)]
    assert [count(store, one, "crm") for one in ids] == [{"crm": share}] * workers


def test_whoever_lacks_the_plugin_has_no_share(store: Store) -> None:
    """Only those divide a subscription's lanes who can run them."""
    declare(store, lanes=4)
    declare(store, "audit", lanes=4)
    one = enrol(store, "crm", "audit")
    enrol(store, "audit")
    enrol(store)
    assert count(store, one, "crm", "audit") == {"crm": 4, "audit": 2}


def test_whoever_is_silent_has_no_share(store: Store, clock: StillClock) -> None:
    """A worker that let its leases expire is not waited for."""
    declare(store, lanes=4)
    enrol(store, "crm")
    clock.now += 1
    one = enrol(store, "crm")
    assert count(store, one, "crm") == {"crm": 2}
    clock.put_past_leases()
    clock.now -= 1
    assert count(store, one, "crm") == {"crm": 4}


def test_what_is_owned_is_taken_off(store: Store, clock: StillClock) -> None:
    """The share is how many it may own, and nothing is left of it when it does."""
    declare(store, lanes=4)
    owner = make_owner(store)
    owner.claim(["crm"])
    assert count(store, owner.worker, "crm") == {"crm": 0}
    clock.put_past_leases()
    assert count(store, owner.worker, "crm") == {"crm": 4}


def test_no_more_than_a_share_is_claimed(store: Store) -> None:
    """Two workers that claim one after the other have half of the lanes each."""
    declare(store, lanes=8)
    first, second = make_owner(store), make_owner(store)
    shards = [[lane.first_shard for lane in owner.claim(["crm"])] for owner in (first, second)]
    assert shards == [[0, 128, 256, 384], [512, 640, 768, 896]]
    assert first.claim(["crm"]) == []
    assert first.find_surplus(["crm"]) == set()


def test_a_surplus_is_given_back(store: Store) -> None:
    """When another worker comes, what is beyond the new share is found, the last lanes of it."""
    declare(store, lanes=5)
    first = make_owner(store)
    lanes = first.claim(["crm"])
    assert len(lanes) == 5
    second = make_owner(store)
    assert second.claim(["crm"]) == []

    surplus = first.find_surplus(["crm"])
    assert surplus == {("crm", lane.first_shard) for lane in lanes[3:]}

    for lane in lanes[3:]:
        first.release(lane)
    assert first.claim(["crm"]) == []
    assert [lane.first_shard for lane in second.claim(["crm"])] == [
        lane.first_shard for lane in lanes[3:]
    ]
    assert (first.find_surplus(["crm"]), second.find_surplus(["crm"])) == (set(), set())


def test_there_is_no_surplus_of_one_lane(store: Store) -> None:
    """Where workers are more than lanes, nobody gives back the one that it has."""
    declare(store, lanes=1)
    first = make_owner(store)
    first.claim(["crm"])
    make_owner(store)
    assert first.find_surplus(["crm"]) == set()
