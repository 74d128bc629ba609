"""Tests of how `router.replay` changes what is on record: pause, resume, cancel, what overlaps."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import select

from router.errors import RouterError, UnknownName
from router.filters import Filter
from router.lanes import Lanes
from router.log import EventLog
from router.replay import Replays
from router.replay_runs import ReplayRuns
from router.store import Store
from tests.asking import states
from tests.entries import NOON, append, append_messages, make_entry
from tests.histories import end_replay, park, start_replay, subscribe
from tests.records import read_blocked, read_lanes

HOUR = timedelta(hours=1)
CHANGES = ["pause", "resume", "cancel"]


@pytest.fixture
def replays(log: EventLog) -> Replays:
    """What is tested, with a replay of four messages that is planned."""
    append_messages(log, ["ana", "ben", "cem", "dee"])
    subscribe(log)
    start_replay(log)
    return Replays(log)


def read_audit(store: Store) -> list[tuple[str, str, str, object]]:
    """Return who did what to which replay, and the rest, but for starts."""
    table = store.tables.audit.c
    query = select(table.actor, table.action, table.target, table.detail).order_by(table.id)
    with store.reading() as connection:
        rows = connection.execute(query.where(table.action != "replay start")).all()
    return [(row[0], row[1], row[2], json.loads(row[3])) for row in rows]


def test_each_change_is_made_once_and_audited(log: EventLog, replays: Replays) -> None:
    """Who asked for it and why stays on record; what is so already is no change."""
    ReplayRuns(log.store).take_up(["crm"])
    assert replays.pause(1, actor="ana", reason="too loud")
    assert not replays.pause(1, actor="ben")
    assert replays.find(1).state == "paused"
    assert replays.resume(1, actor="ben", reason="at night")
    assert not replays.resume(1, actor="ana")
    assert replays.find(1).state == "running"
    replays.cancel(1, actor="cem", reason="not needed")
    counts = {"done": 0, "failed": 0}
    assert read_audit(log.store) == [
        (who, f"replay {change}", "replay 1 of crm", {"reason": why, "was": was, **counts})
        for who, change, why, was in (
            ("ana", "pause", "too loud", "running"),
            ("ben", "resume", "at night", "paused"),
            ("cem", "cancel", "not needed", "running"),
        )
    ]


def test_a_replay_may_be_paused_before_it_has_begun(log: EventLog, replays: Replays) -> None:
    """Resumed, it waits again for a worker to take it up; until then it has nothing to resume."""
    assert not replays.resume(1, actor="ana")
    assert replays.pause(1, actor="ana")
    assert replays.resume(1, actor="ana")
    assert replays.find(1).state == "planned"
    ReplayRuns(log.store).take_up(["crm"])
    assert replays.find(1).state == "running"


def test_a_cancelled_replay_leaves_dead_letters_alone(log: EventLog, replays: Replays) -> None:
    """Lanes that nobody owns go at once, with retries and blocked subjects."""
    ReplayRuns(log.store).take_up(["crm"])
    park(log, 1, run=1, next_at=1, is_blocking=True)
    park(log, 2, run=1)
    replays.cancel(1, actor="ana")
    found = replays.find(1)
    assert (found.state, found.finished_at is None) == ("cancelled", False)
    assert read_lanes(log.store, run=1) == []
    assert (states(log.store, run=1), read_blocked(log.store, run=1)) == ({2: "dead"}, {})


def test_what_an_owner_holds_is_left_to_it(log: EventLog, replays: Replays) -> None:
    """A lane under way is not struck off beneath it."""
    ReplayRuns(log.store).take_up(["crm"])
    assert len(Lanes(log.store, worker="w").claim(["crm"])) == 1
    park(log, 1, run=1, next_at=1)
    replays.cancel(1, actor="ana")
    assert len(read_lanes(log.store, run=1)) == 1
    assert states(log.store, run=1) == {1: "retry"}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("state", ["done", "cancelled", "failed"])
def test_a_replay_that_has_ended_is_not_changed(
    log: EventLog, replays: Replays, change: str, state: str
) -> None:
    """Whoever asks for it learns why."""
    if state == "done":
        end_replay(log)
    elif state == "cancelled":
        replays.cancel(1, actor="ana")
    else:
        ReplayRuns(log.store).fail(1, "the plugin has changed")
    before, audit = replays.find(1), read_audit(log.store)
    with pytest.raises(RouterError) as error:
        getattr(replays, change)(1, actor="ana")
    assert str(error.value) == f"replay 1 is {state}: there is nothing to {change}"
    assert (replays.find(1), read_audit(log.store)) == (before, audit)


@pytest.mark.parametrize("change", CHANGES)
def test_an_unknown_replay_is_not_changed(replays: Replays, change: str) -> None:
    """Whoever asks for it learns how to see all."""
    with pytest.raises(UnknownName) as error:
        getattr(replays, change)(7, actor="ana")
    assert str(error.value) == "there is no replay 7: `router replay list` shows all"


# What overlaps.


@pytest.mark.parametrize(
    ("first", "end", "overlapping"),
    [(1, 2, [1]), (1, 3, [1, 2]), (2, 3, [1, 2]), (4, 5, [1, 2]), (5, 5, [])],
)
def test_a_plan_names_the_replays_that_it_shares_positions_with(
    log: EventLog, replays: Replays, first: int, end: int, overlapping: list[int]
) -> None:
    """One ends where the other begins: those share nothing."""
    start_replay(log, first=2)
    assert replays.plan("crm", first=first, end=end).overlapping == overlapping


def test_what_has_ended_or_is_of_others_does_not_overlap(log: EventLog, replays: Replays) -> None:
    """A paused one does: it may go on."""
    subscribe(log, "mail")
    start_replay(log, "mail")
    start_replay(log)
    replays.cancel(1, actor="ana")
    replays.pause(3, actor="ana")
    assert replays.plan("crm").overlapping == [3]


# What a time does.


@pytest.fixture
def hours(log: EventLog) -> Replays:
    """Replays over messages of four hours, a read before and after."""
    append(
        log,
        make_entry("ana", "read", received_at=NOON),
        *(make_entry(received_at=NOON + HOUR * number) for number in range(4)),
        make_entry("ana", "read", received_at=NOON + HOUR * 4),
    )
    subscribe(log, policies={"message": "allow"})
    return Replays(log)


@pytest.mark.parametrize(
    ("matching", "expected"),
    [
        (Filter(), (1, 7, 4)),
        (Filter(since=NOON), (2, 6, 4)),
        (Filter(since=NOON + HOUR), (3, 6, 3)),
        (Filter(until=NOON + HOUR), (2, 3, 1)),
        (Filter(since=NOON + HOUR, until=NOON + 3 * HOUR), (3, 5, 2)),
        (Filter(since=NOON + 4 * HOUR), (1, 1, 0)),
    ],
)
def test_a_time_narrows_the_range_to_what_matches(
    hours: Replays, matching: Filter, expected: tuple[int, int, int]
) -> None:
    """So nobody reads all that came before; without a match the range is empty."""
    plan = hours.plan("crm", matching=matching)
    assert (plan.first, plan.end, plan.total) == expected


def test_a_time_keeps_to_the_range(hours: Replays) -> None:
    """Positions that were left out do not come back."""
    plan = hours.plan("crm", first=3, end=5, matching=Filter(since=NOON))
    assert (plan.first, plan.end, plan.total) == (3, 5, 2)
