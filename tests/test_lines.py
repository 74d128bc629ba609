"""Tests of `router.lines`: threads take one subject's events after another."""

import asyncio
import threading

import pytest

from router.events import Event
from router.lines import PlainQueue
from router.options import Options
from router.retry import Reject
from tests.entries import append_messages
from tests.loops import in_loop
from tests.subscribers import EAGER, make_subscription
from tests.waiting import until
from tests.workshop import MakeWorkshop, Workshop

# One engine is enough: what is tested is the order of calls, not SQL.
pytestmark = pytest.mark.engines("sqlite")


class Handler:
    """A plain handler that notes its calls, and waits or fails where it is to.

    Attributes:
        calls: The positions, as the calls began.
        failing: Where it fails.
        underway: The subjects of the calls under way; `doubled`, those that were there twice.
    """

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.failing: dict[int, Exception] = {}
        self.underway: list[str] = []
        self.doubled: list[str] = []
        self._doors: dict[int, threading.Event] = {}

    def hold(self, *positions: int) -> None:
        """Wait in these calls."""
        self._doors |= {position: threading.Event() for position in positions}

    def let_go(self, *positions: int) -> None:
        """End the waiting in these calls."""
        for position in positions:
            self._doors[position].set()

    def on_event(self, event: Event) -> None:
        """Handle an event."""
        self.calls.append(event.position)
        if event.subject in self.underway:
            self.doubled.append(event.subject)
        self.underway.append(event.subject)
        try:
            if event.position in self._doors:
                assert self._doors[event.position].wait(10)
            if event.position in self.failing:
                raise self.failing[event.position]
        finally:
            self.underway.remove(event.subject)


def open_shop(
    make_workshop: MakeWorkshop, handler: Handler, options: Options = EAGER
) -> tuple[Workshop, PlainQueue]:
    """Return a workshop for the plugin of this handler, and its queue."""
    shop = make_workshop(make_subscription("crm", options, on_event=handler.on_event))
    return shop, PlainQueue(
        attempts=shop.attempts,
        firsts=shop.firsts,
        slots=shop.slots,
        ledger=shop.ledger,
        breaker=shop.breaker,
        on_change=shop.note_change,
    )


def add_all(shop: Workshop, queue: PlainQueue, conversations: list[str]) -> None:
    """Append messages, and let the queue have them."""
    append_messages(shop.log, conversations)
    queue.add(shop.take())


def is_idle(shop: Workshop, queue: PlainQueue) -> bool:
    """Whether nothing is under way."""
    return shop.slots.is_idle and not queue.is_calling


@in_loop
async def test_each_subject_is_called_in_order(make_workshop: MakeWorkshop) -> None:
    """On however many threads, one call at a time for each; all is settled, nothing is left."""
    handler = Handler()
    shop, queue = open_shop(make_workshop, handler)
    names = [name for name in ("ana", "ben", "cleo") for _ in range(3)]
    add_all(shop, queue, names * 20)
    handler.hold(181)
    add_all(shop, queue, ["dora"])
    await until(lambda: shop.pending == [181])
    handler.let_go(181)
    await until(lambda: queue.is_empty)
    assert (handler.doubled, shop.pending) == ([], [])
    for at in range(3):
        of = [one for one in handler.calls if one <= 180 and (one - 1) % 9 // 3 == at]
        assert of == sorted(of)
        assert len(of) == 60


@in_loop
async def test_subjects_that_wait_hold_up_no_other(make_workshop: MakeWorkshop) -> None:
    """More threads are called in while the calls wait, as many as are agreed on."""
    handler = Handler()
    shop, queue = open_shop(make_workshop, handler, Options(start="beginning", concurrency=3))
    handler.hold(1, 2, 3, 4)
    add_all(shop, queue, ["ana", "ben", "cleo", "dora"])
    await until(lambda: len(handler.calls) == 3)
    handler.let_go(2)
    await until(lambda: len(handler.calls) == 4)
    assert shop.pending == [1, 3, 4]
    handler.let_go(1, 3, 4)
    await until(lambda: queue.is_empty)


@in_loop
async def test_a_failure_parks_its_event_and_blocks_its_subject(
    make_workshop: MakeWorkshop,
) -> None:
    """What is behind it is settled without a call: it waits on record. Others go on."""
    handler = Handler()
    shop, queue = open_shop(make_workshop, handler)
    handler.failing[1] = ValueError("busy")
    add_all(shop, queue, ["ana", "ana", "ben", "ana"])
    await until(lambda: queue.is_empty)
    assert sorted(handler.calls) == [1, 3]
    assert shop.pending == []
    assert list(shop.parked()) == [1]
    assert shop.blocked() == shop.ledger.blocked == {":ana": 1}
    await until(lambda: is_idle(shop, queue))


@in_loop
async def test_what_is_dead_and_released_holds_up_nobody(make_workshop: MakeWorkshop) -> None:
    """Behind a rejected event its subject goes on at once."""
    handler = Handler()
    shop, queue = open_shop(make_workshop, handler)
    handler.failing[1] = Reject("no")
    add_all(shop, queue, ["ana", "ana"])
    await until(lambda: queue.is_empty)
    assert handler.calls == [1, 2]
    assert (shop.blocked(), shop.dead) == ({}, [(1, 1)])


@in_loop
async def test_nothing_new_is_tried_while_the_breaker_is_open(make_workshop: MakeWorkshop) -> None:
    """What is added or waits is halted; one event is a probe, and a success lets all go on."""
    handler = Handler()
    shop, queue = open_shop(make_workshop, handler)
    handler.hold(1)
    add_all(shop, queue, ["ana", "ana", "ben", "ben"])
    await until(lambda: 1 in handler.calls and shop.pending == [1, 2])
    shop.open_breaker()
    handler.let_go(1)
    add_all(shop, queue, ["cleo"])
    handler.failing[2] = ValueError("busy")
    await until(lambda: not shop.breaker.is_open)  # the call under way has succeeded
    queue.resume()
    await until(lambda: queue.is_empty)
    assert sorted(handler.calls) == [1, 2, 3, 4, 5]


@in_loop
async def test_one_event_is_tried_as_a_probe(make_workshop: MakeWorkshop) -> None:
    """A probe is one call, whatever waits behind it; when it fails everything else stays halted."""
    handler = Handler()
    shop, queue = open_shop(make_workshop, handler)
    shop.open_breaker()
    add_all(shop, queue, ["ana", "ana", "ben", "cleo"])
    await asyncio.sleep(0.01)
    assert (handler.calls, is_idle(shop, queue), queue.is_empty) == ([], True, False)
    handler.failing[1] = ValueError("busy")
    queue.resume(most=1)
    await until(lambda: shop.parked() and is_idle(shop, queue))
    assert (handler.calls, shop.pending) == ([1], [3, 4])
    queue.resume(most=1)
    await until(lambda: not shop.breaker.is_open)
    queue.resume()
    await until(lambda: queue.is_empty)
    assert sorted(handler.calls) == [1, 3, 4]


@in_loop
async def test_a_stop_leaves_the_rest_as_it_was(make_workshop: MakeWorkshop) -> None:
    """The call under way is settled; what waits is not, and is nobody's call any more."""
    handler = Handler()
    shop, queue = open_shop(make_workshop, handler, Options(start="beginning", concurrency=1))
    handler.hold(1)
    add_all(shop, queue, ["ana", "ana", "ben"])
    await until(lambda: handler.calls == [1])
    shop.slots.close()
    queue.stop()
    handler.let_go(1)
    await until(lambda: is_idle(shop, queue))
    assert (handler.calls, shop.pending) == ([1], [2, 3])


@in_loop
async def test_a_failure_during_a_stop_is_on_record(make_workshop: MakeWorkshop) -> None:
    """The end of what has begun is written down, though nothing is begun any more."""
    handler = Handler()
    shop, queue = open_shop(make_workshop, handler)
    handler.hold(1)
    handler.failing[1] = ValueError("busy")
    add_all(shop, queue, ["ana"])
    await until(lambda: handler.calls == [1])
    shop.slots.close()
    queue.stop()
    handler.let_go(1)
    await until(lambda: is_idle(shop, queue))
    assert list(shop.parked()) == [1]


@in_loop
async def test_after_a_cut_a_failure_is_nobodys(make_workshop: MakeWorkshop) -> None:
    """The lane is another's: what a handler left behind does is not written down."""
    handler = Handler()
    shop, queue = open_shop(make_workshop, handler)
    handler.hold(1)
    handler.failing[1] = ValueError("busy")
    add_all(shop, queue, ["ana"])
    await until(lambda: handler.calls == [1])
    queue.stop()
    shop.slots.cancel()
    handler.let_go(1)
    await until(lambda: is_idle(shop, queue))
    assert (shop.parked(), shop.pending) == ({}, [1])


@in_loop
async def test_whoever_wants_the_subject_has_it_between_two_events(
    make_workshop: MakeWorkshop,
) -> None:
    """A replay need not wait until all that is new for its subject is done."""
    handler = Handler()
    shop, queue = open_shop(make_workshop, handler)
    handler.hold(1)
    add_all(shop, queue, ["ana", "ana", "ana"])
    await until(lambda: handler.calls == [1])
    wanting = asyncio.create_task(shop.turns.take(":ana", first=False))
    await until(lambda: shop.turns.is_wanted(":ana"))
    handler.let_go(1)
    await wanting
    await until(lambda: shop.pending == [2, 3])
    assert handler.calls == [1]
    shop.turns.give_back(":ana")
    await until(lambda: queue.is_empty)
    assert handler.calls == [1, 2, 3]


@in_loop
async def test_calls_keep_the_pace(make_workshop: MakeWorkshop) -> None:
    """With a rate each event waits its time, be it of the same subject or of another."""
    handler = Handler()
    shop, queue = open_shop(make_workshop, handler, Options(start="beginning", rate=4))
    add_all(shop, queue, ["ana", "ana", "ben"])
    for count in (1, 2, 3):
        await until(lambda: len(shop.pending) == 3 - count)  # noqa: B023 - ends here
        assert len(handler.calls) == count
        await until(lambda: count == 3 or shop.clock.sleepers)  # noqa: B023 - likewise
        shop.clock.advance(0.25)
    await until(lambda: queue.is_empty)


@in_loop
async def test_a_stop_waits_for_nobody_who_waits_for_the_pace(make_workshop: MakeWorkshop) -> None:
    """What has found no slot before a stop is not under way, and holds up nobody."""
    handler = Handler()
    options = Options(start="beginning", rate=1, concurrency=1)
    shop, queue = open_shop(make_workshop, handler, options)
    add_all(shop, queue, ["ana", "ben", "cleo"])
    await until(lambda: shop.clock.sleepers)
    shop.slots.close()
    queue.stop()
    shop.attempts.stop()
    await until(lambda: is_idle(shop, queue))
    assert len(shop.pending) == 2


@in_loop
async def test_a_probe_that_is_refused_is_one_call(make_workshop: MakeWorkshop) -> None:
    """Though its subject does not wait behind it: the breaker is as open as before."""
    handler = Handler()
    shop, queue = open_shop(make_workshop, handler)
    shop.open_breaker()
    handler.failing[1] = Reject("no")
    add_all(shop, queue, ["ana", "ana"])
    queue.resume(most=1)
    await until(lambda: shop.parked() and is_idle(shop, queue))
    assert (handler.calls, shop.pending, queue.is_empty) == ([1], [2], False)


@in_loop
async def test_the_loop_hears_of_many_ends_together(make_workshop: MakeWorkshop) -> None:
    """To hear of each would take longer than to call quick handlers."""
    handler = Handler()
    shop, queue = open_shop(make_workshop, handler)
    add_all(shop, queue, [f"contact {number}" for number in range(500)])
    await until(lambda: queue.is_empty)
    assert shop.pending == []
    assert shop.changes < 250


@in_loop
async def test_an_end_is_heard_of_though_the_next_call_takes_long(
    make_workshop: MakeWorkshop,
) -> None:
    """What has succeeded beside it is settled meanwhile."""
    handler = Handler()
    shop, queue = open_shop(make_workshop, handler, Options(start="beginning", concurrency=1))
    handler.hold(2)
    add_all(shop, queue, ["ana", "ben", "cleo"])
    await until(lambda: shop.pending == [2, 3])
    handler.let_go(2)
    await until(lambda: queue.is_empty)
