"""Tests of `router.queues`: what was read waits for its first attempts, subject by subject."""

import asyncio
import sys
from collections.abc import Callable, Sequence

import pytest
from msgspec import structs
from sqlalchemy import Connection

from router.events import Event
from router.options import Options
from router.queues import MOST, TURN, AsyncQueue, BatchQueue
from router.retry import Reject
from tests.entries import append_messages
from tests.loops import in_loop
from tests.recorder import Recorder
from tests.subscribers import EAGER, make_subscription
from tests.waiting import until
from tests.workshop import MakeWorkshop, Workshop

# One engine is enough: what is tested is the order of calls, not SQL.
pytestmark = pytest.mark.engines("sqlite")


def add_all(shop: Workshop, queue: AsyncQueue | BatchQueue, conversations: Sequence[str]) -> None:
    """Append messages, and let the queue have them."""
    append_messages(shop.log, conversations)
    queue.add(shop.take())


# Async handlers.


def open_shop(
    make_workshop: MakeWorkshop, recorder: Recorder, options: Options = EAGER
) -> tuple[Workshop, AsyncQueue]:
    """Return a workshop for the plugin of this handler, and its queue."""
    shop = make_workshop(make_subscription("crm", options, on_event=recorder.on_event))
    return shop, make_queue(shop)


def make_queue(shop: Workshop, monotonic: Callable[[], float] = lambda: 0) -> AsyncQueue:
    """Return a queue of the workshop's."""
    return AsyncQueue(
        attempts=shop.attempts,
        firsts=shop.firsts,
        slots=shop.slots,
        ledger=shop.ledger,
        breaker=shop.breaker,
        monotonic=monotonic,
    )


@in_loop
async def test_each_subject_has_a_line_of_its_own(make_workshop: MakeWorkshop) -> None:
    """Its events are handed over one after another; other subjects do not wait for it."""
    recorder = Recorder()
    shop, queue = open_shop(make_workshop, recorder)
    recorder.hold(1)
    add_all(shop, queue, ["ana", "ben", "ana", "ben"])
    await until(lambda: shop.pending == [1, 3])
    recorder.let_go(1)
    await until(lambda: queue.is_empty)
    assert recorder.positions == [2, 4, 1, 3]
    assert shop.pending == []


@in_loop
async def test_what_is_behind_a_failure_is_set_aside(make_workshop: MakeWorkshop) -> None:
    """It is settled without a call, and the next event of the subject begins a new line."""
    recorder = Recorder()
    shop, queue = open_shop(make_workshop, recorder)
    recorder.fail(1, ValueError("busy"))
    add_all(shop, queue, ["ana", "ana", "ana", "ben"])
    await until(lambda: queue.is_empty)
    assert sorted(recorder.calls) == [(1, 1), (4, 1)]
    assert (shop.pending, shop.blocked()) == ([], {":ana": 1})


@in_loop
async def test_an_open_breaker_halts_what_is_new(make_workshop: MakeWorkshop) -> None:
    """One event at a time is a probe; a success lets all go on, each subject in its order."""
    recorder = Recorder()
    shop, queue = open_shop(make_workshop, recorder)
    shop.open_breaker()
    add_all(shop, queue, ["ana", "ana", "ben", "cleo"])
    recorder.fail(1, ValueError("busy"))
    await asyncio.sleep(0)
    assert (recorder.calls, queue.is_empty) == ([], False)
    queue.resume(most=1)
    await until(lambda: shop.parked() and shop.slots.is_idle)
    assert (recorder.calls, shop.pending) == ([(1, 1)], [3, 4])
    queue.resume(most=1)
    await until(lambda: shop.pending == [4])
    assert not shop.breaker.is_open
    queue.resume()
    await until(lambda: queue.is_empty)
    assert recorder.calls == [(1, 1), (3, 1), (4, 1)]


@in_loop
async def test_a_line_is_halted_in_the_middle(make_workshop: MakeWorkshop) -> None:
    """When the breaker opens during a call, what is behind it waits for the breaker, too."""
    recorder = Recorder()
    shop, queue = open_shop(make_workshop, recorder, Options(start="beginning", on_dead="release"))
    recorder.hold(1)
    add_all(shop, queue, ["ana", "ana"])
    await until(lambda: recorder.underway)
    recorder.fail(1, ValueError("busy"))
    shop.slots.add(lambda: _open(shop))
    await until(lambda: shop.breaker.is_open)
    add_all(shop, queue, ["ben"])
    recorder.let_go(1)
    await until(lambda: shop.slots.is_idle)
    assert (recorder.calls, shop.pending, queue.is_empty) == ([(1, 1)], [3], False)


async def _open(shop: Workshop) -> None:
    shop.open_breaker()


@in_loop
async def test_a_probe_that_is_refused_is_one_call(make_workshop: MakeWorkshop) -> None:
    """Though its subject does not wait behind it: the breaker is as open as before."""
    recorder = Recorder()
    shop, queue = open_shop(make_workshop, recorder)
    shop.open_breaker()
    recorder.fail(1, Reject("no"))
    add_all(shop, queue, ["ana", "ana"])
    queue.resume(most=1)
    await until(lambda: shop.parked() and shop.slots.is_idle)
    assert (recorder.calls, shop.pending, queue.is_empty) == ([(1, 1)], [2], False)


@in_loop
async def test_what_has_not_begun_at_a_stop_stays_unsettled(make_workshop: MakeWorkshop) -> None:
    """The next owner takes it up."""
    recorder = Recorder()
    shop, queue = open_shop(make_workshop, recorder, Options(start="beginning", concurrency=1))
    recorder.hold(1)
    add_all(shop, queue, ["ana", "ana", "ben"])
    await until(lambda: recorder.underway)
    shop.slots.close()
    queue.stop()
    recorder.let_go(1)
    await until(lambda: shop.slots.is_idle)
    assert (recorder.calls, shop.pending) == ([(1, 1)], [2, 3])


@in_loop
async def test_long_lines_let_others_in(make_workshop: MakeWorkshop) -> None:
    """A subject of which much waits does not keep a place that others wait for."""
    recorder = Recorder()
    shop, queue = open_shop(make_workshop, recorder, Options(start="beginning", concurrency=1))
    add_all(shop, queue, ["ana", "ana", "ana", "ben", "cem"])
    await until(lambda: len(recorder.handled) == 5)
    assert recorder.positions == [1, 4, 5, 2, 3]


@in_loop
async def test_calls_that_are_cut_stay_unsettled(make_workshop: MakeWorkshop) -> None:
    """Even one that succeeds all the same: its delivery is somebody else's by then."""
    deaf, ended = asyncio.Event(), asyncio.Event()

    async def on_event(event: Event) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await deaf.wait()
            ended.set()

    shop = make_workshop(make_subscription("crm", EAGER, on_event=on_event))
    queue = make_queue(shop)
    add_all(shop, queue, ["ana", "ana"])
    await asyncio.sleep(0)
    shop.slots.cancel()
    assert shop.slots.is_idle
    deaf.set()
    await ended.wait()
    await until(lambda: shop.turns.try_take(":ana"))
    assert (shop.pending, shop.parked()) == ([1, 2], {})


@in_loop
async def test_what_goes_wrong_at_the_end_of_a_call_ends_the_delivery(
    make_workshop: MakeWorkshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for a call: a lane whose book is in disorder would stand still, unnoticed."""
    recorder = Recorder()
    shop, queue = open_shop(make_workshop, recorder)
    monkeypatch.setattr(shop.ledger, "accept", None)
    add_all(shop, queue, ["ana"])
    await until(lambda: shop.slots.is_idle)
    with pytest.raises(TypeError):
        shop.slots.raise_error()


@in_loop
async def test_calls_that_wait_for_nothing_share_a_task(make_workshop: MakeWorkshop) -> None:
    """The one that waits keeps it, and those behind have another; each sees its own throughout."""
    tasks: dict[int, set[object]] = {}

    async def on_event(event: Event) -> None:
        tasks[event.position] = {asyncio.current_task()}
        if event.position == 3:
            await asyncio.sleep(0.01)
            tasks[event.position].add(asyncio.current_task())

    shop = make_workshop(make_subscription("crm", EAGER, on_event=on_event))
    queue = make_queue(shop)
    add_all(shop, queue, ["ana", "ben", "cem", "dora", "eli"])
    await until(lambda: queue.is_empty)
    assert tasks[1] == tasks[2] == tasks[3]
    assert tasks[4] == tasks[5] != tasks[3]
    assert shop.pending == []


@in_loop
@pytest.mark.parametrize("is_taken_back", [False, True])
async def test_a_handler_that_cancels_its_task_harms_no_other(
    make_workshop: MakeWorkshop, *, is_taken_back: bool
) -> None:
    """Though it waits for nothing: its own call has failed, those beside it go on."""
    handled: list[int] = []

    async def on_event(event: Event) -> None:
        if event.position == 2:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            if is_taken_back:  # of which the task knows nothing before Python 3.13
                task.uncancel()
            return
        await asyncio.sleep(0)
        handled.append(event.position)

    shop = make_workshop(make_subscription("crm", EAGER, on_event=on_event))
    queue = make_queue(shop)
    add_all(shop, queue, ["ana", "ben", "cem"])
    await until(lambda: queue.is_empty and shop.slots.is_idle)
    shop.slots.raise_error()
    has_failed = not is_taken_back or sys.version_info < (3, 13)
    assert (handled, list(shop.parked())) == ([1, 3], [2] if has_failed else [])


@in_loop
async def test_many_calls_that_wait_are_soon_all_under_way(make_workshop: MakeWorkshop) -> None:
    """Each round of the loop begins twice as many, and no more than there are places."""
    recorder = Recorder()
    options = Options(start="beginning", concurrency=12)
    shop, queue = open_shop(make_workshop, recorder, options)
    recorder.hold(*range(1, 21))
    add_all(shop, queue, [f"contact {number}" for number in range(20)])
    for _ in range(4):
        await asyncio.sleep(0)
    assert len(recorder.calls) == 12
    recorder.let_go(*range(1, 21))
    await until(lambda: queue.is_empty)


@in_loop
async def test_what_goes_wrong_beside_a_call_leaves_its_turn(
    make_workshop: MakeWorkshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that nobody ends any more must not keep its subject from the lane's next owner."""
    recorder = Recorder()
    shop, queue = open_shop(make_workshop, recorder)
    monkeypatch.setattr(shop.caller, "_conclude", None)
    recorder.fail(1, ValueError("busy"))
    recorder.hold(2)
    add_all(shop, queue, ["ana", "ben"])
    recorder.let_go(2)
    await until(lambda: shop.slots.is_idle)
    assert [shop.turns.try_take(f":{name}") for name in ("ana", "ben")] == [True, True]


@in_loop
async def test_long_runs_of_calls_let_the_loop_go_on(make_workshop: MakeWorkshop) -> None:
    """Handlers that wait for nothing do not keep it for longer than a turn."""
    seen: list[int] = []
    others: list[int] = []
    now = 0.0

    async def on_event(event: Event) -> None:
        nonlocal now
        now += TURN / 2
        seen.append(len(others))

    async def go_on() -> None:
        while len(seen) < 8:
            others.append(0)
            await asyncio.sleep(0)

    shop = make_workshop(make_subscription("crm", EAGER, on_event=on_event))
    queue = make_queue(shop, lambda: now)
    add_all(shop, queue, list("abcdefgh"))
    await go_on()
    assert all(seen.count(at) <= 2 for at in seen)
    assert len(set(seen)) >= 4


# Transactional ones.


class Writer:
    """A transactional handler.

    Attributes:
        calls: The positions.
        failing: Where it fails.
    """

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.failing: set[int] = set()

    def on_event(self, event: Event, connection: Connection) -> None:
        """Handle an event."""
        self.calls.append(event.position)
        if event.position in self.failing:
            raise ValueError("busy")


def open_batches(
    make_workshop: MakeWorkshop, writer: Writer, options: Options = EAGER
) -> tuple[Workshop, BatchQueue]:
    """Return a workshop for the plugin of this handler, and its queue."""
    shop = make_workshop(make_subscription("crm", options, on_event=writer.on_event))
    return shop, BatchQueue(
        firsts=shop.firsts, slots=shop.slots, ledger=shop.ledger, breaker=shop.breaker
    )


@in_loop
async def test_batches_follow_one_another_in_log_order(make_workshop: MakeWorkshop) -> None:
    """However many it takes, each event is called for once, and what is done is on record."""
    writer = Writer()
    shop, queue = open_batches(make_workshop, writer)
    add_all(shop, queue, [str(number % 7) for number in range(2 * MOST)])
    await until(lambda: queue.is_empty)
    assert writer.calls == list(range(1, 2 * MOST + 1))
    assert shop.recorded()[:2] == (2 * MOST, "[]")


@in_loop
async def test_what_is_blocked_is_not_offered(make_workshop: MakeWorkshop) -> None:
    """What waits behind a failed one of its subject is settled, and called for by nobody."""
    writer = Writer()
    shop, queue = open_batches(make_workshop, writer)
    writer.failing = {1}
    add_all(shop, queue, ["ana", "ben"] * 50)
    await until(lambda: queue.is_empty)
    assert writer.calls == [1, *range(2, 101, 2)]
    assert (shop.pending, list(shop.parked())) == ([], [1])


@in_loop
async def test_an_open_breaker_halts_batches(make_workshop: MakeWorkshop) -> None:
    """A probe is a batch of one."""
    writer = Writer()
    shop, queue = open_batches(make_workshop, writer)
    shop.open_breaker()
    writer.failing = {1}
    add_all(shop, queue, ["ana", "ben", "cleo"])
    await until(lambda: shop.slots.is_idle)
    assert writer.calls == []
    queue.resume(most=1)
    await until(lambda: shop.parked() and shop.slots.is_idle)
    assert writer.calls == [1]
    queue.resume(most=1)
    await until(lambda: queue.is_empty)
    assert writer.calls == [1, 2, 3]


@in_loop
async def test_a_batch_in_line_is_halted(make_workshop: MakeWorkshop) -> None:
    """When the breaker opens while it waits for its slot; it goes on when that has closed."""
    writer = Writer()
    shop, queue = open_batches(make_workshop, writer, structs.replace(EAGER, concurrency=1))
    shop.slots.add(lambda: _open(shop))  # as a retry would that fails
    add_all(shop, queue, ["ana", "ben"])
    await until(lambda: shop.slots.is_idle)
    assert (writer.calls, shop.pending, queue.is_empty) == ([], [1, 2], False)
    queue.resume(most=1)
    await until(lambda: queue.is_empty)
    assert writer.calls == [1, 2]


@in_loop
async def test_what_is_behind_a_failure_waits_on_record_at_once(
    make_workshop: MakeWorkshop,
) -> None:
    """Even if no other batch comes for long: else its subject would go on, and it come twice."""
    writer = Writer()
    shop, queue = open_batches(make_workshop, writer)
    shop.open_breaker()
    writer.failing = {1}
    add_all(shop, queue, ["ana", "ben", "ana"])
    queue.resume(most=1)
    await until(lambda: shop.parked() and shop.slots.is_idle)
    assert (writer.calls, shop.pending) == ([1], [2])


@pytest.mark.parametrize("is_cut", [False, True])
@in_loop
async def test_a_stop_leaves_whole_batches_unsettled(
    make_workshop: MakeWorkshop,
    is_cut: bool,  # noqa: FBT001
) -> None:
    """What was not called for is the next owner's."""
    writer = Writer()
    shop, queue = open_batches(make_workshop, writer)
    shop.slots.close()
    add_all(shop, queue, ["ana", "ben"])
    if is_cut:
        shop.slots.cancel()
    queue.stop()
    assert (writer.calls, shop.pending, queue.is_empty) == ([], [1, 2], False)
    assert shop.slots.is_idle
