"""Tests of `router.calls`: the time of calls that overlap is watched together."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import cast

from router.calls import Call, Deadlines
from router.events import Event
from router.subscriptions import NO_CONTEXT
from router.testing import notifications
from tests.loops import in_loop
from tests.plugins.timelines import make_events
from tests.subscribers import make_subscription

(EVENT,) = make_events(notifications.message("hello"))


def make_call(handle: Callable[[Event], Coroutine[None, None, None]]) -> Call:
    """Return a call of this handler."""
    handler = make_subscription(on_message=handle).handlers["message"]
    return Call("crm", handler, EVENT, NO_CONTEXT, began=0)


async def run(deadlines: Deadlines, *, seconds: float) -> Call:
    """Run a call that takes so long, in a task of its own."""

    async def take(event: Event) -> None:
        await asyncio.sleep(seconds)

    call = make_call(take)
    await deadlines.run(call, on_return=lambda: None)
    return call


@in_loop
async def test_each_call_has_its_own_time() -> None:
    """What is over in time is left alone, what comes after it is watched all the same."""
    deadlines = Deadlines(0.2)
    quick = await asyncio.gather(*[run(deadlines, seconds=0) for _ in range(3)])
    slow = await asyncio.gather(*[run(deadlines, seconds=3_600) for _ in range(2)])
    assert [call.is_late for call in (*quick, *slow)] == [False] * 3 + [True] * 2
    assert [call.find_error() is None for call in (*quick, *slow)] == [True] * 3 + [False] * 2
    late = await run(deadlines, seconds=3_600)
    assert late.is_late


@in_loop
async def test_a_call_has_its_time_in_a_task_of_others_too() -> None:
    """There, too, it is cancelled when that is over, and what it cancels itself is a failure."""
    deadlines = Deadlines(0.2)

    async def begin(handle: Callable[[Event], Coroutine[None, None, None]]) -> Call:
        call = make_call(handle)
        call.task = cast("asyncio.Task[None]", asyncio.current_task())
        call.begin()
        await deadlines.wait(call)
        return call

    async def wait(event: Event) -> None:
        await asyncio.sleep(3_600)

    async def cancel(event: Event) -> None:
        call = asyncio.current_task()
        assert call is not None
        call.cancel()

    late, cancelled = await asyncio.gather(begin(wait), begin(cancel))
    assert (late.is_late, cancelled.is_late) == (True, False)
    assert isinstance(late.find_error(), asyncio.CancelledError)
    assert isinstance(cancelled.find_error(), asyncio.CancelledError)


@in_loop
async def test_a_call_that_waits_for_nothing_is_over_at_once() -> None:
    """It needs no turn of the loop; what it has raised is told."""

    async def handle(event: Event) -> None:
        pass

    async def fail(event: Event) -> None:
        raise ValueError(event.type)

    good, bad = make_call(handle), make_call(fail)
    assert [good.begin(), bad.begin()] == [True, True]
    assert (good.find_error(), str(bad.find_error())) == (None, "message")


@in_loop
async def test_a_call_ends_in_the_task_that_has_begun_it() -> None:
    """It sees one task throughout, and hears of what it has waited for, good or bad."""
    seen: list[object] = []
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    refusal: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def handle(event: Event) -> None:
        seen.append(asyncio.current_task())
        seen.append(await answer)
        async with asyncio.timeout(60):  # which needs the task
            await asyncio.sleep(0)
        seen.append(asyncio.current_task())
        await refusal

    call = make_call(handle)

    async def run() -> None:
        assert not call.begin()
        await call.end()

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    answer.set_result("yes")
    refusal.set_exception(ValueError("no"))
    await task
    assert seen == [task, "yes", task]
    assert (call.is_over, str(call.find_error())) == (True, "no")


@in_loop
async def test_what_a_call_sets_in_its_context_is_its_own() -> None:
    """Also where the same task makes the next call; it is still there when the call has waited."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    seen: list[str] = []

    async def set_it(event: Event) -> None:
        seen.append(variable.get())
        variable.set("set")
        await asyncio.sleep(0)
        seen.append(variable.get())

    first, second = make_call(set_it), make_call(set_it)
    assert [first.begin(), second.begin()] == [False, False]
    await first.end()
    await second.end()
    assert seen == ["none", "none", "set", "set"]
    assert variable.get() == "none"


@in_loop
async def test_a_call_whose_task_ends_before_it_begins_has_failed() -> None:
    """Nothing of it is left behind that somebody would have to wait for."""

    async def handle(event: Event) -> None:
        raise AssertionError("it was cancelled before")

    call = make_call(handle)
    task = asyncio.create_task(call.run())
    task.cancel()
    await asyncio.wait([task])
    assert isinstance(call.find_error(), asyncio.CancelledError)
