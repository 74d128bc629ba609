"""Tests of catching up: a worker says when nothing is to be done before time passes."""

import asyncio
import threading
from collections.abc import Callable

import pytest
from sqlalchemy import Connection

from router import Router
from router.events import Event
from router.log import EventLog
from router.options import Options, RetryOptions
from tests.dispatching import dispatching
from tests.entries import append_messages
from tests.loops import in_loop
from tests.records import read_checkpoint, read_parked
from tests.subscribers import EAGER, make_subscription

LATER = Options(start="beginning", lanes=1, retry=RetryOptions(first=3600, jitter=False))


@in_loop
async def test_it_waits_for_calls_under_way(log: EventLog) -> None:
    """As long as one handler has not returned, a worker has not caught up."""
    door, is_inside = asyncio.Event(), asyncio.Event()

    async def on_event(event: Event) -> None:
        is_inside.set()
        await door.wait()

    append_messages(log, ["ana"])
    async with dispatching(log, make_subscription("crm", EAGER, on_event=on_event)) as worker:
        catching_up = asyncio.create_task(worker.catch_up())
        await is_inside.wait()
        for _ in range(20):
            await asyncio.sleep(0.002)
        assert not catching_up.done()
        door.set()
        await catching_up


def plain(seen: list[int]) -> Callable[..., object]:
    """Return a plain handler."""
    return lambda event: seen.append(event.position)


def asynchronous(seen: list[int]) -> Callable[..., object]:
    """Return an async handler, which takes a moment."""

    async def on_event(event: Event) -> None:
        await asyncio.sleep(0)
        seen.append(event.position)

    return on_event


def transactional(seen: list[int]) -> Callable[..., object]:
    """Return a transactional handler."""

    def on_event(event: Event, connection: Connection) -> None:
        seen.append(event.position)

    return on_event


@pytest.mark.parametrize("make", [plain, asynchronous, transactional])
@in_loop
async def test_all_that_is_in_the_log_is_handled(
    log: EventLog, make: Callable[[list[int]], Callable[..., object]]
) -> None:
    """Whatever handlers are like, none is left to be called afterwards."""
    seen: list[int] = []
    append_messages(log, [f"customer {number % 50}" for number in range(700)])
    async with dispatching(log, make_subscription("crm", EAGER, on_event=make(seen))) as worker:
        await worker.catch_up()
        assert sorted(seen) == list(range(1, 701))
        append_messages(log, ["ana"] * 3)
        worker.wake()
        await worker.catch_up()
        assert sorted(seen) == list(range(1, 704))


@in_loop
async def test_it_does_not_wait_for_time_to_pass(log: EventLog) -> None:
    """What is tried again in an hour, and what waits behind it, is left for then."""

    async def on_event(event: Event) -> None:
        raise ValueError("busy")

    append_messages(log, ["ana"] * 2)
    async with dispatching(log, make_subscription("crm", LATER, on_event=on_event)) as worker:
        await worker.catch_up()
        assert read_parked(log.store).keys() == {1}


@in_loop
async def test_what_a_handler_brings_about_is_seen_to(log: EventLog) -> None:
    """An event that the last handler has appended is handled, too, though nobody was woken."""
    seen: list[int] = []

    def on_event(event: Event) -> None:
        if not seen:
            append_messages(log, ["ana"])
        seen.append(event.position)

    append_messages(log, ["ana"])
    async with dispatching(log, make_subscription("crm", EAGER, on_event=on_event)) as worker:
        await worker.catch_up()
        assert seen == [1, 2]


@in_loop
async def test_it_does_not_pass_over_what_broke_off(log: EventLog) -> None:
    """A delivery that failed of itself rests, and has not caught up when it does."""
    is_broken = threading.Event()
    append_messages(log, ["ana"])
    subscription = make_subscription("crm", EAGER, on_event=lambda event: None)
    async with dispatching(log, subscription) as worker:
        await worker.catch_up()
        read = log.read_page

        def fail(*_args: object, **_how: object) -> object:
            log.read_page = read  # type: ignore[method-assign]
            is_broken.set()
            raise RuntimeError("the disk is gone")

        log.read_page = fail  # type: ignore[assignment,method-assign]
        append_messages(log, ["ana"])
        worker.wake()
        await worker.catch_up()
        assert is_broken.is_set()
    assert read_checkpoint(log.store) == 2


@pytest.mark.engines("sqlite")
@in_loop
async def test_a_router_that_delivers_nothing_has_caught_up(database: str) -> None:
    """Without a worker there is nothing to wait for."""
    async with Router(database, delivers=False) as router:
        await router.catch_up()
