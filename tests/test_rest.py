"""Tests of `router.rest`: whether nobody runs a subscription."""

import pytest
from sqlalchemy import update

from router import rest
from router.errors import RouterError
from router.lane import LEASE_MICROS
from router.log import EventLog
from router.roster import Roster
from tests.histories import subscribe
from tests.records import read_lanes


def owner_at(log: EventLog, now: int) -> str:
    """Say who runs "crm" at a time, empty where nobody does."""
    with log.store.reading() as connection:
        return str(rest.find_owner(connection, log.store.tables, "crm", now=now) or "")


def test_a_lease_lasts_until_it_has_expired(log: EventLog) -> None:
    """Up to its last microsecond the owner is there; a moment later, as whoever claims sees it."""
    owner = Roster(log.store, pid=4711)
    owner.enrol(["crm", "audit"])
    subscribe(log)
    lane = log.store.tables.lane
    with log.store.writing() as connection:
        connection.execute(update(lane).values(owner=owner.worker, expires_at=LEASE_MICROS))

    assert owner_at(log, LEASE_MICROS).endswith("(pid 4711)")
    assert owner_at(log, LEASE_MICROS + 1) == ""


def test_whoever_runs_it_is_named_with_what_to_do(log: EventLog) -> None:
    """An active subscription can be paused; of a paused one the lanes are about to come back."""
    subscribe(log)
    store = log.store

    for state, advice in (
        ("active", "pause it first: router subscriptions pause crm"),
        ("paused", "try again in a moment"),
    ):
        with store.reading() as connection, pytest.raises(RouterError, match=advice):
            rest.require_rest(connection, store.tables, "crm", state=state, now=store.now())


def test_former_owners_are_fenced_out(log: EventLog) -> None:
    """The epoch is another one, and nobody owns the lane."""
    subscribe(log)
    [before] = read_lanes(log.store)

    with log.store.writing() as connection:
        rest.fence(connection, log.store.tables, "crm")

    [after] = read_lanes(log.store)
    assert (after.owner, after.epoch) == (None, before.epoch + 1)
