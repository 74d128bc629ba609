"""An open loop of traffic: notifications are sent when they are due, however the receiver fares."""

import asyncio
from collections.abc import Iterator
from itertools import count

from router.testing.coreapp.courier import Courier
from router.testing.shop.facts import Posting

BOUND = 50_000  # notifications that may be unsettled before the traffic waits
_TURN = 64  # notifications that are sent at a stretch, at most


async def play(
    drawn: Iterator[Posting],
    courier: Courier,
    *,
    rate: float,
    seconds: float | None = None,
    most: int | None = None,
    bound: int = BOUND,
) -> None:
    """Submit notifications at an even rate.

    The ledger's ``behind`` says how late the sender was: because it is too slow itself, or because
    ``bound`` notifications were unsettled.

    Args:
        drawn: The notifications.
        courier: What sends them.
        rate: Notifications a second.
        seconds: For how long; None means without end.
        most: How many; likewise.
        bound: How many may be unsettled, lest the memory fill.
    """
    loop, ledger = asyncio.get_running_loop(), courier.ledger
    began = loop.time()
    end = began + seconds if seconds is not None else float("inf")
    for number in count():
        due = began + number / rate
        if due >= end or number == most:
            return
        if (pause := due - loop.time()) > 0:
            await asyncio.sleep(pause)
        elif number % _TURN == 0:
            await asyncio.sleep(0)  # answers must be read, whatever is due
        if courier.unsettled >= bound:
            await courier.wait_below(bound)
        ledger.behind = max(ledger.behind, loop.time() - due)
        courier.submit(next(drawn), due=due)


async def settle(courier: Courier, *, seconds: float) -> None:
    """Wait until everything is settled, but no longer than ``seconds``."""
    try:
        async with asyncio.timeout(seconds):
            await courier.wait_below(1)
    except TimeoutError:
        pass
