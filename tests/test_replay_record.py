"""Tests of `router.replay_record`: a replay is read as it stands, with what waits in it."""

import pytest
from sqlalchemy import update

from router.filters import Filter
from router.log import EventLog
from router.replay import Replays
from router.replay_record import Replay
from tests.entries import append_messages
from tests.histories import park, start_replay, subscribe


@pytest.fixture
def full(log: EventLog) -> EventLog:
    """Two replays of four messages."""
    append_messages(log, ["ana", "ben", "cem", "dee"])
    subscribe(log)
    start_replay(log)
    start_replay(log)
    return log


def find(log: EventLog, number: int = 1) -> Replay:
    """Return a replay."""
    return Replays(log).find(number)


def test_what_waits_is_counted(full: EventLog) -> None:
    """Retries and blocked subjects of this replay alone; dead letters wait no more."""
    park(full, 1, run=1, next_at=1, is_blocking=True)
    park(full, 2, run=1, next_at=1)
    park(full, 3, run=1)
    park(full, 4, run=0, next_at=1, is_blocking=True)

    found, other = find(full), find(full, 2)

    assert (found.retrying, found.blocked) == (2, 1)
    assert (other.retrying, other.blocked) == (0, 0)
    assert [(one.retrying, one.blocked) for one in Replays(full).list(limit=9)] == [(0, 0), (2, 1)]


@pytest.mark.parametrize(
    ("state", "is_finished"),
    [
        ("planned", False),
        ("running", False),
        ("paused", False),
        ("done", True),
        ("cancelled", True),
        ("failed", True),
    ],
)
def test_a_replay_may_have_ended(full: EventLog, state: str, *, is_finished: bool) -> None:
    """In one way or another; a paused one may yet go on."""
    with full.store.writing() as connection:
        connection.execute(update(full.store.tables.replay).values(state=state))
    assert find(full).is_finished == is_finished


def test_details_are_what_lists_show_and_more(full: EventLog) -> None:
    """The agreed fields come first; the filter holds what was given alone."""
    replay = find(full)
    details = replay.as_details()
    assert list(details) == [
        *replay.as_dict(),
        *("by_type", "retrying", "blocked", "concurrency", "include_effects", "reason"),
        *("created_by", "created_at", "started_at", "finished_at", "last_error"),
        *("is_rebuild", "filter"),
    ]
    assert (details["reason"], details["created_by"], details["started_at"]) == (
        "repair",
        "ana",
        None,
    )


def test_a_filter_comes_back_as_it_was(full: EventLog) -> None:
    """With the types that handlers are called with."""
    replays = Replays(full)
    matching = Filter(types=("message", "read"), subjects=(":ana",))
    replays.start(replays.plan("crm", matching=matching), reason="", by="ana")
    assert set(find(full, 3).matching.types) == {"message", "read"}
    assert find(full, 3).matching.subjects == (":ana",)
