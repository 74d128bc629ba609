"""Tests of `router.reparsing`: what the log did not know is appended, once, and nothing else."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import select

from router.errors import UnknownName
from router.events import Draft, Entry, Event, Notification
from router.log import EventLog
from router.reparsing import Reparsing
from router.retention import Retention
from router.store import Store
from tests.clocks import StillClock
from tests.entries import NOON
from tests.posting import StubSource
from tests.reparsed import (
    count,
    externals,
    fill,
    forget,
    make_body,
    make_redelivered,
    make_reparsing,
    make_stored,
    read_flags,
    reparse,
    split_now,
)


@pytest.fixture
def clock() -> StillClock:
    """The clock of the log."""
    return StillClock()


def receipts(log: EventLog) -> list[Event]:
    """Return the events of receipts."""
    return [event for event in log.read() if event.subtype == "receipts"]


# What is found.


def test_a_plan_counts_and_changes_nothing(log: EventLog) -> None:
    """What the log does not know is counted by type."""
    fill(log, 3)
    log.append([make_stored(4, make_body(4, receipts=[4, 5]))])

    with make_reparsing(log).planned("shop") as plan:
        assert (plan.total, plan.by_type, plan.failed) == (5, {"read": 5}, 0)
    assert log.head() == 4


def test_what_was_missed_points_to_what_is_stored(log: EventLog, store: Store) -> None:
    """It stands at the end, has its own time and its notification's, and no second body."""
    fill(log, 2)

    assert reparse(log) == {"read": 2}

    found = receipts(log)
    assert [(one.position, one.notification_id) for one in found] == [(3, 1), (4, 2)]
    assert (found[1].path, found[1].external_id) == ("$.receipts[0]", "r2")
    assert found[1].payload == {"id": "r2", "from": "c2", "at": 1_700_000_002}
    assert (found[1].subject, found[1].shard) == ("49:c2", log.find("2").shard)
    assert found[1].received_at == NOON + timedelta(hours=2)
    assert found[1].occurred_at == log.find("2").occurred_at
    assert log.find(found[1].id) == found[1]
    assert read_flags(log) == {3: (True, True), 4: (True, True)}
    assert count(store, "notification") == 2


def test_what_is_to_be_delivered_is_not_quiet(log: EventLog) -> None:
    """It is reparsed all the same."""
    fill(log, 1)
    reparse(log, deliver=True)

    assert read_flags(log) == {2: (True, False)}


def test_where_nothing_was_missed_nothing_is_appended(log: EventLog, store: Store) -> None:
    """Nor is anything written down."""
    log.append([make_stored(1, make_body(1))])

    assert reparse(log) == {}
    assert (log.head(), count(store, "audit")) == (1, 0)


def test_an_empty_log_has_nothing_to_find(log: EventLog) -> None:
    """And no plan fails for it."""
    assert reparse(log) == {}


def test_what_another_notification_brought_is_known(log: EventLog) -> None:
    """Wherever in the log it stands: before or behind."""
    log.append([make_redelivered(2)])
    log.append([make_stored(1), make_stored(2, make_body(9, receipts=[2])), make_stored(3)])
    log.append([make_redelivered(3)])

    assert reparse(log) == {"read": 1}
    assert externals(log)["r1"] == externals(log)["r2"] == externals(log)["r3"] == 1


def test_of_twins_the_first_is_appended(log: EventLog) -> None:
    """What two notifications hold is one event, of the one that came first."""
    log.append(
        [make_stored(1, make_body(1, receipts=[7, 7])), make_stored(2, make_body(2, receipts=[7]))]
    )

    assert reparse(log) == {"read": 1}
    assert [one.notification_id for one in receipts(log)] == [1]


def test_elements_without_a_key_of_their_own_are_found_once(log: EventLog) -> None:
    """They are told by body and path: those that the log has are known."""

    def split(body: bytes) -> list[Draft]:
        return [Draft(path=f"$[{at}]", type="other", subtype="") for at in range(3)]

    log.append([Entry(Notification("shop", NOON, {}, b"[1, 2, 3]"), split(b"")[:1])])
    reparsing = Reparsing(log, {"shop": StubSource("shop", splits=split)}, sleep=lambda _: None)
    for found in ({"other": 2}, {}):
        with reparsing.planned("shop") as plan:
            assert reparsing.append(plan, by="ana").by_type == found
    assert [event.payload for event in log.read()] == [1, 2, 3]


def test_only_the_source_is_split(log: EventLog) -> None:
    """What others sent stays as it is, even if it stands in between."""
    log.append([make_stored(1), make_stored(2, source="other"), make_stored(3)])

    assert reparse(log) == {"read": 2}
    assert [one.external_id for one in receipts(log)] == ["r1", "r3"]


@pytest.mark.parametrize(
    ("since", "until", "found"),
    [(None, 3, ["r1", "r2"]), (3, None, ["r3", "r4"]), (2, 4, ["r2", "r3"]), (9, None, [])],
)
def test_times_choose_by_when_it_was_received(
    log: EventLog, since: int | None, until: int | None, found: list[str]
) -> None:
    """The beginning is within, the end is not."""
    fill(log, 4)
    reparsing = make_reparsing(log)
    first, end = (
        None if hours is None else NOON + timedelta(hours=hours) for hours in (since, until)
    )

    with reparsing.planned("shop", since=first, until=end) as plan:
        reparsing.append(plan, by="ana")

    assert [one.external_id for one in receipts(log)] == found


def test_a_source_must_be_known(log: EventLog) -> None:
    """Its adapter splits."""
    with (
        pytest.raises(UnknownName, match="the source 'shpo' is unknown: did you mean shop"),
        make_reparsing(log).planned("shpo"),
    ):
        pass


def test_what_cannot_be_split_is_left_as_it_is(log: EventLog) -> None:
    """An adapter that fails, or yields what no log can hold, costs no other notification."""
    fill(log, 4)

    def split(body: bytes) -> list[Draft]:
        drafts = list(split_now(body))
        if b'"m2"' in body:
            raise KeyError("what a customer wrote")
        if b'"m3"' in body:
            return [Draft(path="$", type="message", subtype="\0", natural_key=("x",))]
        return drafts

    reparsing = Reparsing(log, {"shop": StubSource("shop", splits=split)}, sleep=lambda _: None)
    with reparsing.planned("shop") as plan:
        assert (plan.total, plan.failed) == (2, 2)
        assert plan.failure.startswith("notification 2: ")
        assert plan.failure.endswith("KeyError")
        assert reparsing.append(plan, by="ana").by_type == {"read": 2}


def test_who_reparsed_is_written_down(log: EventLog, store: Store) -> None:
    """The audit names the actor, the source and how many."""
    fill(log, 2)
    reparse(log, deliver=True)

    with store.reading() as connection:
        [row] = connection.execute(select(store.tables.audit)).all()
    assert (row.actor, row.action, row.target) == ("ana", "events reparse", "shop")
    detail = json.loads(row.detail)
    assert (detail["total"], detail["by_type"], detail["deliver"]) == (2, {"read": 2}, True)


# What was pruned.


def prune(log: EventLog, *, hours: float) -> None:
    """Delete what was received before so many hours after noon."""
    retention = Retention(log.store, sleep=lambda _: None)
    retention.prune(retention.plan(NOON + timedelta(hours=hours)), by="ana")


def test_what_was_pruned_does_not_come_back(log: EventLog, clock: StillClock) -> None:
    """Neither an event whose notification is held by a later one, nor one that is remembered."""
    log.append([make_redelivered(1)])
    log.append([make_stored(20, make_body(20, receipts=[1]))])  # brings again what was pruned
    log.append([make_stored(30, make_body(30))])
    prune(log, hours=10)

    assert [event.external_id for event in log.read()] == ["m20", "m30"]
    assert reparse(log) == {}


def test_a_notification_that_is_half_pruned_is_left_alone(log: EventLog, clock: StillClock) -> None:
    """Its body stays for an event that is still needed; the others went on purpose."""
    body = make_body(1, receipts=[1, 2])
    log.append([Entry(Notification("shop", NOON, {}, body), split_now(body))])
    event = log.store.tables.event
    with log.store.writing() as connection:
        connection.execute(event.delete().where(event.c.position <= 2))
    forget(log, clock)

    assert reparse(log) == {}


def test_what_is_pruned_since_it_was_planned_is_not_appended(log: EventLog) -> None:
    """An event never points to a notification that is gone."""
    fill(log, 4)
    reparsing = make_reparsing(log)
    with reparsing.planned("shop") as plan:
        prune(log, hours=3)
        assert reparsing.append(plan, by="ana").by_type == {"read": 2}

    assert all(event.payload is not None for event in log.read())
    prune(log, hours=1_000)
    assert list(log.read()) == []
