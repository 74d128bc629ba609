"""Tests of `router.turns`: no more calls a second than agreed, and whose is the next one."""

import asyncio

import pytest

from router.turns import SLACK, Pace
from tests.bench import HandClock
from tests.loops import in_loop


class Watch:
    """A clock that moves only when somebody sleeps.

    Attributes:
        now: Its time, in seconds.
    """

    def __init__(self) -> None:
        self.now = 100.0

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


def pace_times(rate: float | None, *, pauses: tuple[float, ...]) -> list[float]:
    """Return the seconds after which each of the calls goes that come after these pauses."""
    watch = Watch()
    pace = Pace(rate, monotonic=lambda: watch.now, sleep=watch.sleep)
    times = []

    async def main() -> None:
        for pause in pauses:
            watch.now += pause
            await pace.keep()
            times.append(watch.now - 100)

    asyncio.run(main())
    return times


def test_calls_are_spaced_evenly() -> None:
    """At a rate of 4 a second, calls that come at once go a quarter of a second apart."""
    assert pace_times(4, pauses=(0, 0, 0, 0)) == [0, 0.25, 0.5, 0.75]


def test_time_that_was_not_used_is_not_saved_up() -> None:
    """After a long pause calls go on evenly, without a burst that makes up for it."""
    assert pace_times(4, pauses=(0, 10, 0, 0)) == [0, 10, 10.25, 10.5]


@pytest.mark.parametrize(
    ("late", "expected"), [(0.125, 0.5), (SLACK, 0.5), (SLACK + 0.125, 0.625 + 0.25)]
)
def test_who_is_a_little_late_does_not_put_off_the_others(late: float, expected: float) -> None:
    """The next one goes when it would have gone; after a longer pause it is spaced anew."""
    assert pace_times(4, pauses=(0, 0.25 + late, 0)) == [0, 0.25 + late, expected]


def test_without_a_rate_nobody_waits() -> None:
    """Where no rate is agreed, calls go as they come."""
    assert pace_times(None, pauses=(0, 0, 0)) == [0, 0, 0]


def test_calls_side_by_side_share_one_pace() -> None:
    """Calls that wait at the same time each have a moment of their own."""
    slept: list[float] = []

    async def main() -> None:
        async def sleep(seconds: float) -> None:
            slept.append(seconds)

        pace = Pace(2, monotonic=lambda: 0.0, sleep=sleep)
        await asyncio.gather(*(pace.keep() for _ in range(4)))

    asyncio.run(main())
    assert slept == [0.5, 1.0, 1.5]


class Road:
    """Where calls keep a pace by a clock that is put forward by hand.

    Attributes:
        clock: That clock.
        gone: Which calls have gone, in order.
    """

    def __init__(self) -> None:
        self.clock = HandClock()
        self.gone: list[str] = []

    def make_pace(self, rate: float | None, *, within: Pace | None = None) -> Pace:
        """Return a pace that goes by the clock."""
        clock = self.clock
        return Pace(rate, monotonic=clock.seconds, sleep=clock.sleep, within=within)

    async def line_up(self, name: str, pace: Pace, *, first: bool = True) -> asyncio.Task[None]:
        """Let a call ask to go; return its task once it waits, or has gone."""

        async def go() -> None:
            await pace.keep(first=first)
            self.gone.append(name)

        task = asyncio.get_running_loop().create_task(go())
        await self.settle()
        return task

    async def pass_time(self, seconds: float) -> None:
        """Put the clock forward, and let go who may go then."""
        self.clock.advance(seconds)
        await self.settle()

    async def settle(self) -> None:
        """Let everybody do what can be done without time going on."""
        for _ in range(10):
            await asyncio.sleep(0)


@in_loop
async def test_what_comes_first_passes_the_others() -> None:
    """But not each other; and all of them keep the pace."""
    road = Road()
    pace = road.make_pace(2)
    for name in ("now", "replay 1", "replay 2"):
        await road.line_up(name, pace, first=False)
    for name in ("live 1", "live 2"):
        await road.line_up(name, pace)
    assert road.gone == ["now"]
    for count in range(2, 6):
        await road.pass_time(0.5)
        assert len(road.gone) == count
    assert road.gone == ["now", "live 1", "live 2", "replay 1", "replay 2"]


@in_loop
async def test_a_pace_within_another_keeps_both() -> None:
    """Those that keep the outer one itself go first there, and both count in it."""
    road = Road()
    live = road.make_pace(2)
    replay = road.make_pace(None, within=live)
    assert replay.is_limited
    for name in ("replay 1", "replay 2"):
        await road.line_up(name, replay)
    await road.line_up("live", live)
    assert road.gone == ["replay 1"]
    await road.pass_time(0.5)
    assert road.gone == ["replay 1", "live"]
    await road.pass_time(0.5)
    assert road.gone == ["replay 1", "live", "replay 2"]


@in_loop
async def test_the_slower_of_two_paces_counts() -> None:
    """A pace may be slower than the one it is within; one without a limit limits nobody."""
    road = Road()
    slow = road.make_pace(1, within=road.make_pace(4))
    await road.line_up("one", slow)
    await road.line_up("two", slow)
    await road.pass_time(0.999)
    assert road.gone == ["one"]
    await road.pass_time(0.001)
    assert road.gone == ["one", "two"]
    assert not road.make_pace(None, within=road.make_pace(None)).is_limited


@in_loop
async def test_one_more_goes_at_once_only_if_that_may_be() -> None:
    """Neither before its time, nor before somebody who waits."""
    road = Road()
    pace = road.make_pace(2)
    assert pace.try_pass()
    assert not pace.try_pass()
    waiting = await road.line_up("waiting", pace)
    road.clock.advance(1)
    assert not pace.try_pass()
    await waiting
    assert not pace.try_pass()
    road.clock.advance(0.5)
    assert pace.try_pass()


@in_loop
async def test_who_may_not_pass_the_outer_pace_has_not_used_the_inner_one() -> None:
    """It is tried again as soon as the outer one allows it."""
    road = Road()
    outer = road.make_pace(2)
    inner = road.make_pace(1, within=outer)
    assert outer.try_pass()
    assert not inner.try_pass()
    road.clock.advance(0.5)
    assert inner.try_pass()
    assert not outer.try_pass()


@in_loop
async def test_whoever_stops_waiting_is_left_out() -> None:
    """The others go when they would have gone, and after the last one nothing is left behind."""
    road = Road()
    pace = road.make_pace(2)
    before = asyncio.all_tasks()
    await road.line_up("one", pace)
    gone = await road.line_up("two", pace)
    stays = await road.line_up("three", pace)
    gone.cancel()
    await road.pass_time(0.5)
    assert road.gone == ["one", "three"]
    last = await road.line_up("four", pace)
    last.cancel()
    await road.settle()
    assert (gone.cancelled(), stays.done(), last.cancelled()) == (True, True, True)
    assert asyncio.all_tasks() == before
    road.clock.advance(0.5)
    assert pace.try_pass()
