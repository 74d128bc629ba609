"""Tests of `router.intake`: what a delivery reads of the log, and how much of it at a time."""

import pytest

from router.clock import Clock
from router.events import EventType
from router.filters import Filter
from router.intake import PAGE, POLL, SHARE, Intake, Span
from router.options import Options
from router.room import BYTES, WINDOW, Room
from tests.entries import append, append_messages, make_entry
from tests.loops import in_loop
from tests.subscribers import make_subscription
from tests.workshop import MakeWorkshop, Workshop

# One engine is enough: what is tested is what is taken from pages, not SQL.
pytestmark = pytest.mark.engines("sqlite")

LEAST = int(WINDOW * SHARE)  # events for which there must be room


def open_intake(
    make_workshop: MakeWorkshop, span: Span | None = None, *, room: Room | None = None
) -> tuple[Workshop, Intake]:
    """Return a workshop and the intake of its lane."""
    options = Options(start="beginning")
    shop = make_workshop(make_subscription("crm", options, on_event=lambda event: None))
    clock = Clock(now=lambda: shop.clock.micros, sleep=shop.clock.sleep, random=lambda: 0.5)
    return shop, Intake(
        span or Span(Filter()),
        ledger=shop.ledger,
        read_page=shop.log.read_page,
        room=room or Room(),
        clock=clock,
    )


async def read(intake: Intake) -> list[int]:
    """Read, and return the positions of what is to be handed over."""
    return [event.position for event in await intake.read()]


def is_due(intake: Intake) -> bool:
    """Whether it is time to look, at this moment."""
    return intake.is_due


def is_at_end(intake: Intake) -> bool:
    """Whether all was taken in by now."""
    return intake.is_at_end


@in_loop
async def test_it_looks_again_when_it_is_woken_or_time(make_workshop: MakeWorkshop) -> None:
    """At the end of the log it is not due before; nothing is read twice."""
    shop, intake = open_intake(make_workshop)
    append_messages(shop.log, ["ana"])
    assert is_due(intake)
    assert await read(intake) == [1]
    assert (is_due(intake), intake.has_more) == (False, False)
    shop.clock.advance(POLL - 0.000_001)
    assert not is_due(intake)
    assert round(intake.seconds_to_look(), 6) == 0.000_001
    shop.clock.advance(0.000_001)
    assert is_due(intake)
    assert await read(intake) == []
    append_messages(shop.log, ["ben"])
    intake.wake()
    assert is_due(intake)
    assert await read(intake) == [2]


@in_loop
async def test_it_reads_on_while_there_is_more_and_room(make_workshop: MakeWorkshop) -> None:
    """A page at a time, up to the window, and again when there is room for a page worth it."""
    shop, intake = open_intake(make_workshop)
    append_messages(shop.log, ["ana"] * (WINDOW + PAGE))
    assert len(await read(intake)) == PAGE
    assert intake.has_more
    assert len(await read(intake)) == WINDOW - PAGE
    assert not is_due(intake)
    for position in range(1, LEAST):
        shop.ledger.settle(position)
    assert not is_due(intake)
    shop.ledger.settle(LEAST)
    assert intake.has_more
    assert len(await read(intake)) == LEAST


@in_loop
async def test_it_reads_no_more_than_its_share(make_workshop: MakeWorkshop) -> None:
    """Of a room that another one has a part of; when that one leaves, there is more."""
    room = Room(events=40)
    shop, intake = open_intake(make_workshop, room=room)
    append_messages(shop.log, ["ana"] * 50)
    with room.taken():
        with room.taken():
            assert len(await read(intake)) == 20
            assert not is_due(intake)
        assert intake.has_more
        assert len(await read(intake)) == 20
        assert not is_due(intake)


@in_loop
async def test_what_is_blocked_is_settled_at_once(make_workshop: MakeWorkshop) -> None:
    """It waits on record behind its subject, and takes no room."""
    shop, intake = open_intake(make_workshop)
    append_messages(shop.log, ["ana", "ben", "ana"])
    shop.ledger.blocked[":ana"] = 0
    assert await read(intake) == [2]
    assert shop.pending == [2]


@in_loop
async def test_a_span_is_read_to_its_end(make_workshop: MakeWorkshop) -> None:
    """Of its events those that match, and nothing beyond; live delivery has no end."""
    shop, intake = open_intake(make_workshop, Span(Filter(types=("read",)), until=3))
    kinds: list[EventType] = ["read", "sent", "sent", "read"]
    append(shop.log, *(make_entry("ana", kind) for kind in kinds))
    assert not is_at_end(intake)
    assert await read(intake) == [1]
    assert is_at_end(intake)
    assert shop.ledger.progress.cursor == 3


@in_loop
async def test_live_delivery_has_no_end(make_workshop: MakeWorkshop) -> None:
    """However far it has come."""
    shop, intake = open_intake(make_workshop)
    append_messages(shop.log, ["ana"])
    await read(intake)
    assert not is_at_end(intake)


@in_loop
async def test_bodies_take_room_until_they_are_settled(make_workshop: MakeWorkshop) -> None:
    """Each once, however many events it holds; one may be larger than all the room there is."""
    shop, intake = open_intake(make_workshop)
    append(shop.log, make_entry("ana", text="x" * BYTES), make_entry("ben", text="x" * 100))
    assert await read(intake) == [1]
    intake.wake()
    assert not is_due(intake)
    shop.ledger.settle(1)
    assert is_due(intake)
    assert await read(intake) == [2]


@in_loop
async def test_one_event_is_read_by_itself(make_workshop: MakeWorkshop) -> None:
    """And it is told whether it was the last."""
    shop, intake = open_intake(make_workshop)
    append_messages(shop.log, ["ana", "ben"])
    found = [await intake.read_one() for _ in range(3)]
    assert [[event.position for event in events] for events, _ in found] == [[1], [2], []]
    assert found[2][1]
    assert not found[0][1]


@in_loop
async def test_one_event_is_read_however_little_room_there_is(make_workshop: MakeWorkshop) -> None:
    """Who reads one by one waits for nobody."""
    shop, intake = open_intake(make_workshop)
    append(shop.log, make_entry("ana", text="x" * BYTES), make_entry("ben"))
    found = [await intake.read_one() for _ in range(2)]
    assert [[event.position for event in events] for events, _ in found] == [[1], [2]]
