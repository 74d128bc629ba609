"""Workers for tests: dispatchers that look around often, so that nobody waits for them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from router.alerts import Tell
from router.clock import Clock
from router.dispatcher import DRAIN, Dispatcher
from router.log import EventLog
from router.subscriptions import Subscription

SHORT = 0.01  # seconds


async def nap(seconds: float) -> None:
    """Sleep, but not for long: whoever wakes up looks whether it is time by itself."""
    await asyncio.sleep(min(seconds, SHORT))


def make_dispatcher(
    log: EventLog,
    *subscriptions: Subscription,
    drain: float = DRAIN,
    listeners: Sequence[Tell] = (),
) -> Dispatcher:
    """Return a dispatcher on the database's clock."""
    clock = Clock(now=log.store.now, sleep=nap, random=lambda: 0.5)
    return Dispatcher(subscriptions, log=log, drain=drain, clock=clock, listeners=listeners)


@asynccontextmanager
async def dispatching(
    log: EventLog,
    *subscriptions: Subscription,
    drain: float = DRAIN,
    listeners: Sequence[Tell] = (),
) -> AsyncIterator[Dispatcher]:
    """Deliver to ``subscriptions`` until the end of the block, then stop in good order."""
    dispatcher = make_dispatcher(log, *subscriptions, drain=drain, listeners=listeners)
    await dispatcher.start()
    try:
        yield dispatcher
    finally:
        await dispatcher.stop()
