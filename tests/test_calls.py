"""Tests of `router.calls`: the time of calls that overlap is watched together."""

import asyncio

from router.calls import Call, Deadlines
from router.subscriptions import NO_CONTEXT
from router.testing import notifications
from tests.loops import in_loop
from tests.plugins.timelines import make_events

(EVENT,) = make_events(notifications.message("hello"))


def begin(deadlines: Deadlines, *, seconds: float) -> Call:
    """Begin a call that takes so long."""
    call = Call(EVENT, NO_CONTEXT, started=0)

    async def take() -> BaseException | None:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError as error:
            return error
        return None

    call.task = asyncio.get_running_loop().create_task(take())
    call.task.add_done_callback(lambda _: deadlines.forget(call))
    deadlines.watch(call)
    return call


@in_loop
async def test_each_call_has_its_own_time() -> None:
    """What is over in time is left alone, what comes after it is watched all the same."""
    deadlines = Deadlines(0.2)
    quick = [begin(deadlines, seconds=0) for _ in range(3)]
    await asyncio.wait([call.task for call in quick])
    slow = [begin(deadlines, seconds=3_600), begin(deadlines, seconds=3_600)]
    await asyncio.wait([call.task for call in slow])
    assert [call.is_late for call in (*quick, *slow)] == [False] * 3 + [True] * 2
    assert [call.find_error() is None for call in (*quick, *slow)] == [True] * 3 + [False] * 2
    late = begin(deadlines, seconds=3_600)
    await asyncio.wait([late.task])
    assert late.is_late
