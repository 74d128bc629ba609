"""Tests of `router.deliveries`: those under way are stopped, cut and waited for as they should."""

import asyncio
from collections.abc import Coroutine
from typing import cast

import pytest

from router.deliveries import Deliveries
from router.delivery import Delivery
from router.lane import Key, Lane
from tests.loops import in_loop
from tests.waiting import until


class Underway:
    """Stands for a delivery: it runs until it is stopped, and notes what is done to it.

    Attributes:
        ends: Whether it ends when it is stopped; else it has calls under way.
        told: What was done to it.
    """

    def __init__(self, *, ends: bool = True) -> None:
        self.ends = ends
        self.told: list[str] = []
        self._ended = asyncio.Event()

    def wake(self) -> None:
        """Note it."""
        self.told.append("wake")

    def stop(self) -> None:
        """Note it, and end if nothing is under way."""
        self.told.append("stop")
        if self.ends:
            self._ended.set()

    def cut(self) -> None:
        """Note it, and end."""
        self.told.append("cut")
        self._ended.set()

    async def run(self) -> None:
        """Last until it ends."""
        await self._ended.wait()


def lane(name: str = "crm", run: int = 0, first: int = 0) -> Lane:
    """A lane of half of the shards."""
    return Lane(name, run, first, first + 511, 1, 0, [])


def begin(deliveries: Deliveries, its: Lane, *, ends: bool = True) -> Underway:
    """Begin to deliver a lane."""
    underway = Underway(ends=ends)

    async def work() -> None:
        deliveries.running[its.key] = cast("Delivery", underway)
        try:
            await underway.run()
        finally:
            deliveries.end(its)

    deliveries.begin(its, cast("Coroutine[None, None, None]", work()))
    return underway


@in_loop
async def test_what_is_begun_is_held_until_it_ends() -> None:
    """Also before it was opened: nobody is to claim the lane once more."""
    deliveries = Deliveries()
    begin(deliveries, lane())
    assert (deliveries.held, list(deliveries.running)) == ({lane().key}, [])
    await until(lambda: deliveries.running)
    deliveries.stop()
    assert await deliveries.wait(10)
    assert (deliveries.held, list(deliveries.running)) == (set(), [])


@in_loop
async def test_some_are_stopped_and_others_go_on() -> None:
    """Which, the caller says by the key; all are woken."""
    deliveries = Deliveries()
    crm, audit = begin(deliveries, lane()), begin(deliveries, lane("audit", run=3))
    await until(lambda: len(deliveries.running) == 2)
    assert deliveries.runs == {0, 3}
    deliveries.wake()
    deliveries.stop(lambda key: key[1] == 3)
    await until(lambda: len(deliveries.running) == 1)
    assert (crm.told, audit.told) == (["wake"], ["wake", "stop"])
    deliveries.cut_all()
    assert await deliveries.wait(10)


@pytest.mark.parametrize(
    ("lost", "cut"),
    [(lane().key, ["live", "replay"]), (lane(run=3).key, ["replay"])],
    ids=["live", "replay"],
)
@in_loop
async def test_a_lost_live_lane_takes_its_replays_along(lost: Key, cut: list[str]) -> None:
    """They took turns with it; a replay's lane goes alone, and other shards are let be."""
    deliveries = Deliveries()
    made = {
        "live": begin(deliveries, lane()),
        "replay": begin(deliveries, lane(run=3)),
        "other shards": begin(deliveries, lane(first=512)),
        "other replay": begin(deliveries, lane(run=3, first=512)),
    }
    await until(lambda: len(deliveries.running) == 4)
    deliveries.cut(lost)
    assert [name for name, one in made.items() if one.told] == cut
    deliveries.cut_all()
    assert await deliveries.wait(10)


@in_loop
async def test_a_live_lane_waits_for_its_replays() -> None:
    """Its next owner would hand over a subject's event beside one of the replay."""
    deliveries = Deliveries()
    replay = begin(deliveries, lane(run=3), ends=False)
    await until(lambda: deliveries.running)
    waiting = asyncio.ensure_future(deliveries.wait_beside(lane()))
    for other in (lane(first=512), lane(run=3)):  # the one has none, the other is one
        await deliveries.wait_beside(other)
    assert not waiting.done()
    replay.cut()
    await waiting
    assert await deliveries.wait(10)


@in_loop
async def test_what_does_not_end_is_cancelled() -> None:
    """The wait is over after its time, and tells."""
    deliveries = Deliveries()
    begin(deliveries, lane(), ends=False)
    await until(lambda: deliveries.running)
    deliveries.stop()
    assert not await deliveries.wait(0)
    await deliveries.cancel()
    assert (deliveries.held, list(deliveries.running)) == (set(), [])
