"""Tests of `router.attempts` in replays: how many calls at a time, and what a pace lets pass."""

import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy import Connection

from router.attempts import Attempts
from router.batches import Attempt
from router.events import Event, Replaying
from router.failures import Failed
from router.options import Options
from router.replay_counts import Count
from router.turns import Pace
from tests.entries import append_messages
from tests.loops import in_loop
from tests.recorder import Recorder
from tests.subscribers import make_subscription
from tests.waiting import until
from tests.workshop import MakeWorkshop, Workshop

# One engine is enough: what is tested is who waits for whom, not SQL.
pytestmark = pytest.mark.engines("sqlite")

REPLAYING = Replaying(4, "a test")


@pytest.fixture
def recorder() -> Recorder:
    """A handler of all events."""
    return Recorder()


def open_shop(make_workshop: MakeWorkshop, handler: Callable[..., object]) -> Workshop:
    """Return a workshop whose subscription makes two calls at a time, and a log of four events."""
    options = Options(start="beginning", concurrency=2)
    shop = make_workshop(make_subscription("crm", options, on_event=handler))
    append_messages(shop.log, ["ana", "ben", "cem", "dee"])
    return shop


def make_attempts(
    shop: Workshop, *, replaying: Replaying | None = REPLAYING, rate: float | None = None
) -> Attempts:
    """Return what makes attempts in a replay, or in live delivery."""
    return Attempts(
        caller=shop.caller,
        ledger=shop.ledger,
        turns=shop.turns,
        pace=Pace(rate, monotonic=shop.clock.seconds, sleep=shop.clock.sleep),
        replaying=replaying,
        is_wanted=lambda: False,
        monotonic=shop.clock.seconds,
    )


def call_all(attempts: Attempts, events: list[Event]) -> list[asyncio.Task[Failed | None]]:
    """Make an attempt at each of ``events``."""
    return [asyncio.create_task(attempts.call(event, number=1)) for event in events]


async def settle() -> None:
    """Let everybody do what can be done by now."""
    for _ in range(20):
        await asyncio.sleep(0)


@in_loop
async def test_calls_of_replays_share_a_room(
    make_workshop: MakeWorkshop, recorder: Recorder
) -> None:
    """Who ends, with success or without, makes room for the next."""
    shop = open_shop(make_workshop, recorder.on_event)
    recorder.hold(1, 2, 3, 4)
    recorder.fail(1, ValueError("no"))
    one, other = make_attempts(shop), make_attempts(shop)
    events = shop.take()
    calling = [*call_all(one, events[:2]), *call_all(other, events[2:])]
    await settle()
    assert recorder.calls == [(1, 1), (2, 1)]
    recorder.let_go(1)
    await until(lambda: recorder.calls == [(1, 1), (2, 1), (3, 1)])
    recorder.let_go(2, 3, 4)
    failed, *rest = await asyncio.gather(*calling)
    assert failed is not None
    assert rest == [None] * 3
    assert recorder.most == 2


@in_loop
async def test_who_waits_for_a_turn_takes_no_room(
    make_workshop: MakeWorkshop, recorder: Recorder
) -> None:
    """Two replays of one subject make one call: the room of the other is for other subjects."""
    shop = open_shop(make_workshop, recorder.on_event)
    recorder.hold(1, 2)
    one, other = make_attempts(shop), make_attempts(shop)
    events = shop.take()
    calling = [*call_all(one, events[:1]), *call_all(other, events[:2])]
    await settle()
    assert recorder.calls == [(1, 1), (2, 1)]
    waiting = call_all(one, events[2:])
    await settle()
    recorder.let_go(2)
    await until(lambda: recorder.calls == [(1, 1), (2, 1), (3, 1), (4, 1)])
    recorder.let_go(1)
    await asyncio.gather(*calling, *waiting)
    assert recorder.calls[4:] == [(1, 1)]
    assert (recorder.most, recorder.doubled) == (2, [])
    assert [shop.caller.room.try_take() for _ in range(3)] == [True, True, False]


@in_loop
async def test_who_finds_its_subject_in_a_call_leaves_its_room_once(
    make_workshop: MakeWorkshop, recorder: Recorder
) -> None:
    """Live delivery has the subject meanwhile; the second time its end is waited for in there."""
    shop = open_shop(make_workshop, recorder.on_event)
    recorder.hold(1, 2, 3, 4)
    replay, live = make_attempts(shop), make_attempts(shop, replaying=None)
    events = shop.take()
    calling = [*call_all(replay, events[:3]), *call_all(live, events[2:3])]
    calling += call_all(replay, events[3:])
    await settle()
    assert recorder.calls == [(1, 1), (2, 1), (3, 1)]
    recorder.let_go(1)
    await until(lambda: recorder.calls[3:] == [(4, 1)])
    recorder.let_go(3)
    await settle()
    assert recorder.calls[4:] == []  # the turn is free, and no room is
    assert shop.turns.try_take(events[2].subject)
    recorder.let_go(2)
    await settle()
    assert recorder.underway == 1
    assert shop.caller.room.is_full  # with the call of 4, and who waits for the turn
    shop.turns.give_back(events[2].subject)
    await until(lambda: recorder.calls[4:] == [(3, 1)])
    recorder.let_go(4)
    await asyncio.gather(*calling)
    assert (recorder.most, recorder.doubled) == (3, [])
    assert [shop.caller.room.try_take() for _ in range(3)] == [True, True, False]


@in_loop
async def test_who_waits_for_a_turn_may_be_stopped(
    make_workshop: MakeWorkshop, recorder: Recorder
) -> None:
    """Whether it has a place by then or not, all of them are free afterwards."""
    shop = open_shop(make_workshop, recorder.on_event)
    events = shop.take()
    assert shop.turns.try_take(events[0].subject)
    first = make_attempts(shop)
    waiting = call_all(first, events[:1])
    await settle()
    assert shop.caller.room.try_take()
    shop.caller.room.give_back()
    first.stop()
    await asyncio.wait(waiting)
    second = make_attempts(shop)
    waiting += call_all(second, events[:1])
    await settle()
    assert shop.caller.room.try_take()
    assert shop.caller.room.try_take()
    shop.turns.give_back(events[0].subject)  # the turn is its own: it finds no place
    await settle()
    assert shop.turns.try_take(events[0].subject)
    shop.caller.room.give_back()
    await settle()
    assert shop.caller.room.is_full
    second.stop()
    await asyncio.wait(waiting)
    assert all(task.cancelled() for task in waiting)
    assert shop.caller.room.try_take()
    assert recorder.calls == []


@in_loop
async def test_who_waits_for_room_does_not_get_ahead_of_the_pace(
    make_workshop: MakeWorkshop, recorder: Recorder
) -> None:
    """Room that comes late for several is no reason to call them all at once."""
    shop = open_shop(make_workshop, recorder.on_event)
    assert shop.caller.room.try_take()
    assert shop.caller.room.try_take()
    calling = call_all(make_attempts(shop, rate=1), shop.take())
    for _ in range(10):
        await settle()
        shop.clock.advance(1)
    shop.caller.room.give_back()
    shop.caller.room.give_back()
    await settle()
    assert recorder.calls == [(1, 1)]
    while len(recorder.calls) < 4:
        shop.clock.advance(0.5)
        await settle()
        assert len(recorder.calls) <= 1 + shop.clock.seconds() - 1_010
    await asyncio.gather(*calling)


@in_loop
async def test_live_calls_do_not_wait_for_room(
    make_workshop: MakeWorkshop, recorder: Recorder
) -> None:
    """Their number is bounded elsewhere: replays take none of it away."""
    shop = open_shop(make_workshop, recorder.on_event)
    recorder.hold(1, 2, 3, 4)
    events = shop.take()
    calling = call_all(make_attempts(shop), events[:2])
    calling += call_all(make_attempts(shop, replaying=None), events[2:])
    await settle()
    assert recorder.underway == 4
    recorder.let_go(1, 2, 3, 4)
    await asyncio.gather(*calling)


@in_loop
async def test_who_waits_for_room_may_be_stopped(
    make_workshop: MakeWorkshop, recorder: Recorder
) -> None:
    """The room that others have is theirs until they end, and all of it is free then."""
    shop = open_shop(make_workshop, recorder.on_event)
    recorder.hold(1, 2)
    events = shop.take()
    attempts = make_attempts(shop)
    underway = call_all(attempts, events[:2])
    waiting = call_all(attempts, events[2:])
    await settle()
    attempts.stop()
    await asyncio.wait(waiting)
    assert all(task.cancelled() for task in waiting)
    assert shop.caller.room.is_full
    recorder.let_go(1, 2)
    await asyncio.gather(*underway)
    await asyncio.gather(*call_all(make_attempts(shop), events[2:]))
    assert recorder.positions == [1, 2, 3, 4]


@in_loop
async def test_a_batch_holds_as_many_calls_as_the_pace_lets_pass(
    make_workshop: MakeWorkshop,
) -> None:
    """Those that are due already go together; the turns of the others are free for anybody."""
    calls: list[int] = []

    def handle(event: Event, connection: Connection) -> None:
        calls.append(event.position)

    def record(connection: Connection, failed: Failed | None) -> Count:
        return "message", "done"

    shop = open_shop(make_workshop, handle)
    attempts = make_attempts(shop, rate=8)
    firsts = [Attempt(event, 1, record, lambda failed: True) for event in shop.take()]
    assert len(await attempts.call_within(firsts)) == 1
    shop.clock.advance(0.25)  # two are due by then
    assert len(await attempts.call_within(firsts[1:])) == 2
    assert calls == [1, 2, 3]
    assert all(shop.turns.try_take(f":{name}") for name in ("ana", "ben", "cem", "dee"))
