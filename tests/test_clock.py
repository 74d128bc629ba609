"""Tests of `router.clock`: time and chance are passed in, and waited by."""

import asyncio
import time

import pytest

from router.clock import Clock, ServerClock
from router.store import Store
from tests.bench import HandClock
from tests.loops import in_loop
from tests.waiting import until


def make(hand: HandClock) -> Clock:
    """Return a clock that is moved by hand."""
    return Clock(now=lambda: hand.micros, sleep=hand.sleep, random=lambda: 0.5)


@in_loop
async def test_what_is_set_is_waited_for_no_longer() -> None:
    """Whoever waits for something goes on as soon as it is there, without any time passing."""
    hand, event = HandClock(), asyncio.Event()
    waiting = asyncio.create_task(make(hand).wait_for(event, seconds=60))
    await until(lambda: hand.sleepers)
    event.set()
    assert await waiting
    await until(lambda: hand.sleepers == 0)


@in_loop
async def test_what_does_not_come_is_waited_for_so_long() -> None:
    """After the time, not a microsecond sooner, the waiting ends and says that nothing came."""
    hand, event = HandClock(), asyncio.Event()
    waiting = asyncio.create_task(make(hand).wait_for(event, seconds=60))
    await until(lambda: hand.sleepers)
    hand.advance(59.999_999)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    hand.advance(0.000_001)
    assert not await waiting


@in_loop
async def test_nothing_is_left_of_a_waiting_that_was_cancelled() -> None:
    """A stop in the middle of it leaves no timer behind."""
    hand, event = HandClock(), asyncio.Event()
    waiting = asyncio.create_task(make(hand).wait_for(event, seconds=60))
    await until(lambda: hand.sleepers)
    waiting.cancel()
    await asyncio.wait((waiting,))
    await until(lambda: hand.sleepers == 0)
    assert len(asyncio.all_tasks()) == 1


class Watch:
    """Stands for the machine's two clocks.

    Attributes:
        wall: Seconds since 1970; somebody may set it.
        steady: Seconds of the one that only goes forward.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.steady = 5_000.0, 70.0
        monkeypatch.setattr(time, "time", lambda: self.wall)
        monkeypatch.setattr(time, "monotonic", lambda: self.steady)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """The machine's clocks, which stand still."""
    return Watch(monkeypatch)


def test_a_server_clock_that_was_not_set_is_the_machines(watch: Watch) -> None:
    """So it is where there is no server that has one."""
    clock = ServerClock()
    assert clock() == 5_000.0
    clock.set(lambda: None)
    watch.wall += 3
    assert clock() == 5_003.0


def test_a_server_clock_goes_by_the_server(watch: Watch) -> None:
    """It goes on by the time that passes here, wherever somebody sets the machine's clock."""
    clock = ServerClock()
    clock.set(lambda: 9_000.0)
    watch.wall, watch.steady = 1.0, watch.steady + 0.5
    assert clock() == 9_000.5


def test_a_server_clock_takes_the_middle_of_the_answers_way(watch: Watch) -> None:
    """The server has told its time half way between question and answer."""
    clock = ServerClock()

    def ask() -> float:
        watch.steady += 4
        return 9_000.0

    clock.set(ask)
    assert clock() == 9_002.0


def test_a_server_is_asked_once_a_second(watch: Watch) -> None:
    """A moment later the clock is still right; then it is set anew, and may go back."""
    clock, told = ServerClock(), iter([9_000.0, 8_000.0])
    clock.set(lambda: next(told))
    watch.steady += 0.999
    clock.set(lambda: next(told))
    assert clock() == 9_000.999
    watch.steady += 0.001
    clock.set(lambda: next(told))
    assert clock() == 8_000.0


def test_a_server_that_fails_is_not_asked_at_once_again(watch: Watch) -> None:
    """The clock goes on as it was set before, or as the machine's."""
    clock = ServerClock()

    def fail() -> float:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        clock.set(fail)
    clock.set(fail)
    assert clock() == 5_000.0


def test_a_store_goes_by_its_database(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once something was written or read, it knows the server's time, whatever the machine's is."""
    store = Store(database)
    monkeypatch.setattr(time, "time", lambda: 5_000.0)
    assert store.now() == 5_000_000_000
    with store.reading():
        pass
    has_server = store.engine.dialect.name == "postgresql"
    assert (store.now() > 1_700_000_000_000_000) is has_server
    store.close()
