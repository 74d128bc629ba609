"""Tests of `router.retention`: what is old goes, and what anybody still needs stays."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from router.events import Draft, Entry, Notification
from router.log import EventLog
from router.replay import Replays
from router.retention import CHUNK, Retention
from router.store import Store
from tests.entries import NOON, append, make_entry
from tests.histories import end_replay, park, settle, start_replay, subscribe

DAY = timedelta(days=1)


@pytest.fixture
def retention(store: Store) -> Retention:
    """What is tested; it does not wait between transactions."""
    return Retention(store, sleep=lambda _: None)


def fill(log: EventLog, count: int = 6) -> None:
    """Append messages, one a day, the first at noon."""
    append(log, *(make_entry(received_at=NOON + DAY * number) for number in range(count)))


def prune(retention: Retention, *, days: float) -> dict[str, int]:
    """Delete what was received before so many days after noon."""
    return retention.prune(retention.plan(NOON + DAY * days), by="ana")


def positions(log: EventLog) -> list[int]:
    """Return the positions that can be read."""
    return [event.position for event in log.read()]


def count_notifications(store: Store) -> int:
    """Return how many notifications there are."""
    with store.reading() as connection:
        return connection.scalars(select(func.count()).select_from(store.tables.notification)).one()


def test_a_plan_counts_and_changes_nothing(log: EventLog, retention: Retention) -> None:
    """What would go is counted by type; an event of the very moment stays."""
    fill(log, 3)
    append(log, make_entry(type_="sent", received_at=NOON))

    plan = retention.plan(NOON + DAY)

    assert (plan.total, plan.by_type) == (2, {"message": 1, "sent": 1})
    assert positions(log) == [1, 2, 3, 4]


def test_old_events_go_with_their_notifications(
    log: EventLog, store: Store, retention: Retention
) -> None:
    """What is deleted is what was counted, and its bodies with it."""
    fill(log)

    assert prune(retention, days=3) == {"message": 3}
    assert positions(log) == [4, 5, 6]
    assert count_notifications(store) == 3


def test_the_time_decides_not_the_position(log: EventLog, retention: Retention) -> None:
    """An event that was received later than one behind it stays, if it is young enough."""
    append(log, *(make_entry(received_at=NOON + DAY * days) for days in (0, 3, 1, 4)))

    assert prune(retention, days=3) == {"message": 2}
    assert [(event.position, event.payload is None) for event in log.read()] == [
        (2, False),
        (4, False),
    ]


def test_the_log_goes_on_as_if_nothing_was(log: EventLog, retention: Retention) -> None:
    """The head stays, and what came before is still known when it comes again."""
    entry = make_entry(received_at=NOON)
    append(log, entry)
    prune(retention, days=3)

    assert (log.head(), positions(log)) == (1, [])
    assert append(log, entry) == []
    assert append(log, make_entry()) == [2]


def settled_to_4(log: EventLog) -> None:
    """A subscription that has come up to the fourth event."""
    [lane] = subscribe(log)
    settle(log, lane, checkpoint=4)


def dead_at_4(log: EventLog) -> None:
    """A dead letter."""
    park(log, 4)


def retrying_at_4(log: EventLog) -> None:
    """A delivery that is to be tried again."""
    park(log, 4, next_at=1)


def blocked_at_4(log: EventLog) -> None:
    """A subject that waits behind the fourth event, which itself is done with."""
    park(log, 4, is_blocking=True)
    with log.store.writing() as connection:
        connection.execute(log.store.tables.parked.delete())


def replay_from_4(log: EventLog) -> None:
    """A replay that waits for a worker."""
    [lane] = subscribe(log)
    settle(log, lane, checkpoint=6)
    start_replay(log, first=4)


def paused_replay_from_4(log: EventLog) -> None:
    """A replay that was paused, and may yet go on."""
    replay_from_4(log)
    Replays(log).pause(1, actor="ana")


@pytest.mark.parametrize(
    "need",
    [
        settled_to_4,
        dead_at_4,
        retrying_at_4,
        blocked_at_4,
        replay_from_4,
        paused_replay_from_4,
    ],
)
def test_what_somebody_may_still_read_stays(
    log: EventLog, retention: Retention, need: Callable[[EventLog], None]
) -> None:
    """Nothing goes from the lowest position on that is still needed, however old it is."""
    fill(log)
    need(log)

    plan = retention.plan(NOON + DAY * 100)

    assert (plan.floor, plan.total) == (4, 3)
    retention.prune(plan, by="ana")
    assert positions(log) == [4, 5, 6]


def test_a_replay_that_has_ended_holds_nothing_back(log: EventLog, retention: Retention) -> None:
    """Only replays that still read keep their range."""
    fill(log)
    replay_from_4(log)
    end_replay(log)

    assert retention.plan(NOON + DAY * 100).floor == 6


def test_a_need_that_arises_meanwhile_is_respected(log: EventLog, retention: Retention) -> None:
    """What was planned is looked at again in each transaction that deletes."""
    fill(log)
    plan = retention.plan(NOON + DAY * 100)
    park(log, 3)

    assert retention.prune(plan, by="ana") == {"message": 2}
    assert [event.payload is None for event in log.read()] == [False] * 4


def test_a_notification_stays_as_long_as_an_event_of_it(
    log: EventLog, store: Store, retention: Retention
) -> None:
    """A body with events on both sides of the limit is kept for the later ones."""
    drafts = [Draft(path=f"$[{at}]", type="message", subtype="text") for at in range(4)]
    log.append([Entry(Notification("wa", NOON, {}, b"[1, 2, 3, 4]"), drafts)])
    park(log, 3)

    prune(retention, days=1)

    assert [event.payload for event in log.read()] == [3, 4]
    assert count_notifications(store) == 1


def test_a_notification_stays_for_an_event_far_above(
    log: EventLog, store: Store, retention: Retention
) -> None:
    """An event that was found later in an old body keeps that body."""
    fill(log)
    with store.writing() as connection:
        moved = update(store.tables.event).where(store.tables.event.c.position == 6)
        connection.execute(moved.values(notification_id=2, reparsed=True))
    park(log, 5)

    prune(retention, days=100)

    assert [event.notification_id for event in log.read()] == [5, 2]
    assert count_notifications(store) == 3  # the sixth's own, too: it is not below the floor


def test_many_events_go_in_several_transactions(log: EventLog, store: Store) -> None:
    """Others get their turn after each thousand events, and progress is told."""
    append(log, *(make_entry() for _ in range(2 * CHUNK + 1)))
    pauses: list[float] = []
    told: list[int] = []
    retention = Retention(store, sleep=pauses.append)

    plan = retention.plan(NOON + DAY)
    gone = retention.prune(plan, by="ana", on_progress=told.append)

    assert gone == {"message": 2 * CHUNK + 1}
    assert told == [CHUNK, 2 * CHUNK, 2 * CHUNK + 1]
    assert len(pauses) == 6  # three of events, three of notifications
    assert (positions(log), count_notifications(store)) == ([], 0)


def test_what_a_crash_left_is_taken_next_time(
    log: EventLog, store: Store, retention: Retention
) -> None:
    """Notifications that lost their events to an earlier, unfinished run go with the next one."""
    fill(log)
    with store.writing() as connection:
        connection.execute(store.tables.event.delete().where(store.tables.event.c.position <= 2))

    assert prune(retention, days=3) == {"message": 1}
    assert count_notifications(store) == 3


def test_who_pruned_is_written_down(log: EventLog, store: Store, retention: Retention) -> None:
    """The audit names the actor and what was meant to go."""
    fill(log)
    prune(retention, days=3)

    with store.reading() as connection:
        [row] = connection.execute(select(store.tables.audit)).all()
    assert (row.actor, row.action) == ("ana", "db prune")
    assert '"total": 3' in row.detail
