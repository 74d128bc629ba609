"""Tests of `router.fates`: what has become of an event in each subscription, and why."""

import pytest
from sqlalchemy import update

from router.control import Control
from router.dead import DeadLetters
from router.errors import UnknownName
from router.events import Event
from router.fates import Fate, find_fates
from router.filters import DeadFilter
from router.lanes import Lanes
from router.log import EventLog
from router.options import Options
from router.roster import Roster
from tests.dispatching import dispatching
from tests.entries import append, append_messages, make_entry
from tests.histories import park, settle, subscribe
from tests.loops import in_loop
from tests.subscribers import make_subscription
from tests.waiting import until


def fate(log: EventLog, position: int, name: str = "crm") -> Fate:
    """Return what has become of an event in one subscription."""
    (found,) = [one for one in find_fates(log.store, position) if one.subscription == name]
    return found


def told(log: EventLog, position: int) -> tuple[str, str]:
    """Return the same in short."""
    found = fate(log, position)
    return found.state, found.why


def release(log: EventLog) -> None:
    """Let no worker run anything any more."""
    with log.store.writing() as connection:
        connection.execute(update(log.store.tables.lane).values(owner=None, expires_at=None))


def test_an_event_that_does_not_exist_has_no_fate(log: EventLog) -> None:
    """It is an error, not an empty answer."""
    with pytest.raises(UnknownName, match="no event at position 1"):
        find_fates(log.store, 1)


def test_every_subscription_is_told_of_by_name(log: EventLog) -> None:
    """One that was born behind the event has passed over it, and so has one for other types."""
    append_messages(log, ["ana"])
    subscribe(log, "crm")
    subscribe(log, "audit", policies={"read": "skip", "sent": "skip"})
    Roster(log.store, pid=1).declare("late", {"message": "skip"}, Options(start="now"))

    audit, crm, late = find_fates(log.store, 1)

    assert [one.subscription for one in (audit, crm, late)] == ["audit", "crm", "late"]
    assert [one.state for one in (audit, crm, late)] == ["not matched", "waiting", "skipped"]
    assert audit.why == "its plugin has no handler for this type: read, sent"
    assert "began behind it" in late.why


def test_what_is_settled_is_done(log: EventLog) -> None:
    """At or below the checkpoint of its lane, or ahead of it."""
    append_messages(log, ["ana", "ben", "cem"])
    (lane,) = subscribe(log)
    with Lanes(log.store, worker="w").owning(lane, checkpoint=1, done=[(3, 3)]):
        pass

    assert told(log, 1) == ("done", "its lane has settled it, and all up to position 1")
    assert fate(log, 2).state == "waiting"
    assert told(log, 3) == ("done", "its lane has settled it, ahead of position 2")


def test_an_event_is_judged_by_its_own_lane(log: EventLog) -> None:
    """What another lane has settled says nothing of it."""
    append_messages(log, [f"subject {number}" for number in range(20)])
    lanes = subscribe(log, lanes=4)
    settle(log, lanes[0], checkpoint=20)

    events = list(log.read())
    done = [event.position for event in events if event.shard <= lanes[0].last_shard]
    assert done
    assert len(done) < 20
    assert [one.position for one in events if fate(log, one.position).state == "done"] == done


def test_a_failed_delivery_is_parked(log: EventLog) -> None:
    """It is told how often it failed, why, and when it is tried again."""
    append_messages(log, ["ana"])
    subscribe(log)
    park(log, 1, next_at=1_800_000_000_000_000)

    found = fate(log, 1)

    assert (found.state, found.attempts) == ("parked", 1)
    assert found.why == "1 call failed, the next is due at 2027-01-15T08:00:00Z: KeyError: 'a'"
    assert found.as_dict()["next_at"] == "2027-01-15T08:00:00Z"


def test_a_dead_letter_is_parked_for_good(log: EventLog) -> None:
    """The command that sends it again is named."""
    append_messages(log, ["ana"])
    subscribe(log)
    park(log, 1)

    state, why = told(log, 1)

    assert state == "parked"
    assert why.startswith("it is a dead letter, given up after 1 call: KeyError: 'a'")
    assert "`router dead redrive --subscription crm --position 1`" in why


def test_a_parked_delivery_of_a_paused_subscription_says_so(log: EventLog) -> None:
    """That it is due does not mean that it is made."""
    append_messages(log, ["ana"])
    subscribe(log)
    park(log, 1, next_at=1)
    Control(log.store).pause("crm", actor="ana")

    assert told(log, 1)[1].endswith("; but the subscription is paused")


@pytest.mark.parametrize(
    ("next_at", "told_of"),
    [(1_800_000_000_000_000, "is tried again"), (None, "is a dead letter, and on_dead is hold")],
)
def test_what_waits_behind_its_subject_is_blocked(
    log: EventLog, next_at: int | None, told_of: str
) -> None:
    """It is told behind what; other subjects are not blocked, whatever the checkpoint says."""
    append_messages(log, ["ana", "ana", "ben"])
    (lane,) = subscribe(log)
    park(log, 1, next_at=next_at, is_blocking=True)
    settle(log, lane, checkpoint=3)

    state, why = told(log, 2)
    assert state == "blocked"
    assert why == f"it waits behind position 1 of its subject, which {told_of}: KeyError: 'a'"
    assert fate(log, 3).state == "done"


def test_what_waits_is_told_for_what(log: EventLog) -> None:
    """For its worker, for any worker, for an operator, or for a plugin."""
    append_messages(log, ["ana"])
    subscribe(log)
    control = Control(log.store)

    assert told(log, 1) == (
        "waiting",
        "its worker has settled all up to position 0, and comes to it",
    )
    release(log)
    assert "no worker runs its lane" in told(log, 1)[1]
    control.pause("crm", actor="ana", reason="a deploy")
    assert "is paused (a deploy): `router subscriptions resume crm`" in told(log, 1)[1]
    for state, word in (("missing", "`router plugins list`"), ("failing", "failing")):
        with log.store.writing() as connection:
            connection.execute(update(log.store.tables.subscription).values(state=state))
        assert word in told(log, 1)[1]


def test_what_an_operator_passes_over_is_skipped(log: EventLog) -> None:
    """Not what was done before, nor what came later."""
    append_messages(log, ["ana", "ben", "cem"])
    (lane,) = subscribe(log)
    settle(log, lane, checkpoint=1)
    release(log)
    Control(log.store).skip("crm", to=2, actor="ana")

    assert [fate(log, position).state for position in (1, 2, 3)] == ["done", "skipped", "waiting"]
    assert "a skip to position 2 by ana" in told(log, 2)[1]
    assert "unless" not in told(log, 1)[1]


def test_a_retry_that_was_skipped_is_not_called_done_for_sure(log: EventLog) -> None:
    """Which of them were dropped is not on record: it is told that some were."""
    append_messages(log, ["ana", "ben"])
    (lane,) = subscribe(log)
    park(log, 1, next_at=1)
    settle(log, lane, checkpoint=1)
    release(log)
    Control(log.store).skip("crm", to=2, actor="ana")

    state, why = told(log, 1)
    assert state == "done"
    assert "unless it was passed over by a skip to position 2 by ana" in why


@pytest.mark.parametrize(
    ("matching", "state"),
    [(DeadFilter(positions=(1,)), "skipped"), (DeadFilter(types=("message",)), "done")],
)
def test_a_discarded_dead_letter_is_skipped(
    log: EventLog, matching: DeadFilter, state: str
) -> None:
    """For sure where it was named, else as a possibility; other events are none of it."""
    append(log, make_entry("ana"), make_entry("ben", "sent"))
    (lane,) = subscribe(log)
    park(log, 1)
    settle(log, lane, checkpoint=2)
    release(log)
    DeadLetters(log.store).discard(matching, actor="ana")

    found = fate(log, 1)
    assert found.state == state
    assert "it was a dead letter that was discarded by ana" in found.why
    assert "discarded" not in told(log, 2)[1]


def test_what_a_reparse_found_is_passed_over(log: EventLog) -> None:
    """Live delivery does not take it; a replay does."""
    append_messages(log, ["ana"])
    subscribe(log)
    with log.store.writing() as connection:
        connection.execute(update(log.store.tables.event).values(quiet=True))

    state, why = told(log, 1)
    assert state == "skipped"
    assert "a replay takes it" in why


@in_loop
async def test_real_deliveries_have_their_fates(log: EventLog) -> None:
    """A worker leaves behind what is told here."""

    def on_message(event: Event) -> None:
        if event.subject == ":ana":
            raise ValueError("no")

    subscription = make_subscription(
        "crm", Options(start="beginning", lanes=1), on_message=on_message
    )
    append(log, make_entry("ana"), make_entry("ana"), make_entry("ben"), make_entry("ben", "sent"))
    async with dispatching(log, subscription):
        await until(lambda: fate(log, 3).state == "done" and fate(log, 1).state == "parked")

        states = [fate(log, position).state for position in (1, 2, 3, 4)]
    assert states == ["parked", "blocked", "done", "not matched"]
