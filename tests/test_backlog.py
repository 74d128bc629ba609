"""Tests of `router.backlog`: what a subscription still has to do, counted exactly."""

import json

from sqlalchemy import update

from router.backlog import count_forgetting, count_skipping
from router.lanes import Lanes
from router.log import EventLog
from router.replay_runs import ReplayRuns
from tests.entries import append, append_messages, make_entry
from tests.histories import park, settle, start_replay, subscribe
from tests.reparsed import fill, reparse


def skipping(log: EventLog, position: int) -> tuple[dict[str, int], int]:
    """Return what skipping to ``position`` passes over: events by type, and retries."""
    with log.store.reading() as connection:
        found = count_skipping(connection, log.store.tables, "crm", position=position)
    assert found.total == sum(found.by_type.values())
    return dict(found.by_type), found.retries


def test_what_is_not_settled_is_counted_lane_by_lane(log: EventLog) -> None:
    """Neither what another lane's checkpoint leaves behind, nor what is done above one."""
    append(log, *(make_entry(one, "sent") for one in "abcdefgh"))
    shards = [event.shard for event in log.read()]
    first, second = subscribe(log, lanes=2)
    settle(log, first, checkpoint=8)
    settle(log, second, checkpoint=1)
    lane = log.store.tables.lane
    with log.store.writing() as connection:
        done = update(lane).where(lane.c.first_shard == second.first_shard)
        connection.execute(done.values(done=json.dumps([[4, 5]])))

    left = [at for at, shard in enumerate(shards, 1) if shard >= 512 and at not in (1, 4, 5)]
    assert len(left) >= 2  # else this shows nothing
    assert skipping(log, 8) == ({"sent": len(left)}, 0)
    assert skipping(log, left[0]) == ({"sent": 1}, 0)


def test_what_waits_behind_its_subject_is_counted(log: EventLog) -> None:
    """It is behind the checkpoint, and was handed to nobody; the retry is counted apart."""
    append_messages(log, ["ana", "ben", "ana", "ana"])
    [lane] = subscribe(log)
    settle(log, lane, checkpoint=4)
    park(log, 1, next_at=1, is_blocking=True)
    park(log, 2)
    park(log, 2, run=7, next_at=1)

    assert skipping(log, 4) == ({"message": 2}, 1)
    assert skipping(log, 3) == ({"message": 1}, 1)
    assert skipping(log, 0) == ({}, 0)


def test_what_is_for_replays_alone_is_not_counted(log: EventLog) -> None:
    """Neither ahead of the checkpoint nor behind a blocked subject: nobody would be handed it."""
    fill(log, 4)
    reparse(log)
    [lane] = subscribe(log)
    assert skipping(log, 8) == ({"message": 4}, 0)

    settle(log, lane, checkpoint=8)
    park(log, 1, next_at=1, is_blocking=True)
    assert skipping(log, 8) == ({}, 1)


def test_nothing_is_counted_twice(log: EventLog) -> None:
    """What its lane has not come to is not counted again because its subject is blocked."""
    append_messages(log, ["ana", "ana", "ana"])
    [lane] = subscribe(log)
    with Lanes(log.store, worker="w").owning(lane, checkpoint=1, done=[(3, 3)]):
        pass
    park(log, 1, next_at=1, is_blocking=True)

    assert skipping(log, 3) == ({"message": 2}, 1)


def test_only_what_the_plugin_handles_is_counted(log: EventLog) -> None:
    """Events of other types would have been passed over anyway."""
    append(log, make_entry("ana"), make_entry("ana", "read"))
    subscribe(log, policies={"read": "skip"})

    assert skipping(log, 2) == ({"read": 1}, 0)


def test_what_goes_with_a_subscription_is_counted(log: EventLog) -> None:
    """Its own failures, those of its replays too, and the replays that have not ended."""
    append_messages(log, ["ana", "ben", "cem"])
    subscribe(log)
    subscribe(log, "mail")
    replay = start_replay(log)
    ReplayRuns(log.store).take_up(["crm"])
    park(log, 1)
    park(log, 2, next_at=1)
    park(log, 3, run=replay.id)
    park(log, 3, name="mail")

    with log.store.reading() as connection:
        found = count_forgetting(connection, log.store.tables, "crm")

    assert (found.lag, found.total, dict(found.by_type)) == (3, 3, {"message": 3})
    assert (found.dead, found.retries, found.replays) == (2, 1, 1)
