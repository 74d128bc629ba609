"""Tests of `router.claims`: which lanes a worker may take, live ones and those of replays."""

import pytest
from sqlalchemy import update

from router.claims import LIVE, find_free
from router.log import EventLog
from router.replay import Replays
from router.replay_runs import ReplayRuns
from tests.asking import free_lanes
from tests.entries import append_messages
from tests.histories import start_replay, subscribe
from tests.owners import set_state


@pytest.fixture
def full(log: EventLog) -> EventLog:
    """A subscription whose live lane "w" owns, and a replay whose lane nobody owns."""
    append_messages(log, ["ana"])
    subscribe(log)
    start_replay(log)
    ReplayRuns(log.store).take_up(["crm"])
    return log


def find(log: EventLog, worker: str = "w", *names: str) -> list[int]:
    """Return the runs whose lanes a worker may take."""
    now, tables = log.store.now(), log.store.tables
    with log.store.reading() as connection:
        rows = find_free(connection, tables, names or ["crm"], worker, now=now)
    return [row.run for row in rows]


def test_a_replays_lane_is_for_the_owner_of_the_live_one(full: EventLog) -> None:
    """Nobody else may have it, and a subscription that was not asked for has none."""
    assert find(full) == [1]
    assert find(full, "other") == []
    assert find(full, "w", "mail") == []


def test_the_live_lane_comes_first(full: EventLog) -> None:
    """As long as nobody owns that, nobody may take the replay's."""
    free_lanes(full.store)
    assert find(full) == [LIVE]
    free_lanes(full.store, owner="w", expires_at=1)
    assert find(full) == [LIVE, 1]


def test_a_paused_replay_is_nobodys(full: EventLog) -> None:
    """Until it is resumed."""
    replays = Replays(full)
    replays.pause(1, actor="ana")
    assert find(full) == []
    replays.resume(1, actor="ana")
    assert find(full) == [1]


@pytest.mark.parametrize("state", ["done", "cancelled", "failed"])
def test_a_replay_that_has_ended_is_nobodys(full: EventLog, state: str) -> None:
    """Though a lane of it may be left."""
    with full.store.writing() as connection:
        connection.execute(update(full.store.tables.replay).values(state=state))
    assert find(full) == []


def test_of_a_paused_subscription_nothing_may_be_taken(full: EventLog) -> None:
    """Neither its replays."""
    set_state(full.store, "crm", "paused")
    assert find(full) == []
