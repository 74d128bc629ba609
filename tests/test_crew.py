"""Tests of `router.crew`: threads that take the next piece of work by themselves."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from router.crew import Crew
from tests.loops import in_loop
from tests.waiting import until

NAME = "test-crew"


@pytest.fixture
def crew() -> Iterator[Crew]:
    """A crew of at most four."""
    crew = Crew(4, name=NAME)
    yield crew
    crew.close()


@pytest.fixture
def large_crew() -> Iterator[Crew]:
    """A crew of at most 64, patient enough for a busy machine."""
    crew = Crew(64, name=NAME, patience=0.05)
    yield crew
    crew.close()


def count_threads() -> int:
    """How many of the crews' threads there are."""
    return sum(1 for thread in threading.enumerate() if thread.name.startswith(NAME))


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """Every thread of a crew ends once it is closed."""
    yield
    asyncio.run(until(lambda: count_threads() == 0))


@pytest.mark.parametrize("parts", [1, 200])
@in_loop
async def test_work_that_gets_on_calls_in_nobody(large_crew: Crew, parts: int) -> None:
    """However much there is of it: more threads would only stand in each other's way.

    A busy machine may hold up the first thread now and then; that makes a few, not all.
    """
    done: list[int] = []

    def work(number: int) -> None:
        for _ in range(parts):
            sum(range(5_000))
            large_crew.count_one()
        done.append(number)

    for number in range(4_000 // parts):
        large_crew.add([lambda number=number: work(number)])  # type: ignore[misc]
    await until(lambda: len(done) == 4_000 // parts)
    assert count_threads() <= 4


@in_loop
async def test_work_that_waits_calls_in_more(crew: Crew) -> None:
    """Threads that do not get on are joined by others, up to the limit and no further."""
    may_end = threading.Event()
    begun: list[int] = []
    done: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        may_end.wait(10)
        done.append(number)

    for number in range(6):
        crew.add([lambda number=number: work(number)])  # type: ignore[misc]
    await until(lambda: len(begun) == 4)
    await asyncio.sleep(0.02)  # in which it looks several times
    assert (begun, count_threads()) == ([0, 1, 2, 3], 4)
    may_end.set()
    await until(lambda: len(done) == 6)
    assert count_threads() == 4


@in_loop
async def test_no_thread_is_called_in_before_anybody_looks(crew: Crew) -> None:
    """Whatever is added at once waits for the one that has begun."""
    may_end = threading.Event()
    crew.add([lambda: _wait(may_end)])
    await until(lambda: count_threads() == 1)
    for _ in range(3):
        crew.add([lambda: None])
    assert count_threads() == 1
    may_end.set()


@in_loop
async def test_a_thread_that_is_idle_is_used_again(large_crew: Crew) -> None:
    """Work that comes one by one needs hardly more than one thread."""
    for number in range(100):
        done = large_crew.submit(lambda: number)  # noqa: B023
        assert await asyncio.wrap_future(done) == number
    assert count_threads() <= 8


@in_loop
async def test_what_is_urgent_goes_first(crew: Crew) -> None:
    """It waits for a thread, but not for what waits already."""
    may_end = threading.Event()
    done: list[str] = []
    only = Crew(1, name=NAME)
    only.add([lambda: _wait(may_end)])
    for name in ("one", "two"):
        only.add([lambda name=name: done.append(name)])  # type: ignore[misc]
    only.add([lambda: done.append("urgent")], is_urgent=True)
    call = only.submit(lambda: done.append("called"))
    may_end.set()
    await asyncio.wrap_future(call)
    await until(lambda: len(done) == 4)
    assert done == ["called", "urgent", "one", "two"]
    only.close()


def _wait(event: threading.Event) -> None:
    event.wait(10)


@in_loop
async def test_what_a_call_returns_or_raises_is_told(crew: Crew) -> None:
    """Whoever waits for it gets that; the thread goes on with the next."""

    def fail() -> None:
        raise SystemExit(3)  # of all errors the one that would end a thread in silence

    with pytest.raises(SystemExit):
        await asyncio.wrap_future(crew.submit(fail))
    assert await asyncio.wrap_future(crew.submit(lambda: "well")) == "well"


@in_loop
async def test_a_call_that_was_cancelled_is_not_made() -> None:
    """Nobody waits for it any more."""
    crew = Crew(1, name=NAME)
    may_end = threading.Event()
    made: list[int] = []
    crew.add([lambda: _wait(may_end)])
    call = crew.submit(lambda: made.append(1))
    assert call.cancel()
    may_end.set()
    await asyncio.wrap_future(crew.submit(lambda: None))
    assert made == []
    crew.close()


@in_loop
async def test_a_closed_crew_begins_nothing(crew: Crew) -> None:
    """What is under way ends; what waits is dropped, and what comes is refused."""
    may_end, has_ended = threading.Event(), threading.Event()
    done: list[int] = []

    def work() -> None:
        may_end.wait(10)
        has_ended.set()

    only = Crew(1, name=NAME)
    only.add([work])
    only.add([lambda: done.append(1)])
    only.close()
    may_end.set()
    await until(has_ended.is_set)
    await until(lambda: count_threads() == 0)
    assert done == []
    with pytest.raises(RuntimeError, match="have been let go"):
        only.submit(lambda: None)
