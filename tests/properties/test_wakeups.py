"""A wake-up that is lost delays nothing by more than the poll."""

import asyncio
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from router.clock import Clock
from router.dispatcher import Dispatcher
from router.events import Event
from router.intake import POLL
from router.log import EventLog
from router.options import Options
from router.store import Store
from tests.bench import HandClock
from tests.entries import append_messages
from tests.properties.grounds import Ground
from tests.subscribers import make_subscription
from tests.waiting import until


async def deliver_untold(
    log: EventLog, clock: HandClock, chunks: Sequence[str], lanes: int
) -> None:
    """Append chunk after chunk, tell nobody, and wait for each until a poll has passed."""
    handled: list[int] = []

    def on_event(event: Event) -> None:
        handled.append(event.position)

    options = Options(start="beginning", lanes=lanes)
    dispatcher = Dispatcher(
        [make_subscription(options=options, on_event=on_event)],
        log=log,
        clock=Clock(now=log.store.now, sleep=clock.sleep, random=lambda: 0.5),
    )
    await dispatcher.start()
    try:
        for chunk in chunks:
            await until(lambda: clock.sleepers == 1 + lanes)  # all of them wait, and who looks
            append_messages(log, chunk)
            clock.advance(POLL)
            await until(lambda: len(handled) == log.head())
    finally:
        stopping = asyncio.create_task(dispatcher.stop())
        await stopping


@settings(max_examples=settings().max_examples // 10)
@given(
    chunks=st.lists(st.text("abc", min_size=1, max_size=5), min_size=1, max_size=4),
    lanes=st.integers(1, 2),
)
def test_a_lost_wake_up_costs_no_more_than_the_poll(
    ground: Ground, chunks: list[str], lanes: int
) -> None:
    """Whoever is never told that events have come finds them within one poll."""
    with ground.laid() as url:
        clock = HandClock()
        store = Store(url, clock=clock.seconds)
        try:
            asyncio.run(deliver_untold(EventLog(store), clock, chunks, lanes))
        finally:
            store.close()
