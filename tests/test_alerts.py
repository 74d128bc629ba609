"""Tests of `router.alerts`: told in the background, in order, and never too many."""

import asyncio
import logging
from collections.abc import Mapping

import pytest

from router.alerts import MOST, Alerts
from tests.loops import in_loop
from tests.waiting import until


class Listener:
    """A listener that notes what it is told.

    Attributes:
        told: The hook and the number of each alert, as it came.
        door: It waits before it until that is opened.
        underway: How many calls are under way; and the most there ever were.
    """

    def __init__(self, *, is_open: bool = True) -> None:
        self.told: list[tuple[str, object]] = []
        self.door = asyncio.Event()
        self.underway = self.most = 0
        if is_open:
            self.door.set()

    async def tell(self, hook: str, given: Mapping[str, object]) -> None:
        """Note it."""
        self.underway += 1
        self.most = max(self.most, self.underway)
        await self.door.wait()
        await asyncio.sleep(0)
        self.told.append((hook, given["number"]))
        self.underway -= 1


@in_loop
async def test_everybody_is_told_everything_in_order() -> None:
    """One after another, each listener by itself."""
    listeners = [Listener(), Listener()]
    alerts = Alerts([one.tell for one in listeners])
    for number in range(5):
        alerts.add("on_dead", number=number)
    await alerts.stop(seconds=10)
    for one in listeners:
        assert one.told == [("on_dead", number) for number in range(5)]
        assert one.most == 1


@in_loop
async def test_nobody_waits_for_another_listener() -> None:
    """One that hangs keeps nobody from hearing the news, and no caller waits for any."""
    hanging, well = Listener(is_open=False), Listener()
    alerts = Alerts([hanging.tell, well.tell])
    for number in range(3):
        alerts.add("on_dead", number=number)
    await until(lambda: len(well.told) == 3)
    assert hanging.told == []
    hanging.door.set()
    await alerts.stop(seconds=10)
    assert len(hanging.told) == 3


@in_loop
async def test_too_many_are_dropped_and_that_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """What does not fit is the newest; later alerts are told again."""
    listener = Listener(is_open=False)
    alerts = Alerts([listener.tell])
    alerts.add("on_dead", number=-1)
    await until(lambda: listener.underway)
    for number in range(MOST + 7):
        alerts.add("on_dead", number=number)
    with caplog.at_level(logging.WARNING, logger="router.alerts"):
        listener.door.set()
        await alerts.stop(seconds=10)
    assert [number for _, number in listener.told] == list(range(-1, MOST))
    assert [record.getMessage() for record in caplog.records] == [
        "7 alerts were dropped: too many waited"
    ]
    alerts.add("on_dead", number=9999)
    await alerts.stop(seconds=10)
    assert listener.told[-1] == ("on_dead", 9999)


@in_loop
async def test_a_stop_does_not_wait_for_ever() -> None:
    """A listener that does not end is cancelled; nothing of it is left."""
    listener = Listener(is_open=False)
    alerts = Alerts([listener.tell])
    alerts.add("on_dead", number=1)
    await until(lambda: listener.underway)
    await alerts.stop(seconds=0.01)
    await until(lambda: len(asyncio.all_tasks()) == 1)
    assert listener.told == []


@in_loop
async def test_a_stop_without_news_ends_at_once() -> None:
    """There is nothing to wait for."""
    await Alerts([Listener().tell]).stop(seconds=1e9)
    await Alerts([]).stop(seconds=1e9)
