"""Tests of `router.standstill`: an async handler that blocks the event loop is named."""

import asyncio
import logging
import threading
from collections.abc import Iterator

import pytest

from router.events import Event
from router.log import EventLog
from router.standstill import watching
from tests.dispatching import dispatching
from tests.entries import append_messages
from tests.loops import in_loop
from tests.subscribers import make_subscription
from tests.waiting import until

LOGGER = "router.standstill"
SOON = 0.01  # seconds
LIMIT = 60.0


class Told(logging.Handler):
    """Learns of the warnings.

    Attributes:
        is_told: Set at the first one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_told = threading.Event()

    def emit(self, _record: logging.LogRecord) -> None:
        """Note that there is one."""
        self.is_told.set()


@pytest.fixture
def told() -> Iterator[Told]:
    """Hears of the warnings."""
    told = Told()
    logging.getLogger(LOGGER).addHandler(told)
    yield told
    logging.getLogger(LOGGER).removeHandler(told)


@pytest.mark.engines("sqlite")
@in_loop
async def test_a_handler_that_blocks_the_loop_is_named(
    log: EventLog, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, with its plugin, its hook and its line, while it blocks; then it is done as ever."""
    blocked: list[bool] = []

    async def on_message(event: Event) -> None:
        blocked.append(told.is_told.wait(LIMIT))  # without an await: nothing else can run

    subscription = make_subscription("crm", on_message=on_message)
    append_messages(log, ["ana", "ben"])
    with watching([subscription], patience=SOON):
        async with dispatching(log, subscription):
            await until(lambda: len(blocked) == 2)

    assert blocked == [True, True]
    (record,) = [one for one in caplog.records if one.name == LOGGER]
    line = on_message.__code__.co_firstlineno + 1
    assert "plugin 'crm': on_message() blocks the event loop" in record.message
    assert f"{__file__}:{line}:" in record.message
    assert "asyncio.to_thread()" in record.message


@pytest.mark.engines("sqlite")
@in_loop
async def test_what_blocks_in_a_plain_handler_is_its_own_affair(log: EventLog, told: Told) -> None:
    """It has a thread; and the handlers that wait as they should are not blamed for others."""
    seen = threading.Event()

    def on_message(event: Event) -> None:
        seen.wait(LIMIT)

    async def on_sent(event: Event) -> None:
        await asyncio.sleep(0)

    subscription = make_subscription("crm", on_message=on_message, on_sent=on_sent)
    append_messages(log, ["ana"])
    with watching([subscription], patience=SOON):
        async with dispatching(log, subscription):
            await asyncio.to_thread(told.is_told.wait, 10 * SOON)
            seen.set()

    assert not told.is_told.is_set()


@in_loop
async def test_only_loops_with_async_handlers_are_watched() -> None:
    """Where all handlers are plain there is no thread; else it ends with the block."""

    def plain(event: Event) -> None: ...

    async def on_message(event: Event) -> None: ...

    def is_watched() -> bool:
        return any(one.name == LOGGER.replace(".", "-") for one in threading.enumerate())

    with watching([make_subscription(on_message=plain)], patience=SOON):
        assert not is_watched()
    with watching([make_subscription(on_message=on_message)], patience=SOON):
        assert is_watched()
    await until(lambda: not is_watched())
