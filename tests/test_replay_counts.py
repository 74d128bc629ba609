"""Tests of `router.replay_counts`: what came of a replay's deliveries adds up."""

from collections.abc import Mapping

import pytest

from router.log import EventLog
from router.replay import Replays
from router.replay_counts import Count, add_counts
from router.replay_record import Replay
from tests.entries import append, make_entry
from tests.histories import start_replay, subscribe


@pytest.fixture
def full(log: EventLog) -> EventLog:
    """Two replays of a message, a read, and a sent, which is skipped."""
    append(log, make_entry(), make_entry(type_="read"), make_entry(type_="sent"))
    subscribe(log, policies={"message": "allow", "read": "allow", "sent": "skip"})
    start_replay(log)
    start_replay(log)
    return log


def add(log: EventLog, counts: Mapping[Count, int]) -> Replay:
    """Add to the counts of the first replay, and return it."""
    with log.store.writing() as connection:
        add_counts(connection, counts, tables=log.store.tables, number=1)
    return Replays(log).find(1)


def test_counts_are_kept_by_type_and_in_all(full: EventLog) -> None:
    """Each adds to what is there, and nothing to those of other replays."""
    add(full, {("message", "done"): 2, ("read", "done"): 1})
    found = add(full, {("message", "done"): 1, ("message", "failed"): 4})
    assert (found.done, found.failed) == (4, 4)
    assert found.by_type == {
        "message": {"done": 3, "failed": 4},
        "read": {"done": 1},
        "sent": {"skipped": 1},
    }
    other = Replays(full).find(2)
    assert (other.done, other.failed, other.by_type) == (0, 0, {"sent": {"skipped": 1}})


def test_what_is_tried_again_is_taken_back(full: EventLog) -> None:
    """It counts as failed no more, and as done once it is."""
    add(full, {("message", "failed"): 2})
    assert add(full, {("message", "failed"): -1}).failed == 1
    found = add(full, {("message", "done"): 1})
    assert (found.done, found.failed) == (1, 1)
    assert found.by_type["message"] == {"done": 1, "failed": 1}


def add_in_vain(log: EventLog) -> None:
    """Add to the counts in a transaction that comes to nothing."""
    with log.store.writing() as connection:
        add_counts(connection, {("message", "done"): 1}, tables=log.store.tables, number=1)
        raise KeyError


def test_counts_are_of_the_transaction(full: EventLog) -> None:
    """What comes to nothing was not counted."""
    before = Replays(full).find(1)
    with pytest.raises(KeyError):
        add_in_vain(full)
    assert Replays(full).find(1) == before
