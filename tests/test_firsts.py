"""Tests of `router.firsts`: an event is handed over, and parked where that fails."""

import pytest
from sqlalchemy import Connection, text

from router.events import Event
from router.options import Options, RetryOptions
from router.retry import Reject
from tests.entries import append_messages
from tests.loops import in_loop
from tests.recorder import Recorder
from tests.records import ParkedRow
from tests.subscribers import make_subscription
from tests.workshop import MakeWorkshop, Workshop

RETRY = RetryOptions(first=10, jitter=True)
OPTIONS = Options(start="beginning", retry=RETRY)


def open_shop(
    make_workshop: MakeWorkshop, options: Options = OPTIONS
) -> tuple[Workshop, Recorder, list[Event]]:
    """Return a workshop, its handler, and two events of ana's and one of ben's."""
    recorder = Recorder()
    shop = make_workshop(make_subscription("crm", options, on_event=recorder.on_event))
    append_messages(shop.log, ["ana", "ana", "ben"])
    return shop, recorder, shop.take()


@in_loop
async def test_a_success_costs_no_statement(make_workshop: MakeWorkshop) -> None:
    """It is settled in memory, and goes on record with the next flush."""
    shop, recorder, events = open_shop(make_workshop)
    assert not await shop.firsts.deliver(events[0])
    assert recorder.calls == [(1, 1)]
    assert (shop.pending, shop.recorded().checkpoint) == ([2, 3], 0)
    await shop.ledger.flush()
    assert shop.recorded().checkpoint == 1


@in_loop
async def test_a_failure_is_parked_and_blocks(make_workshop: MakeWorkshop) -> None:
    """All in one transaction, with the event settled; the next attempt is due by chance."""
    shop, recorder, events = open_shop(make_workshop)
    recorder.fail(1, ValueError("busy"))
    assert await shop.firsts.deliver(events[0])
    due = shop.clock.micros + 5_000_000
    assert shop.parked() == {1: ParkedRow("retry", 1, due)}
    assert shop.blocked() == shop.ledger.blocked == {":ana": 1}
    assert shop.recorded().checkpoint == 1
    assert [one.position for one in shop.agenda.take_due(due)] == [1]


@in_loop
async def test_without_an_order_nothing_is_blocked(make_workshop: MakeWorkshop) -> None:
    """The event is parked by itself."""
    shop, recorder, events = open_shop(
        make_workshop, Options(start="beginning", retry=RETRY, order="none")
    )
    recorder.fail(1, ValueError("busy"))
    assert not await shop.firsts.deliver(events[0])
    assert list(shop.parked()) == [1]
    assert shop.blocked() == shop.ledger.blocked == {}


@pytest.mark.parametrize(("on_dead", "blocked"), [("release", {}), ("hold", {":ana": 1})])
@in_loop
async def test_a_dead_letter_blocks_where_it_holds(
    make_workshop: MakeWorkshop, on_dead: str, blocked: dict[str, int]
) -> None:
    """It is dead at once, and told."""
    options = Options(start="beginning", on_dead=on_dead)  # type: ignore[arg-type]
    shop, recorder, events = open_shop(make_workshop, options)
    recorder.fail(1, Reject("no"))
    assert await shop.firsts.deliver(events[0]) == bool(blocked)
    assert shop.parked() == {1: ParkedRow("dead", 1, None)}
    assert shop.blocked() == shop.ledger.blocked == blocked
    assert shop.dead == [(1, 1)]


@in_loop
async def test_what_was_behind_moves_its_subject_on(make_workshop: MakeWorkshop) -> None:
    """An event that was settled before settles nothing; its subject waits from there by now."""
    shop, recorder, events = open_shop(make_workshop)
    recorder.fail(1, ValueError("busy"))
    recorder.fail(2, ValueError("busy"))
    await shop.firsts.deliver(events[0])
    shop.ledger.settle(2)
    assert await shop.firsts.deliver(events[1], is_behind=True)
    assert shop.blocked() == shop.ledger.blocked == {":ana": 2}
    assert list(shop.parked()) == [1, 2]
    assert shop.pending == [3]


class Writer:
    """A transactional handler, which fails at some positions."""

    def __init__(self, *failing: int) -> None:
        self.calls: list[int] = []
        self._failing = failing

    def on_event(self, event: Event, connection: Connection) -> None:
        """Have an effect."""
        self.calls.append(event.position)
        insert = "INSERT INTO alias VALUES ('', :contact, '')"
        connection.execute(text(insert), {"contact": str(event.position)})
        if event.position in self._failing:
            raise ValueError("busy")


def read_effects(shop: Workshop) -> list[int]:
    """Return the positions whose effects are there."""
    with shop.store.reading() as connection:
        found = connection.exec_driver_sql("SELECT contact FROM alias ORDER BY contact")
        return [int(contact) for contact in found.scalars()]


@in_loop
async def test_together_all_is_on_record_with_the_effects(make_workshop: MakeWorkshop) -> None:
    """What succeeded, what failed, and what waits behind it: one transaction, and the same here."""
    writer = Writer(1)
    shop = make_workshop(make_subscription("crm", OPTIONS, on_event=writer.on_event))
    append_messages(shop.log, ["ana", "ana", "ben"])
    assert await shop.firsts.deliver_together(shop.take()) == (3, True)
    assert writer.calls == [1, 3]
    assert read_effects(shop) == [3]
    assert shop.parked() == {1: ParkedRow("retry", 1, shop.clock.micros + 5_000_000)}
    assert shop.blocked() == shop.ledger.blocked == {":ana": 1}
    assert (shop.pending, shop.recorded()[:2]) == ([], (3, "[]"))
    assert len(shop.agenda) == 1


@in_loop
async def test_together_what_was_behind_moves_on(make_workshop: MakeWorkshop) -> None:
    """As far as it was dealt with: what is behind the failed one is left for later."""
    writer = Writer(2)
    shop = make_workshop(make_subscription("crm", OPTIONS, on_event=writer.on_event))
    append_messages(shop.log, ["ana", "ana", "ana", "ben"])
    events = shop.take()
    for position in (1, 2, 3):
        shop.ledger.settle(position)
    shop.ledger.blocked[":ana"] = 0
    with shop.store.writing() as connection:
        connection.execute(
            shop.store.tables.blocked.insert().values(
                subscription="crm", run=0, subject=":ana", shard=events[0].shard, position=0
            )
        )
    assert await shop.firsts.deliver_together(events[:3], is_behind=True) == (2, True)
    assert writer.calls == [1, 2]
    assert read_effects(shop) == [1]
    assert shop.blocked() == shop.ledger.blocked == {":ana": 2}
    assert shop.pending == [4]
