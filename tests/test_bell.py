"""Tests of `router.bell`: the first ring is heard at once, and those that follow together."""

import asyncio
import threading

from router.bell import Bell
from tests.loops import in_loop
from tests.waiting import until


@in_loop
async def test_the_first_ring_is_heard_at_once() -> None:
    """Where it was quiet, nobody waits for a gap."""
    heard: list[int] = []
    bell = Bell(lambda: heard.append(1), gap=3600)
    bell.hang(asyncio.get_running_loop())
    bell.ring()
    await until(lambda: heard)


@in_loop
async def test_rings_that_follow_soon_are_heard_together() -> None:
    """However often it rings within a gap, it is heard once more, when that is over."""
    heard: list[int] = []
    bell = Bell(lambda: heard.append(1), gap=0.05)
    bell.hang(asyncio.get_running_loop())
    for _ in range(50):
        bell.ring()
        await asyncio.sleep(0)
    assert len(heard) == 1
    await until(lambda: len(heard) == 2)
    bell.ring()
    await until(lambda: len(heard) == 3)


@in_loop
async def test_no_ring_is_lost_while_they_look() -> None:
    """What rings while those who were told are still looking is heard again."""
    heard: list[int] = []

    def look() -> None:
        heard.append(1)
        if len(heard) < 3:
            bell.ring()

    bell = Bell(look, gap=0.001)
    bell.hang(asyncio.get_running_loop())
    threading.Thread(target=bell.ring).start()
    await until(lambda: len(heard) == 3)


def test_nobody_hears_it_before_or_after() -> None:
    """Without a loop, or with one that is closed, ringing does nothing."""
    bell = Bell(lambda: None)
    bell.ring()
    loop = asyncio.new_event_loop()
    bell.hang(loop)
    loop.close()
    bell.ring()
