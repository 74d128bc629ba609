"""Tests of `router.replay`: history is handed to one subscription again, in a run of its own."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import select

from router.errors import UnknownName
from router.filters import Filter
from router.log import EventLog
from router.options import Options
from router.replay import Replays
from router.replay_plan import Plan, Refused
from router.replay_record import Replay
from router.roster import Roster
from router.store import Store
from tests.entries import NOON, append, append_messages, make_entry

EVERYTHING = Filter()


@pytest.fixture
def replays(log: EventLog) -> Replays:
    """What is tested."""
    return Replays(log)


def declare(store: Store, **policies: str) -> None:
    """Bring the subscription "crm" into being, which has these policies by type."""
    Roster(store, pid=1).declare("crm", policies, Options(start="beginning"))


# Plans.


def test_a_plan_counts_what_matches(store: Store, log: EventLog, replays: Replays) -> None:
    """The events are counted by type, and by what becomes of them; unhandled types are left out."""
    declare(store, message="allow", read="skip", sent="refuse")
    for kind in ("message", "message", "read", "sent", "other", "message"):
        append(log, make_entry("ana", kind))
    plan = replays.plan("crm", matching=EVERYTHING)
    assert plan.by_type == {"message": 3, "read": 1, "sent": 1}
    assert plan.policies == {"message": "allow", "read": "skip", "sent": "refuse"}
    assert plan.total == plan.count("allow") == 3
    assert (plan.count("skip"), plan.count("refuse")) == (1, 1)
    assert plan.types == ("message",)
    assert (plan.first, plan.end) == (1, 7)


def test_effects_may_be_included(store: Store, log: EventLog, replays: Replays) -> None:
    """On demand what would be skipped is called; what refuses still does."""
    declare(store, message="skip", read="refuse")
    append(log, make_entry("ana", "message"), make_entry("ana", "read"))
    plan = replays.plan("crm", matching=EVERYTHING, include_effects=True)
    assert plan.policies == {"message": "allow", "read": "refuse"}
    assert plan.total == 1


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ((1, None), (1, 6, 5)),
        ((2, 4), (2, 4, 2)),
        ((3, 4), (3, 4, 1)),
        ((5, 6), (5, 6, 1)),
        ((0, 99), (1, 6, 5)),
        ((-7, 2), (1, 2, 1)),
    ],
)
def test_a_range_is_half_open(
    log: EventLog,
    replays: Replays,
    wanted: tuple[int, int | None],
    expected: tuple[int, int, int],
) -> None:
    """The first position belongs to the range, its end does not; both are held to the log."""
    declare(log.store, message="allow")
    append_messages(log, ["ana"] * 5)
    plan = replays.plan("crm", first=wanted[0], end=wanted[1], matching=EVERYTHING)
    assert (plan.first, plan.end, plan.total) == expected


@pytest.mark.parametrize(("first", "end"), [(3, 3), (4, 2), (6, None), (99, None), (99, 200)])
def test_a_range_may_be_empty(
    store: Store, log: EventLog, replays: Replays, first: int, end: int | None
) -> None:
    """A range that ends before it begins, or lies beyond the log, holds nothing."""
    declare(store, message="allow")
    append_messages(log, ["ana"] * 5)
    plan = replays.plan("crm", first=first, end=end, matching=EVERYTHING)
    assert plan.total == 0
    assert plan.end == plan.first


def test_the_end_is_fixed_with_the_plan(store: Store, log: EventLog, replays: Replays) -> None:
    """What is appended after a replay was planned is no part of it."""
    declare(store, message="allow")
    append_messages(log, ["ana"])
    plan = replays.plan("crm", matching=EVERYTHING)
    append_messages(log, ["ana"])
    replay = replays.start(plan, reason="test", by="me")
    assert (replay.first, replay.end, replay.total) == (1, 2, 1)


@pytest.mark.parametrize(
    ("matching", "expected"),
    [
        (Filter(types=("read", "other")), {"read": 1}),
        (Filter(subtypes=("image",)), {"message": 1}),
        (Filter(sources=("coreapp",)), {"sent": 1}),
        (Filter(channels=("+1",)), {"read": 1}),
        (Filter(subjects=(":ben",)), {"message": 1, "sent": 1}),
        (Filter(ids=("2", "3", "77")), {"message": 1, "read": 1}),
        (Filter(since=NOON), {"message": 2, "read": 1, "sent": 1}),
        (Filter(since=NOON + timedelta(hours=1)), {"read": 1, "sent": 1}),
        (Filter(until=NOON + timedelta(hours=1)), {"message": 2}),
        (Filter(since=NOON, until=NOON), {}),
        (Filter(types=("message",), subjects=(":ben",)), {"message": 1}),
    ],
)
def test_a_plan_has_a_filter(
    store: Store, log: EventLog, replays: Replays, matching: Filter, expected: dict[str, int]
) -> None:
    """Type, subtype, source, channel, subject, ids and time of receipt narrow a replay down."""
    declare(store, message="allow", read="allow", sent="allow")
    later = NOON + timedelta(hours=1)
    append(
        log,
        make_entry("ana", "message"),
        make_entry("ben", "message", subtype="image"),
        make_entry("ana", "read", channel="+1", received_at=later),
        make_entry("ben", "sent", source="coreapp", received_at=later),
        make_entry("ben", "error", received_at=later),
    )
    if matching.ids:
        ids = tuple(log.find(one).id for one in ("2", "3"))
        matching = Filter(ids=(*ids, "00000000-0000-8000-8000-00000000004d"))
    assert replays.plan("crm", matching=matching).by_type == expected


def test_a_replay_of_an_unknown_subscription_names_what_there_is(
    store: Store, replays: Replays
) -> None:
    """Who misspells a subscription learns which ones there are, and how one comes into being."""
    with pytest.raises(UnknownName, match=r"'crn' \(known: none\).*router worker"):
        replays.plan("crn", matching=EVERYTHING)
    declare(store, message="allow")
    with pytest.raises(UnknownName, match=r"'crn' \(known: crm\)"):
        replays.plan("crn", matching=EVERYTHING)


# Refusals.


def refuse(replays: Replays, plan: Plan) -> str:
    """Return why ``plan`` is refused; nothing is on record of it."""
    with pytest.raises(Refused) as error:
        replays.start(plan, reason="test", by="me")
    assert replays.list(limit=10) == []
    return str(error.value)


def test_a_replay_to_nobody_is_refused(store: Store, log: EventLog, replays: Replays) -> None:
    """Where all events would be skipped, the refusal says each way to allow them."""
    declare(store, message="skip", read="skip")
    append_messages(log, ["ana", "ben"])
    text = refuse(replays, replays.plan("crm", matching=EVERYTHING))
    assert "all 2 matching events would be skipped" in text
    assert "--include-effects" in text
    assert 'replay = "allow" in [subscriptions.crm]' in text
    assert '@hookimpl(replay="allow")' in text


def test_what_matches_decides_whether_a_replay_is_to_nobody(
    store: Store, log: EventLog, replays: Replays
) -> None:
    """A type that may be replayed does not help where there is no event of it."""
    declare(store, message="skip", read="allow")
    append_messages(log, ["ana"])
    text = refuse(replays, replays.plan("crm", matching=EVERYTHING))
    assert "all 1 matching events would be skipped" in text


def test_a_handler_that_refuses_is_not_replayed(
    store: Store, log: EventLog, replays: Replays
) -> None:
    """One event for a handler that refuses stops the replay; without its type it may go on."""
    declare(store, message="allow", sent="refuse", read="refuse")
    append(log, make_entry("ana", "message"), make_entry("ana", "sent"))
    text = refuse(replays, replays.plan("crm", matching=EVERYTHING, include_effects=True))
    assert text == (
        "the handlers of 'crm' for sent refuse replays: leave those types out with --type"
    )
    plan = replays.plan("crm", matching=Filter(types=("message", "read")))
    assert replays.start(plan, reason="test", by="me").total == 1


def test_a_replay_of_types_without_handlers_is_refused(
    store: Store, log: EventLog, replays: Replays
) -> None:
    """What the plugin does not handle cannot be replayed to it."""
    declare(store, message="allow")
    append(log, make_entry("ana", "read"))
    text = refuse(replays, replays.plan("crm", matching=Filter(types=("read", "sent"))))
    assert "handles none of the types asked for" in text


# What is on record.


def test_a_replay_is_a_row(store: Store, log: EventLog, replays: Replays) -> None:
    """A replay that was started is on record with all it needs, and who wanted it and why."""
    declare(store, message="allow", read="skip")
    append_messages(log, ["ana", "ana"])
    plan = replays.plan("crm", first=2, matching=Filter(subjects=(":ana",)))
    replay = replays.start(plan, reason="the CRM lost a day", by="ana@desk", rate=50, concurrency=8)
    assert replay == Replay(
        id=1,
        subscription="crm",
        state="planned",
        first=2,
        end=3,
        total=1,
        done=0,
        failed=0,
        rate=50,
        reason="the CRM lost a day",
        matching=Filter(types=("message",), subjects=(":ana",)),
        by_type={},
        retrying=0,
        blocked=0,
        concurrency=8,
        include_effects=False,
        created_by="ana@desk",
        created_at=replay.created_at,
        started_at=None,
        finished_at=None,
        last_error=None,
    )
    assert replays.find(1) == replay
    assert replay.as_dict() == {
        "id": 1,
        "subscription": "crm",
        "state": "planned",
        "from": 2,
        "to": 3,
        "total": 1,
        "done": 0,
        "failed": 0,
        "rate": 50,
    }


def test_a_start_is_audited(store: Store, log: EventLog, replays: Replays) -> None:
    """Who started which replay, and why, stays on record."""
    declare(store, message="allow")
    append_messages(log, ["ana"])
    replays.start(replays.plan("crm", matching=EVERYTHING), reason="why not", by="me")
    with store.reading() as connection:
        row = connection.execute(select(store.tables.audit)).one()
    assert (row.actor, row.action, row.target) == ("me", "replay start", "replay 1 of crm")
    assert json.loads(row.detail) == {"reason": "why not", "total": 1, "include_effects": False}


def test_replays_are_listed_newest_first(store: Store, log: EventLog, replays: Replays) -> None:
    """A list has so many replays, those before an id, with the newest on top."""
    declare(store, message="allow")
    append_messages(log, ["ana"])
    for _ in range(5):
        replays.start(replays.plan("crm", matching=EVERYTHING), reason="test", by="me")
    assert [one.id for one in replays.list(limit=2)] == [5, 4]
    assert [one.id for one in replays.list(limit=9, before=4)] == [3, 2, 1]


def test_an_unknown_replay_is_refused(replays: Replays) -> None:
    """Who asks for a replay that does not exist learns how to see all."""
    with pytest.raises(UnknownName, match="no replay 7: `router replay list`"):
        replays.find(7)
