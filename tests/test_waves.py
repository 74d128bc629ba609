"""Tests of `router.waves`: what a loop takes in until it comes to rest is handed over together."""

import asyncio
from collections.abc import Callable

import pytest

from router.errors import Unavailable
from router.rows import Appended
from router.waves import LONGEST, Wave, Waves
from tests.entries import make_entry
from tests.loops import in_loop

DONE = Appended((), 1)


class Collected:
    """Waves as they are handed over."""

    def __init__(self) -> None:
        self.waves = Waves(self._take)
        self.all: list[Wave] = []
        self.came = asyncio.Event()

    def _take(self, wave: Wave) -> None:
        self.all.append(wave)
        self.came.set()

    def submit(self, count: int = 1) -> list[asyncio.Task[Appended]]:
        """Submit entries from tasks of their own."""

        async def append() -> Appended:
            return await self.waves.begin(asyncio.get_running_loop()).append(make_entry())

        return [asyncio.ensure_future(append()) for _ in range(count)]

    @property
    def sizes(self) -> list[int]:
        """Of the waves that were handed over."""
        return [len(wave.waiting) for wave in self.all]


def answer(wave: Wave) -> None:
    """Give all of a wave the same answer."""
    for _, future in wave.waiting:
        future.set_result(DONE)


@in_loop
async def test_what_comes_in_one_after_the_other_is_one_wave() -> None:
    """As long as each round of the loop brings something; until then nothing is handed over."""
    found = Collected()
    tasks = []
    for _ in range(5):
        tasks += found.submit(2)
        await asyncio.sleep(0)
        assert not found.all
        assert not found.waves.are_over
    assert found.waves.count >= 8
    await found.came.wait()
    assert found.sizes == [10]
    assert found.waves.are_over
    assert found.waves.count == 0
    answer(found.all[0])
    assert await asyncio.gather(*tasks) == [DONE] * 10


@in_loop
async def test_a_wave_comes_to_an_end() -> None:
    """However much follows: whoever came first does not wait for all who come later."""
    found = Collected()
    tasks = []
    begun = asyncio.get_running_loop().time()
    while not found.all:
        tasks += found.submit()
        await asyncio.sleep(0)
        assert asyncio.get_running_loop().time() < begun + 1_000 * LONGEST
    assert asyncio.get_running_loop().time() >= begun + LONGEST
    for task in tasks:
        task.cancel()


@in_loop
async def test_an_answer_is_waited_for_until_it_was_heard() -> None:
    """Who hears it may send the next request at once, which belongs to the next wave."""
    found = Collected()
    tasks: list[asyncio.Task[Appended]] = []

    def hear() -> None:
        tasks.extend(found.submit(3))

    found.waves.provoke(asyncio.get_running_loop(), hear)
    while not found.all:
        assert not found.waves.are_over
        await asyncio.sleep(0)
    assert found.sizes == [3]
    answer(found.all[0])
    await asyncio.gather(*tasks)


@in_loop
async def test_an_answer_that_nobody_follows_ends_a_wave_too() -> None:
    """It is handed over empty: whoever waits for it can go on."""
    found = Collected()
    found.waves.provoke(asyncio.get_running_loop(), lambda: None)
    await found.came.wait()
    assert found.sizes == [0]
    assert found.waves.are_over


def test_a_loop_that_has_ended_is_forgotten() -> None:
    """In the middle of a wave, and before it has heard its answer."""

    async def collect() -> Collected:
        return Collected()

    loops = [asyncio.new_event_loop() for _ in range(2)]
    found = loops[0].run_until_complete(collect())
    found.waves.begin(loops[0])
    found.waves.provoke(loops[1], lambda: None)
    for loop in loops:
        loop.close()
    assert not found.waves.are_over
    with pytest.raises(RuntimeError):
        found.waves.provoke(loops[0], lambda: None)
    found.waves.forget_ended()
    assert found.waves.are_over


@in_loop
async def test_nobody_waits_for_longer_than_said() -> None:
    """Those who have no answer by then are refused, the others keep theirs."""
    found = Collected()
    first, second = found.submit(2)
    await found.came.wait()
    [wave] = found.all
    wave.give_up_after(0.001)
    wave.waiting[0].future.set_result(DONE)
    assert await first == DONE
    with pytest.raises(Unavailable, match="has not answered in time"):
        await second


@in_loop
async def test_no_timer_outlives_the_answers() -> None:
    """It would keep what they brought in memory until it has run out."""
    timers: list[asyncio.TimerHandle] = []
    loop = asyncio.get_running_loop()
    call_later = loop.call_later

    def note(delay: float, callback: Callable[..., object], *given: object) -> asyncio.TimerHandle:
        timers.append(call_later(delay, callback, *given))
        return timers[-1]

    loop.call_later = note  # type: ignore[method-assign, assignment]
    found = Collected()
    tasks = found.submit(2)
    await found.came.wait()
    found.all[0].give_up_after(60)
    tasks[0].cancel()
    await asyncio.sleep(0)
    assert not timers[0].cancelled()
    found.all[0].waiting[1].future.set_result(DONE)
    assert await tasks[1] == DONE
    assert timers[0].cancelled()
