"""Tests of `router.watch`: how a worker's subscriptions stand, and who is told of changes."""

import asyncio

import pytest

from router.alerts import Alerts
from router.options import Options
from router.roster import Roster
from router.store import Store
from router.watch import Watch
from tests.listener import Listener
from tests.loops import in_loop
from tests.owners import set_state
from tests.records import read_state


class Post:
    """A watch over the subscriptions crm and audit.

    Attributes:
        listener: What it has told.
    """

    def __init__(self, store: Store) -> None:
        self.listener = Listener()
        roster = Roster(store, pid=1)
        for name in ("crm", "audit"):
            roster.declare(name, {}, Options())
        self.watch = Watch(["crm", "audit"], roster=roster, alerts=Alerts([self.listener.tell]))

    async def look(self) -> list[str]:
        """Look, and return whose deliveries are to be stopped."""
        stopped = self.watch.heed(self.watch.look())
        for _ in range(5):
            await asyncio.sleep(0)
        return stopped


@pytest.fixture
def post(store: Store) -> Post:
    """A watch that has not looked yet."""
    return Post(store)


@in_loop
async def test_the_first_look_is_no_news(store: Store, post: Post) -> None:
    """Whatever state a subscription is in when its worker starts; but it is heeded."""
    set_state(store, "crm", "paused")
    assert await post.look() == ["crm"]
    assert post.listener.told == []


@in_loop
async def test_a_change_is_told_once(store: Store, post: Post) -> None:
    """With its reason; what stays as it is, and other subscriptions, are no news."""
    await post.look()
    set_state(store, "crm", "paused")
    assert await post.look() == ["crm"]
    assert await post.look() == ["crm"]
    set_state(store, "crm", "active")
    assert await post.look() == []
    assert post.listener.states() == ["paused", "active"]
    assert post.listener.states("audit") == []
    assert all(given["reason"] for _, given in post.listener.told)


@in_loop
async def test_a_forgotten_subscription_is_stopped(store: Store, post: Post) -> None:
    """What is on record no more is missing."""
    await post.look()
    with store.writing() as connection:
        connection.exec_driver_sql("DELETE FROM lane WHERE subscription = 'crm'")
        connection.exec_driver_sql("DELETE FROM subscription WHERE name = 'crm'")
    assert await post.look() == ["crm"]
    assert post.listener.states() == ["missing"]


@in_loop
async def test_a_breaker_is_put_on_record(store: Store, post: Post) -> None:
    """With the next look, when it opens and when it closes; deliveries go on meanwhile."""
    await post.look()
    post.watch.note_breaker("crm", is_open=True)
    assert await post.look() == []
    assert (read_state(store), read_state(store, "audit")) == ("failing", "active")
    post.watch.note_breaker("crm", is_open=False)
    await post.look()
    assert read_state(store) == "active"
    assert post.listener.states() == ["failing", "active"]


@in_loop
async def test_a_pause_is_not_taken_back_by_a_breaker(store: Store, post: Post) -> None:
    """What an operator wants counts, whichever comes first."""
    await post.look()
    set_state(store, "crm", "paused")
    post.watch.note_breaker("crm", is_open=True)
    assert await post.look() == ["crm"]
    post.watch.note_breaker("crm", is_open=False)
    assert await post.look() == ["crm"]
    assert read_state(store) == "paused"


@in_loop
async def test_an_open_breaker_stays_on_record(store: Store, post: Post) -> None:
    """Though another worker's has closed, or somebody has resumed the subscription meanwhile."""
    post.watch.note_breaker("crm", is_open=True)
    await post.look()
    set_state(store, "crm", "active")
    await post.look()
    assert read_state(store) == "failing"
