"""Tests of `router.writer` in time: when an append begins at once, and for what it waits."""

from itertools import count

import pytest

from router.log import EventLog
from router.writer import FEW, Writer
from tests.entries import make_entry
from tests.loops import in_loop
from tests.submitting import Statements, held, settle, submit, writing
from tests.waiting import until


def stand_still() -> float:
    """A clock on which no time passes: whoever waits for time to pass waits for ever."""
    return 0.0


@in_loop
async def test_who_sends_one_at_a_time_waits_for_nothing(log: EventLog) -> None:
    """Each is appended at once, however soon it comes after the last one."""
    async with writing(Writer(log, monotonic=stand_still)) as writer:
        for _ in range(3):
            await writer.append(make_entry())
    assert log.head() == 3


@pytest.mark.engines("sqlite")
@in_loop
async def test_two_wait_for_a_few(log: EventLog) -> None:
    """Soon after an append, entries wait until they are a few, and share a transaction then."""
    statements = Statements(log)
    async with writing(Writer(log, monotonic=stand_still)) as writer:
        await writer.append(make_entry())
        tasks = await submit(writer, make_entry(), make_entry())
        tasks += await submit(writer, *(make_entry() for _ in range(FEW - 2)))
        await settle(tasks)
    assert (log.head(), statements.transactions) == (1 + FEW, 2)


@in_loop
async def test_two_wait_no_longer_than_a_moment(log: EventLog) -> None:
    """Once the last append is long past, fewer are worth one, too."""
    clock = count(step=0.01)
    async with writing(Writer(log, monotonic=lambda: next(clock))) as writer:
        await writer.append(make_entry())
        await settle(await submit(writer, make_entry(), make_entry()))
    assert log.head() == 3


@in_loop
async def test_a_stop_waits_for_no_more(log: EventLog) -> None:
    """What waits for a few when the router stops is appended as it is."""
    async with writing(Writer(log, monotonic=stand_still)) as writer:
        await writer.append(make_entry())
        tasks = await submit(writer, make_entry(), make_entry())
    await settle(tasks)
    assert log.head() == 3


@pytest.mark.engines("sqlite")
@in_loop
async def test_a_wave_that_does_not_come_is_not_waited_for(log: EventLog) -> None:
    """After a large batch a smaller one goes as soon as no more come in."""
    async with writing(Writer(log, monotonic=stand_still)) as writer:
        with held(log):
            tasks = await submit(writer, make_entry())
            await until(lambda: log.store.gate.is_append_waiting)
            tasks += await submit(writer, *(make_entry() for _ in range(5 * FEW)))
        await settle(tasks)
        await settle(await submit(writer, *(make_entry() for _ in range(FEW))))
    assert log.head() == 1 + 6 * FEW
