"""Tests of `router.slots`: a bounded number of calls under way, the others in line."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine

import pytest

from router.slots import Slots
from tests.waiting import until


class Gate:
    """Work that begins when it gets a slot and ends when it is let go.

    Attributes:
        begun: The names of what has begun, in order.
        ended: The names of what has ended, in order.
    """

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self._doors: dict[str, asyncio.Event] = {}

    def work(self, name: str) -> Callable[[], Coroutine[None, None, None]]:
        """Return work of that name."""
        self._doors[name] = asyncio.Event()

        async def wait() -> None:
            self.begun.append(name)
            await self._doors[name].wait()
            self.ended.append(name)

        return wait

    async def end(self, name: str) -> None:
        """Let the work of that name come to its end."""
        self._doors[name].set()
        await until(lambda: name in self.ended)


def run(test: Callable[[Gate, Callable[[int], Slots]], Awaitable[None]]) -> int:
    """Run ``test`` with a gate and a maker of slots; return how often the slots told a change."""
    changes = 0

    def count() -> None:
        nonlocal changes
        changes += 1

    async def main() -> None:
        await test(Gate(), lambda limit: Slots(limit, on_change=count))

    asyncio.run(main())
    return changes


def test_no_more_work_is_under_way_than_there_are_slots() -> None:
    """What comes when all slots are taken begins when one is free, in the order it came."""

    async def test(gate: Gate, make: Callable[[int], Slots]) -> None:
        slots = make(2)
        for name in "abcd":
            slots.add(gate.work(name))
        await until(lambda: len(gate.begun) == 2)
        assert gate.begun == ["a", "b"]
        await gate.end("b")
        await until(lambda: len(gate.begun) == 3)
        assert gate.begun == ["a", "b", "c"]
        await gate.end("a")
        await until(lambda: len(gate.begun) == 4)
        assert gate.begun == ["a", "b", "c", "d"]
        slots.cancel()

    run(test)


def test_each_end_is_told() -> None:
    """Whoever waits for room is told whenever a piece of work has ended."""

    async def test(gate: Gate, make: Callable[[int], Slots]) -> None:
        slots = make(1)
        for name in "abc":
            slots.add(gate.work(name))
        for name in "abc":
            await gate.end(name)
        await until(lambda: slots.is_idle)

    assert run(test) == 3


def test_slots_are_idle_when_nothing_is_under_way_or_in_line() -> None:
    """Slots are busy from the first piece of work until the last one in line has ended."""

    async def test(gate: Gate, make: Callable[[int], Slots]) -> None:
        slots = make(1)
        await until(lambda: slots.is_idle)
        slots.add(gate.work("a"))
        slots.add(gate.work("b"))
        assert not slots.is_idle
        await gate.end("a")
        assert not slots.is_idle
        await gate.end("b")
        await until(lambda: slots.is_idle)

    run(test)


def test_closed_slots_begin_nothing() -> None:
    """What waits in line when the slots are closed, or comes later, is never begun."""

    async def test(gate: Gate, make: Callable[[int], Slots]) -> None:
        slots = make(1)
        slots.add(gate.work("a"))
        slots.add(gate.work("b"))
        await until(lambda: gate.begun)
        slots.close()
        slots.add(gate.work("c"))
        assert not slots.is_idle  # a is under way
        await gate.end("a")
        await until(lambda: slots.is_idle)
        assert gate.begun == ["a"]

    run(test)


def test_cancelling_ends_what_is_under_way() -> None:
    """Cancelled work gives its slot back and counts as no error."""

    async def test(gate: Gate, make: Callable[[int], Slots]) -> None:
        slots = make(2)
        slots.add(gate.work("a"))
        slots.add(gate.work("b"))
        await until(lambda: len(gate.begun) == 2)
        slots.cancel()
        await until(lambda: slots.is_idle)
        slots.raise_error()
        assert gate.ended == []

    assert run(test) == 2


def test_the_first_error_is_kept() -> None:
    """An error in the work is raised to whoever asks, the first one if there are several."""

    async def fail(text: str) -> None:
        raise ValueError(text)

    async def test(_gate: Gate, make: Callable[[int], Slots]) -> None:
        slots = make(1)
        slots.raise_error()
        slots.add(lambda: fail("one"))
        slots.add(lambda: fail("two"))
        await until(lambda: slots.is_idle)
        with pytest.raises(ValueError, match="one"):
            slots.raise_error()

    run(test)


def test_an_error_does_not_cost_the_slot() -> None:
    """After a piece of work has failed, the next one in line has its slot."""

    async def fail() -> None:
        raise ValueError

    async def test(gate: Gate, make: Callable[[int], Slots]) -> None:
        slots = make(1)
        slots.add(fail)
        slots.add(gate.work("a"))
        await gate.end("a")
        await until(lambda: slots.is_idle)

    run(test)


def test_a_handler_that_is_cut_is_not_waited_for() -> None:
    """It is cancelled; one that does not heed that keeps nobody. Until then it has its place."""

    async def test(gate: Gate, make: Callable[[int], Slots]) -> None:
        slots = make(1)
        deaf, tasks = asyncio.Event(), list[asyncio.Task[None]]()

        async def go_on() -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.append(task)
            slots.lend(task)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await deaf.wait()

        slots.add(go_on)
        slots.add(gate.work("a"))
        await asyncio.sleep(0)
        assert not slots.is_idle
        slots.cancel()
        await asyncio.sleep(0)
        assert [slots.is_idle, tasks[0].done()] == [True, False]
        deaf.set()
        await tasks[0]
        assert gate.begun == []

    run(test)
