"""Tests of `router.intents`: what operators ask for waits for the owners of the lanes."""

import msgspec
import pytest
from sqlalchemy import update

from router.intents import DISCARD, REDRIVE, SKIP, Intents
from router.log import EventLog
from router.parking import ALONE, Parking
from tests.asking import ask, carry_out, free_lanes, states
from tests.entries import append_messages
from tests.histories import park, settle, subscribe
from tests.records import count_attempts, read_blocked, read_parked

FAILED_AT = 1_700_000_000_000_000


@pytest.fixture
def intents(log: EventLog) -> Intents:
    """What is tested, on a log of four messages of ana and leo: of two lanes, one is of each."""
    append_messages(log, ["ana", "leo"] * 2)
    return Intents(log.store)


def test_an_owned_lane_is_left_to_its_owner(log: EventLog, intents: Intents) -> None:
    """What is asked stays on record, nothing else is changed, and the owner's right stands."""
    [lane] = subscribe(log)
    park(log, 1)

    intent = ask(intents, log.store, REDRIVE)

    assert not intent.is_carried_out
    assert intents.find(["crm"]) == [intent]
    assert intents.find(["mail"]) == []
    assert states(log.store) == {1: "dead"}
    settle(log, lane, checkpoint=4)  # does not raise


def test_what_is_redriven_is_due_with_fresh_limits(log: EventLog, intents: Intents) -> None:
    """It may be tried at once, and its limits count from the lane's uptime and attempts by now."""
    [lane] = subscribe(log)
    park(log, 1)
    with log.store.writing() as connection:
        connection.execute(update(log.store.tables.lane).values(uptime=7_000_000))
        connection.execute(update(log.store.tables.parked).values(attempts=9))
    intent = ask(intents, log.store, REDRIVE)
    lane = msgspec.structs.replace(lane, uptime=7_000_000, claimed_at=log.store.now() + 10**9)

    [parked] = carry_out(intents, log, lane, intent)

    assert (parked.position, parked.subject, parked.parked_at) == (1, ":ana", FAILED_AT)
    assert (parked.attempts, parked.spent, parked.uptime) == (9, 9, 7_000_000)
    assert parked.next_at is not None
    assert FAILED_AT < parked.next_at <= log.store.now()
    with log.store.reading() as connection:
        assert Parking(log.store.tables).load(connection, lane).retries == [parked]
    assert intents.find(["crm"]) == []
    assert count_attempts(log.store, 1) == 1


def test_what_ended_its_process_is_tried_again(log: EventLog, intents: Intents) -> None:
    """Redriven it has a clean slate: the next owner does not take it for dead at once."""
    [lane] = subscribe(log)
    park(log, 1)
    with log.store.writing() as connection:
        connection.execute(update(log.store.tables.attempt).values(outcome=ALONE))
    free_lanes(log.store)

    ask(intents, log.store, REDRIVE)

    with log.store.reading() as connection:
        [parked] = Parking(log.store.tables).load(connection, lane).retries
    assert not parked.was_alone


def test_redriving_releases_nothing_that_is_held(log: EventLog, intents: Intents) -> None:
    """A subject that waits behind a dead letter goes on waiting behind its next attempt."""
    subscribe(log)
    park(log, 1, is_blocking=True)
    free_lanes(log.store)

    ask(intents, log.store, REDRIVE)

    assert read_blocked(log.store) == {":ana": 1}


def test_what_is_discarded_is_gone_with_its_attempts(log: EventLog, intents: Intents) -> None:
    """Nothing of it is left, others stay, and the owner is told what it was."""
    [lane] = subscribe(log)
    park(log, 1)
    park(log, 2)
    intent = ask(intents, log.store, DISCARD, 1)

    assert [one.position for one in carry_out(intents, log, lane, intent)] == [1]

    assert states(log.store) == {2: "dead"}
    assert (count_attempts(log.store, 1), count_attempts(log.store, 2)) == (0, 1)
    assert intents.find(["crm"]) == []


def test_only_dead_letters_of_the_run_are_taken(log: EventLog, intents: Intents) -> None:
    """What waits for another attempt, is of another run or of another subscription stays."""
    subscribe(log)
    park(log, 1)
    park(log, 2, next_at=5)
    park(log, 1, run=7)
    park(log, 1, name="mail")
    free_lanes(log.store)

    ask(intents, log.store, DISCARD)

    assert states(log.store) == {2: "retry"}
    assert states(log.store, run=7) == {1: "dead"}
    assert read_parked(log.store, "mail")[1].state == "dead"


def test_what_one_intent_holds_no_other_takes(log: EventLog, intents: Intents) -> None:
    """The first decision about a dead letter stands."""
    [lane] = subscribe(log)
    park(log, 1)
    park(log, 2)
    first = ask(intents, log.store, DISCARD, 1)
    second = ask(intents, log.store, REDRIVE)

    assert [one.position for one in carry_out(intents, log, lane, second)] == [2]
    assert [one.position for one in carry_out(intents, log, lane, first)] == [1]


def test_an_intent_waits_for_the_last_lane(log: EventLog, intents: Intents) -> None:
    """Each owner sees to its own shards; the last one strikes the intent off."""
    first, second = subscribe(log, lanes=2)
    park(log, 1)
    park(log, 2)
    intent = ask(intents, log.store, REDRIVE)

    assert [one.position for one in carry_out(intents, log, first, intent)] == [1]
    assert states(log.store) == {1: "retry", 2: "dead"}
    assert intents.find(["crm"]) == [intent]
    assert [one.position for one in carry_out(intents, log, second, intent)] == [2]
    assert intents.find(["crm"]) == []


@pytest.mark.engines("sqlite")
def test_an_intent_is_never_mistaken_for_a_later_one(log: EventLog, intents: Intents) -> None:
    """A worker that still knows one which is carried out does nothing, though its id is in use."""
    [lane] = subscribe(log)
    park(log, 1)
    park(log, 2)
    old = ask(intents, log.store, DISCARD, 1)
    carry_out(intents, log, lane, old)
    new = ask(intents, log.store, REDRIVE, 2)
    assert new.id == old.id

    assert carry_out(intents, log, lane, old) == []
    assert states(log.store) == {2: "dead"}


def test_skipping_drops_retries_and_moves_what_waits(log: EventLog, intents: Intents) -> None:
    """Up to its position no attempt is made any more; dead letters, and what is above, stay."""
    [lane] = subscribe(log)
    park(log, 1, next_at=5, is_blocking=True)
    park(log, 2)
    park(log, 4, next_at=5, is_blocking=True)
    intent = ask(intents, log.store, SKIP, skip_to=3)

    skipped = carry_out(intents, log, lane, intent, checkpoint=3)

    assert [one.position for one in skipped] == [1]
    assert states(log.store) == {2: "dead", 4: "retry"}
    assert (count_attempts(log.store, 1), count_attempts(log.store, 2)) == (0, 1)
    assert read_blocked(log.store) == {":ana": 3, ":leo": 4}
    assert intents.find(["crm"]) == []


def test_a_skip_waits_for_lanes_that_are_behind(log: EventLog, intents: Intents) -> None:
    """As long as any has still to be moved, and no longer."""
    first, second = subscribe(log, lanes=2)
    intent = ask(intents, log.store, SKIP, skip_to=3)

    carry_out(intents, log, first, intent, checkpoint=3)
    assert intents.find(["crm"]) == [intent]
    carry_out(intents, log, second, intent, checkpoint=3)
    assert intents.find(["crm"]) == []


@pytest.mark.parametrize("next_at", [5, None])
def test_a_skip_waits_for_lanes_that_are_further(
    log: EventLog, intents: Intents, next_at: int | None
) -> None:
    """A lane whose checkpoint is past the position has its subjects moved, too."""
    first, second = subscribe(log, lanes=2)
    settle(log, first, checkpoint=4)
    park(log, 1, next_at=next_at, is_blocking=True)
    intent = ask(intents, log.store, SKIP, skip_to=3)

    assert carry_out(intents, log, second, intent, checkpoint=3) == []
    assert intents.find(["crm"]) == [intent]
    dropped = carry_out(intents, log, first, intent, checkpoint=4)
    assert [one.position for one in dropped] == ([] if next_at is None else [1])
    assert read_blocked(log.store) == {":ana": 3}
    assert intents.find(["crm"]) == []
