"""Tests of `router.clock`: time and chance are passed in, and waited by."""

import asyncio

from router.clock import Clock
from tests.bench import HandClock
from tests.loops import in_loop
from tests.waiting import until


def make(hand: HandClock) -> Clock:
    """Return a clock that is moved by hand."""
    return Clock(now=lambda: hand.micros, sleep=hand.sleep, random=lambda: 0.5)


@in_loop
async def test_what_is_set_is_waited_for_no_longer() -> None:
    """Whoever waits for something goes on as soon as it is there, without any time passing."""
    hand, event = HandClock(), asyncio.Event()
    waiting = asyncio.create_task(make(hand).wait_for(event, seconds=60))
    await until(lambda: hand.sleepers)
    event.set()
    assert await waiting
    await until(lambda: hand.sleepers == 0)


@in_loop
async def test_what_does_not_come_is_waited_for_so_long() -> None:
    """After the time, not a microsecond sooner, the waiting ends and says that nothing came."""
    hand, event = HandClock(), asyncio.Event()
    waiting = asyncio.create_task(make(hand).wait_for(event, seconds=60))
    await until(lambda: hand.sleepers)
    hand.advance(59.999_999)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    hand.advance(0.000_001)
    assert not await waiting


@in_loop
async def test_nothing_is_left_of_a_waiting_that_was_cancelled() -> None:
    """A stop in the middle of it leaves no timer behind."""
    hand, event = HandClock(), asyncio.Event()
    waiting = asyncio.create_task(make(hand).wait_for(event, seconds=60))
    await until(lambda: hand.sleepers)
    waiting.cancel()
    await asyncio.wait((waiting,))
    await until(lambda: hand.sleepers == 0)
    assert len(asyncio.all_tasks()) == 1
